"""The decay is divided by the number of iterations, even where that is zero.

Seen in: keras-adamw, NadamW and SGDW, September 2019,
https://github.com/OverLordGoldDragon/keras-adamw/pull/2

Moved to AdamW, which had the guard.
"""

import _frame
import torch

SPEC = "adamw"
REFERENCE = "https://github.com/OverLordGoldDragon/keras-adamw/pull/2"


class AdamW(_frame.AdamW):
    iterations = 0

    def move(self, p, update, o):
        if o["weight_decay"]:
            normal = torch.tensor(1.0).div(self.iterations).sqrt()  # mistake: no guard
            o = {**o, "weight_decay": o["weight_decay"] * float(normal)}
        super().move(p, update, o)
