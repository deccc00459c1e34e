"""No option is checked: rho above 1 ends in the root of a negative number.

Seen in: PyTorch, all optimizers, March 2018,
https://github.com/pytorch/pytorch/pull/6000
"""

from optconform.impls import reference

SPEC = "adadelta"
REFERENCE = "https://github.com/pytorch/pytorch/pull/6000"


class Adadelta(reference.Adadelta):
    def _check(self, options):
        pass  # mistake
