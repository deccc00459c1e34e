"""Once the second moment is long enough to be trusted, eps is no longer added to its root.

Seen in: PyTorch, RAdam (foreach), before 2.0,
https://github.com/pytorch/pytorch/pull/92551

Moved from RAdam to Adam: the branch is RAdam's (rho_t > 5), the update on both sides is Adam's.
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/pytorch/pull/92551"


class Adam(_frame.Adam):
    def denominator(self, v_hat, s, o):
        beta2, t = o["betas"][1], self.time(s)
        longest = 2 / (1 - beta2) - 1
        rho = longest - 2 * t * beta2**t / (1 - beta2**t)
        if rho > 5:
            return v_hat.sqrt()  # mistake: no eps
        return super().denominator(v_hat, s, o)
