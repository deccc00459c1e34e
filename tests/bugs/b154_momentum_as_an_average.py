"""The buffer is a moving average: every gradient is weighted by 1 - momentum, unasked.

Seen in: MLX, SGD, December 2023,
https://github.com/ml-explore/mlx/pull/87
"""

import _frame

SPEC = "sgd"
REFERENCE = "https://github.com/ml-explore/mlx/pull/87"
VARIANT = {"first_buffer": "dampened", "momentum": "ema"}


class SGD(_frame.SGD):
    def buffer(self, g, s, o):
        return s["momentum_buffer"].mul_(o["momentum"]).add_(g, alpha=1 - o["momentum"])
