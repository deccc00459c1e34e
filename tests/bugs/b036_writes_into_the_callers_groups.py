"""The options that a group lacks are filled into the caller's own dictionary.

Seen in: PyTorch, Optimizer, 2021,
https://github.com/pytorch/pytorch/issues/51794
"""

import torch

from optconform.impls import reference

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/pytorch/issues/51794"
CHECK = "groups-copied"


class Adam(reference.Adam):
    def add_param_group(self, group):
        self._check({**self.defaults, **group})
        torch.optim.Optimizer.add_param_group(self, group)  # mistake: no copy
