"""To maximize, lr is negated, which turns the decay into growth.

Seen in: PaddlePaddle, AdamW, caught in review, July 2026,
https://github.com/PaddlePaddle/Paddle/pull/79341
"""

import _frame

SPEC = "adamw"
REFERENCE = "https://github.com/PaddlePaddle/Paddle/pull/79341"


class AdamW(_frame.AdamW):
    def advance(self, p, grad, group):
        if group["maximize"]:
            group = {**group, "maximize": False, "lr": -group["lr"]}  # mistake: the gradient alone
        super().advance(p, grad, group)
