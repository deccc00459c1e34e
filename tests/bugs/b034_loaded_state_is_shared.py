"""An optimizer that loads another's state_dict shares its tensors, and each steps for both.

Seen in: PyTorch, Optimizer.load_state_dict, to this day,
https://github.com/pytorch/pytorch/issues/196083
"""

import _frame
import torch

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/pytorch/issues/196083"
NEEDS = "contract: aliasing"


class Adam(_frame.Adam):
    load_state_dict = torch.optim.Optimizer.load_state_dict  # mistake: no copy
