"""Reported as a bug and none: the Nesterov step, written with the old buffer.

Seen in: PyTorch, SGD with nesterov, 2018,
https://github.com/pytorch/pytorch/pull/5920
"""

import _frame

SPEC = "sgd"
REFERENCE = "https://github.com/pytorch/pytorch/pull/5920"
CONTROL = True


class SGD(_frame.SGD):
    def direction(self, g, s, o):
        if not o["nesterov"]:
            return super().direction(g, s, o)
        mu, b = o["momentum"], s["momentum_buffer"]
        step = (1 + mu) * g + mu * mu * b  # the buffer is zero at first
        self.buffer(g, s, o)
        return step
