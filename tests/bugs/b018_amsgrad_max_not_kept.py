"""The maximum is taken into a local variable; the state never learns of it.

Seen in: PyTorch, SparseAdam and Adam with amsgrad, December 2017,
https://github.com/pytorch/pytorch/issues/4271
"""

import _frame
import torch

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/pytorch/issues/4271"


class Adam(_frame.Adam):
    def largest(self, s):
        return torch.maximum(s["max_exp_avg_sq"], s["exp_avg_sq"])  # mistake: not stored
