"""The running maximum of a complex parameter is computed beside the state and never stored in it.

Seen in: PyTorch, AdamW with complex parameters and amsgrad, before 2.1,
https://github.com/pytorch/pytorch/pull/104990

The report says what is lost, not how; that a view is replaced and not filled is our reading.
"""

import _frame
import torch

SPEC = "adamw"
REFERENCE = "https://github.com/pytorch/pytorch/pull/104990"
NEEDS = "contract: complex"


class AdamW(_frame.AdamW):
    def largest(self, s):
        # mistake: for a complex parameter, s holds real views, and the state keeps the old tensor
        s["max_exp_avg_sq"] = torch.maximum(s["max_exp_avg_sq"], s["exp_avg_sq"])
        return s["max_exp_avg_sq"]
