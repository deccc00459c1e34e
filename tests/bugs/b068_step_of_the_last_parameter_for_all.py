"""One step count, that of the last parameter with a gradient, serves the whole group.

Seen in: DeepSpeed, FusedAdam, September 2026,
https://github.com/deepspeedai/DeepSpeed/pull/8471
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/deepspeedai/DeepSpeed/pull/8471"


class Adam(_frame.Adam):
    def each(self, todo):
        counts = {id(group): self.state[p].get("step", 0) + 1 for p, _, group in todo}
        for p, grad, group in todo:
            self.advance(p, grad, {**group, "count": counts[id(group)]})

    def update(self, p, g, s, o):
        super().update(p, g, {**s, "step": o["count"]}, o)  # mistake: s["step"]
