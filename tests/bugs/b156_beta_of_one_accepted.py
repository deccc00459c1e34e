"""The betas are not checked, and a beta of 1 divides by zero.

Seen in: MLX, Adam family, about 2026,
https://github.com/ml-explore/mlx/pull/4310
"""

from optconform.impls import reference

SPEC = "adam"
REFERENCE = "https://github.com/ml-explore/mlx/pull/4310"


class Adam(reference.Adam):
    def _check(self, options):
        super()._check({**options, "betas": (0.0, 0.0)})  # mistake: betas are not looked at
