"""Entries of a sparse gradient with the same index are squared one by one, not summed first.

Seen in: PyTorch, Adagrad with sparse gradients, May 2017,
https://github.com/pytorch/pytorch/issues/1545
"""

import _frame
import torch

SPEC = "adagrad"
REFERENCE = "https://github.com/pytorch/pytorch/issues/1545"
CHECK = "sparse-twice"


class Adagrad(_frame.Adagrad):
    def ready(self):
        return [
            (p, p.grad, group)
            for group in self.param_groups
            for p in group["params"]
            if p.grad is not None
        ]

    def advance(self, p, grad, group):
        self.squares = None
        if grad.is_sparse:
            values = grad._values() ** 2  # mistake: not coalesced
            self.squares = torch.sparse_coo_tensor(grad._indices(), values, grad.shape).to_dense()
            grad = grad.to_dense()
        super().advance(p, grad, group)

    def accumulate(self, g, s, o):
        if self.squares is None:
            super().accumulate(g, s, o)
        else:
            s["sum"].add_(self.squares)
