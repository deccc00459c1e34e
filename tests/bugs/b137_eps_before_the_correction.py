"""eps is added to the root before the bias correction, which then divides it as well.

Seen in: nanochat, DistAdamW, 2025,
https://github.com/karpathy/nanochat/issues/304
"""

import _frame

SPEC = "adamw"
REFERENCE = "https://github.com/karpathy/nanochat/issues/304"


class AdamW(_frame.AdamW):
    def denominator(self, v_hat, s, o):
        root = self.corrections(self.time(s), o)[1] ** 0.5
        return (v_hat.sqrt() * root + o["eps"]) / root  # mistake: eps last
