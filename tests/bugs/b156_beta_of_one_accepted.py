"""The betas are not checked, and a beta of 1 divides by zero.

Seen in: MLX, Adam family, about 2026,
https://github.com/ml-explore/mlx/pull/4310
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/ml-explore/mlx/pull/4310"
NEEDS = "contract: refusals"


class Adam(_frame.Adam):
    def check(self, o):
        super().check({k: v for k, v in o.items() if k != "betas"})  # mistake: betas too
