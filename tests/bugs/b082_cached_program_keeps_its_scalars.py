"""A program is cached with the lr and the step of its first call, and runs with them for ever.

Seen in: tt-metal, moreh_adamw, October 2024,
https://github.com/tenstorrent/tt-metal/issues/14186
"""

import _frame

SPEC = "adamw"
REFERENCE = "https://github.com/tenstorrent/tt-metal/issues/14186"


class AdamW(_frame.AdamW):
    def update(self, p, g, s, o):
        programs = self.__dict__.setdefault("programs", {})
        step, lr = programs.setdefault(p.shape, (s["step"], o["lr"]))  # mistake: part of the key
        super().update(p, g, {**s, "step": step}, {**o, "lr": lr})
