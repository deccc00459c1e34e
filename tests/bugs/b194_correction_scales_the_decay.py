"""The bias correction, folded into the step size, scales the decay and eps as well.

Seen in: OneFlow, AdamW, 2021,
https://github.com/Oneflow-Inc/oneflow/pull/5960
"""

import _frame

SPEC = "adamw"
REFERENCE = "https://github.com/Oneflow-Inc/oneflow/pull/5960"


class AdamW(_frame.AdamW):
    def update(self, p, g, s, o):
        self.average(g, s, o)
        v = self.largest(s) if o["amsgrad"] else s["exp_avg_sq"]
        c1, c2 = self.corrections(self.time(s), o)
        update = s["exp_avg"] / (v.sqrt() + o["eps"]) + o["weight_decay"] * p
        p.sub_(o["lr"] * c2**0.5 / c1 * update)  # mistake: of the first term alone
