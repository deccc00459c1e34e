"""A tensor lr of several elements is accepted, and fails only when it is used.

Seen in: PyTorch, Adam with a tensor as lr, 2.5,
https://github.com/pytorch/pytorch/issues/145461
"""

import _frame
import torch

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/pytorch/issues/145461"
NEEDS = "contract: lr as a tensor"


class Adam(_frame.Adam):
    def check(self, o):
        lr = torch.as_tensor(o["lr"]).flatten()[0].item()  # mistake: the other elements
        super().check({**o, "lr": lr})
