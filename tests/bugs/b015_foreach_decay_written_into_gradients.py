"""The decay is added in place to the list of gradients, and so to every p.grad.

Seen in: PyTorch, ASGD (foreach), September 2022,
https://github.com/pytorch/pytorch/pull/84472

Moved from ASGD to Adam: the line is common to the family.
"""

import _frame
import torch

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/pytorch/pull/84472"


class Adam(_frame.Adam):
    def each(self, todo):
        for p, grad, group in todo:
            decay = group["weight_decay"] * (-1 if group["maximize"] else 1)
            if decay:
                torch._foreach_add_([grad], [p], alpha=decay)  # mistake: in place
        super().each(todo)

    def decayed(self, g, p, o):
        return g
