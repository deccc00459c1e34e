"""No option is checked: rho above 1 ends in the root of a negative number.

Seen in: PyTorch, all optimizers, March 2018,
https://github.com/pytorch/pytorch/pull/6000
"""

import _frame

SPEC = "adadelta"
REFERENCE = "https://github.com/pytorch/pytorch/pull/6000"
NEEDS = "contract: refusals"


class Adadelta(_frame.Adadelta):
    def check(self, o):
        pass  # mistake
