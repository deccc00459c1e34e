"""The decay is not multiplied by lr.

Seen in: Optimisers.jl, AdamW, 2024,
https://github.com/FluxML/Optimisers.jl/issues/182
"""

import _frame

SPEC = "adamw"
REFERENCE = "https://github.com/FluxML/Optimisers.jl/issues/182"
VARIANT = {"decay": "decoupled-no-lr"}


class AdamW(_frame.AdamW):
    def move(self, p, update, o):
        p.mul_(1 - o["weight_decay"]).sub_(update)
