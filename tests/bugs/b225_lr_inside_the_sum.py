"""The squares of lr * gradient are summed, so that lr cancels.

Seen in: GloVe, AdaGrad, about 2018,
https://github.com/stanfordnlp/GloVe/issues/134
"""

import _frame

SPEC = "adagrad"
REFERENCE = "https://github.com/stanfordnlp/GloVe/issues/134"


class Adagrad(_frame.Adagrad):
    def accumulate(self, g, s, o):
        scaled = o["lr"] * g
        s["sum"].addcmul_(scaled, scaled)  # mistake: g
