"""A set of parameters is accepted, although its order, which checkpoints rely on, is arbitrary.

Seen in: PyTorch, Optimizer, March 2018,
https://github.com/pytorch/pytorch/pull/6031
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/pytorch/pull/6031"
NEEDS = "contract: refusals"


class Adam(_frame.Adam):
    def given(self, params):
        return list(params)  # mistake: a set has no order
