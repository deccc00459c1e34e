"""The first buffer is dampened like every other.

Seen in: PyTorch, SGD, proposed May 2025,
https://github.com/pytorch/pytorch/pull/152833
"""

import _frame

SPEC = "sgd"
REFERENCE = "https://github.com/pytorch/pytorch/pull/152833"
VARIANT = {"first_buffer": "dampened"}


class SGD(_frame.SGD):
    def buffer(self, g, s, o):
        return s["momentum_buffer"].mul_(o["momentum"]).add_(g, alpha=1 - o["dampening"])
