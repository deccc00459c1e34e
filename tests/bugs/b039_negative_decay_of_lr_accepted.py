"""A negative rate of decay is accepted; the step size then grows, and divides by zero in mid-run.

Seen in: PyTorch, ASGD, August 2026,
https://github.com/pytorch/pytorch/pull/193303

Moved from ASGD's lambd to Adagrad's lr_decay.
"""

import _frame

SPEC = "adagrad"
REFERENCE = "https://github.com/pytorch/pytorch/pull/193303"
NEEDS = "contract: refusals"


class Adagrad(_frame.Adagrad):
    def check(self, o):
        super().check({k: v for k, v in o.items() if k != "lr_decay"})  # mistake: lr_decay too
