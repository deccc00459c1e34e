"""eps is added under the root, and to the root again.

Seen in: pytorch_optimizer, helper of the Adam family, July 2025,
https://github.com/kozistr/pytorch_optimizer/issues/397
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/kozistr/pytorch_optimizer/issues/397"


class Adam(_frame.Adam):
    def denominator(self, v_hat, s, o):
        return (v_hat + o["eps"]).sqrt() + o["eps"]  # mistake: once
