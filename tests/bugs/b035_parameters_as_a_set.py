"""A set of parameters is accepted, although its order, which checkpoints rely on, is arbitrary.

Seen in: PyTorch, Optimizer, March 2018,
https://github.com/pytorch/pytorch/pull/6031
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/pytorch/pull/6031"
CHECK = "iterables"


class Adam(_frame.Adam):
    def add_param_group(self, group):
        super().add_param_group({**group, "params": list(group["params"])})  # mistake: of a set
