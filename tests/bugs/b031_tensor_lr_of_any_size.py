"""A tensor lr of several elements is accepted, and fails only when it is used.

Seen in: PyTorch, Adam with a tensor as lr, 2.5,
https://github.com/pytorch/pytorch/issues/145461
"""

import torch

from optconform.impls import reference

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/pytorch/issues/145461"
CHECK = "refusals"


class Adam(reference.Adam):
    def _check(self, options):
        lr = options["lr"]
        first = lr.flatten()[0].item() if torch.is_tensor(lr) else lr  # mistake: the others
        super()._check({**options, "lr": first})
