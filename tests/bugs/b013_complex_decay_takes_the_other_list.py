"""The decay of a complex parameter adds the complex tensor to gradients already split into reals.

Seen in: PyTorch, Adam (foreach), 2.0.1,
https://github.com/i404788/s5-pytorch/issues/2
"""

import torch

from optconform.impls import reference

SPEC = "adam"
REFERENCE = "https://github.com/i404788/s5-pytorch/issues/2"
CHECK = "complex"


class Adam(reference.Adam):
    def _advance(self, p, grad, group):
        if p.is_complex() and group["weight_decay"] != 0:
            pairs = torch.view_as_real(grad).add(p, alpha=group["weight_decay"])  # mistake: p's
            grad, group = torch.view_as_complex(pairs), {**group, "weight_decay": 0.0}
        super()._advance(p, grad, group)
