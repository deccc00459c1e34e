"""The defaults of the constructor are not those of the documentation.

Seen in: NVIDIA apex, FusedLAMB, 2021,
https://github.com/NVIDIA/apex/issues/1186

Moved from LAMB to Adam, whose documented defaults are eps 1e-8 and no decay.
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/NVIDIA/apex/issues/1186"
CHECK = "defaults"


class Adam(_frame.Adam):
    """Adam.

    Args:
        eps (float, optional): added to the denominator (default: 1e-8)
        weight_decay (float, optional): the L2 penalty (default: 0)
    """

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-6, weight_decay=0.01, amsgrad=False, *,
        maximize=False,
    ):  # fmt: skip
        # mistake: eps and weight_decay above
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)
