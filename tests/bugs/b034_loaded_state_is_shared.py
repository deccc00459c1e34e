"""An optimizer that loads another's state_dict shares its tensors, and each steps for both.

Seen in: PyTorch, Optimizer.load_state_dict, to this day,
https://github.com/pytorch/pytorch/issues/196083
"""

import torch

from optconform.impls import reference

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/pytorch/issues/196083"


class Adam(reference.Adam):
    load_state_dict = torch.optim.Optimizer.load_state_dict  # mistake: no copy
