"""The average of updates is read under one name and stored under another: it never persists.

Seen in: MLX, AdaDelta, February 2024,
https://github.com/ml-explore/mlx/pull/603
"""

import _frame
import torch

SPEC = "adadelta"
REFERENCE = "https://github.com/ml-explore/mlx/pull/603"


class Adadelta(_frame.Adadelta):
    def slots(self, o):
        return {"square_avg": 0}

    def update(self, p, g, s, o):
        s["acc_delta"] = s.get("accumulated", torch.zeros_like(g))  # mistake: nobody writes it
        super().update(p, g, s, o)
