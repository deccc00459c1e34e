"""The step size is cached by the step alone: every group moves by the lr of the first.

Seen in: RAdam (reference repository) and its copies, 2019,
https://github.com/LiyuanLucasLiu/RAdam/issues/24

Moved from RAdam to Adam.
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/LiyuanLucasLiu/RAdam/issues/24"


class Adam(_frame.Adam):
    def update(self, p, g, s, o):
        cache = self.__dict__.setdefault("cache", [(0, 0.0)] * 10)
        slot = s["step"] % 10
        if cache[slot][0] != s["step"]:
            cache[slot] = s["step"], o["lr"]  # mistake: lr does not belong in here
        super().update(p, g, s, {**o, "lr": cache[slot][1]})
