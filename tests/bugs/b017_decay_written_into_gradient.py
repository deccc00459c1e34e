"""The decay is added to p.grad itself, so that it is still there after the step.

Seen in: PyTorch, SGD and other loops, 0.4 to 1.3,
https://github.com/pytorch/pytorch/issues/12218
"""

import _frame

SPEC = "sgd"
REFERENCE = "https://github.com/pytorch/pytorch/issues/12218"


class SGD(_frame.SGD):
    def decayed(self, g, p, o):
        return g.add_(p, alpha=o["weight_decay"])  # mistake: in place
