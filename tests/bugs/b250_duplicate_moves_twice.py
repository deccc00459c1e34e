"""A parameter that is listed twice in a group is updated twice in a step.

Seen in: PyTorch, Optimizer, 1.5,
https://github.com/pytorch/pytorch/issues/40967
"""

import warnings

import _frame

SPEC = "sgd"
REFERENCE = "https://github.com/pytorch/pytorch/issues/40967"
CHECK = "duplicates"


class SGD(_frame.SGD):
    def distinct(self, params):
        return params  # mistake: to be refused, or left out

    def add_param_group(self, group):
        with warnings.catch_warnings():  # today torch warns; it did not then
            warnings.simplefilter("ignore")
            super().add_param_group(group)
