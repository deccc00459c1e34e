"""What is remembered of the gradient is the gradient tensor itself, not a copy.

Seen in: torch_optimizer, DiffGrad, March 2020,
https://github.com/jettify/pytorch-optimizer/issues/55

Moved from DiffGrad's previous gradient to the first momentum buffer of SGD.
"""

import _frame

SPEC = "sgd"
REFERENCE = "https://github.com/jettify/pytorch-optimizer/issues/55"
NEEDS = "contract: same gradient buffer"


class SGD(_frame.SGD):
    def buffer(self, g, s, o):
        if self.time(s) == 1:
            s["momentum_buffer"] = g  # mistake: g.clone()
            return g
        return super().buffer(g, s, o)
