"""The second moment is initialised with the parameter.

Seen in: mlx-optimizers, ADOPT, 2024,
https://github.com/stockeh/mlx-optimizers/issues/43

Moved from ADOPT, which starts it at the first squared gradient, to Adam, which starts it at
zero.
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/stockeh/mlx-optimizers/issues/43"


class Adam(_frame.Adam):
    def memory(self, p, o):
        s = super().memory(p, o)
        if s["step"] == 0:
            s["exp_avg_sq"] = p.clone()  # mistake: zeros
        return s
