"""The constructor uses a name that does not exist.

Seen in: RAdam (reference repository), its AdamW, August 2019,
https://github.com/LiyuanLucasLiu/RAdam/issues/9
"""

import _frame

SPEC = "adamw"
REFERENCE = "https://github.com/LiyuanLucasLiu/RAdam/issues/9"


class AdamW(_frame.AdamW):
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2):
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad)  # noqa: F821  the mistake
