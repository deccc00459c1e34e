"""A negative rate of decay is accepted; the step size then grows, and divides by zero in mid-run.

Seen in: PyTorch, ASGD, August 2026,
https://github.com/pytorch/pytorch/pull/193303

Moved from ASGD's lambd to Adagrad's lr_decay.
"""

from optconform.impls import reference

SPEC = "adagrad"
REFERENCE = "https://github.com/pytorch/pytorch/pull/193303"


class Adagrad(reference.Adagrad):
    def _check(self, options):
        super()._check({**options, "lr_decay": 0.0})  # mistake: lr_decay is not looked at
