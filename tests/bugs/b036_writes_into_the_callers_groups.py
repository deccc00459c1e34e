"""The options that a group lacks are filled into the caller's own dictionary.

Seen in: PyTorch, Optimizer, 2021,
https://github.com/pytorch/pytorch/issues/51794
"""

import _frame
import torch

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/pytorch/issues/51794"
NEEDS = "contract: the caller's groups"


class Adam(_frame.Adam):
    def add_param_group(self, group):
        self.check({**self.defaults, **group})
        torch.optim.Optimizer.add_param_group(self, group)  # mistake: no copy
