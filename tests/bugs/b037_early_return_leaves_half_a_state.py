"""The first step returns early where nothing is to do, and the second misses what it left out.

Seen in: PyTorch, LBFGS, March 2017,
https://github.com/pytorch/pytorch/issues/1039

Moved from LBFGS, which stopped at a tolerance, to SGD, which here stops at a zero gradient.
"""

import _frame
import torch

SPEC = "sgd"
REFERENCE = "https://github.com/pytorch/pytorch/issues/1039"


class SGD(_frame.SGD):
    def slots(self, o):
        return {}

    def buffer(self, g, s, o):
        if self.time(s) == 1:
            if not g.any():
                return g  # mistake: before the buffer is made
            s["momentum_buffer"] = torch.empty_like(g)
        return super().buffer(g, s, o)
