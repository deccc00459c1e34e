"""In the first step the moments are g and g**2, without the factors 1 - beta.

Seen in: PennyLane, Adam and Adagrad, 2021,
https://github.com/PennyLaneAI/pennylane/issues/1928

The Adam of the report; its Adagrad is left out.
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/PennyLaneAI/pennylane/issues/1928"


class Adam(_frame.Adam):
    def average(self, g, s, o):
        if self.time(s) == 1:
            s["exp_avg"].copy_(g)  # mistake: (1 - beta1) * g
            s["exp_avg_sq"].copy_(g * g)
        else:
            super().average(g, s, o)
