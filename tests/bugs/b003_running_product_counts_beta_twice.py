"""The running product of beta1 already holds this step's factor and is multiplied by it again.

Seen in: PyTorch, NAdam (single tensor), before 2.0,
https://github.com/pytorch/pytorch/pull/92699

Moved from NAdam's product of momenta to Adam's beta1**t, which is such a product too.
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/pytorch/pull/92699"


class Adam(_frame.Adam):
    def corrections(self, t, o):
        c1, c2 = super().corrections(t, o)
        product = 1 - c1
        return 1 - product * o["betas"][0], c2  # mistake: beta1 is in the product already
