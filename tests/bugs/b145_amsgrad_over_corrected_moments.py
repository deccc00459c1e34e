"""AMSGrad's maximum is that of the corrected second moment.

Seen in: Optax, AMSGrad, about 2025,
https://github.com/google-deepmind/optax/issues/1389
"""

import _frame
import torch

SPEC = "adam"
REFERENCE = "https://github.com/google-deepmind/optax/issues/1389"
VARIANT = {"amsgrad_max": "corrected"}


class Adam(_frame.Adam):
    def update(self, p, g, s, o):
        self.average(self.decayed(g, p, o), s, o)
        c1, c2 = self.corrections(self.time(s), o)
        v_hat = s["exp_avg_sq"] / c2
        if o["amsgrad"]:
            v_hat = torch.maximum(s["max_exp_avg_sq"], v_hat, out=s["max_exp_avg_sq"])
        self.move(p, o["lr"] * (s["exp_avg"] / c1) / self.denominator(v_hat, s, o), o)
