"""Loading fills in the options that older checkpoints lack, all but the newest.

Seen in: PyTorch, NAdam, 2.1 in development,
https://github.com/pytorch/pytorch/pull/107706

Moved from NAdam's decoupled_weight_decay to Adam's amsgrad.
"""

import _frame
import torch

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/pytorch/pull/107706"
NEEDS = "contract: older checkpoints"


class Adam(_frame.Adam):
    def __setstate__(self, state):
        torch.optim.Optimizer.__setstate__(self, state)
        for group in self.param_groups:
            for name, value in self.defaults.items():
                if name != "amsgrad":  # mistake
                    group.setdefault(name, value)
