"""The step is scaled by an average that has already taken in this step.

Seen in: pytorch_optimizer, ADOPT, February 2025,
https://github.com/kozistr/pytorch_optimizer/issues/346

Moved from ADOPT to Adadelta, whose numerator is the average of the updates before this one.
"""

import _frame

SPEC = "adadelta"
REFERENCE = "https://github.com/kozistr/pytorch_optimizer/issues/346"


class Adadelta(_frame.Adadelta):
    def update(self, p, g, s, o):
        g = self.decayed(g, p, o)
        s["square_avg"].mul_(o["rho"]).addcmul_(g, g, value=1 - o["rho"])
        delta = self.delta(g, s, o)
        s["acc_delta"].mul_(o["rho"]).addcmul_(delta, delta, value=1 - o["rho"])
        p.sub_(o["lr"] * self.delta(g, s, o))  # mistake: acc_delta has moved since
