"""Without momentum an early return skips the decay; with it, the first buffer is dampened.

Seen in: MLX, SGD, January 2024,
https://github.com/ml-explore/mlx/pull/473
"""

import _frame

SPEC = "sgd"
REFERENCE = "https://github.com/ml-explore/mlx/pull/473"


class SGD(_frame.SGD):
    def decayed(self, g, p, o):
        return super().decayed(g, p, o) if o["momentum"] else g  # mistake

    def buffer(self, g, s, o):
        b = s["momentum_buffer"]
        return b.mul_(o["momentum"]).add_(g, alpha=1 - o["dampening"])  # mistake: at t = 1 too
