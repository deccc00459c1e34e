"""Complex parameters go through the formula as they are, roots and squares included.

Seen in: PyTorch, several foreach optimizers, 2.1,
https://github.com/pytorch/pytorch/issues/110606

Adadelta stands for the optimizers that the report names; what each really computed differs.
"""

import _frame

SPEC = "adadelta"
REFERENCE = "https://github.com/pytorch/pytorch/issues/110606"
NEEDS = "contract: complex"


class Adadelta(_frame.Adadelta):
    def real(self, x):
        return x  # mistake: Adadelta is defined on reals
