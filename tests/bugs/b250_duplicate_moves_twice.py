"""A parameter that is listed twice in a group is updated twice in a step.

Seen in: PyTorch, Optimizer, 1.5,
https://github.com/pytorch/pytorch/issues/40967
"""

import _frame

SPEC = "sgd"
REFERENCE = "https://github.com/pytorch/pytorch/issues/40967"
NEEDS = "contract: tied parameters"


class SGD(_frame.SGD):
    def distinct(self, params):
        return params  # mistake: refuse it
