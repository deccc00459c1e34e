"""The step writes its own intermediate result into p.grad.

Seen in: PyTorch, Rprop (foreach), August 2022,
https://github.com/pytorch/pytorch/pull/83858

Moved from Rprop, where entries of p.grad were set to zero, to the sign change of maximize.
"""

import _frame

SPEC = "adagrad"
REFERENCE = "https://github.com/pytorch/pytorch/pull/83858"


class Adagrad(_frame.Adagrad):
    def advance(self, p, grad, group):
        if group["maximize"]:
            grad.neg_()  # mistake: the caller's tensor
        super().advance(p, grad, {**group, "maximize": False})
