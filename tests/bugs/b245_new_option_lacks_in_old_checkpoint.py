"""A checkpoint from before maximize leaves the option out, and the step needs it.

Seen in: PyTorch, SGD, 1.11 in development,
https://github.com/pytorch/pytorch/pull/68733
"""

import _frame
import torch

SPEC = "sgd"
REFERENCE = "https://github.com/pytorch/pytorch/pull/68733"
NEEDS = "contract: older checkpoints"


class SGD(_frame.SGD):
    __setstate__ = torch.optim.Optimizer.__setstate__  # mistake: setdefault("maximize", False)
