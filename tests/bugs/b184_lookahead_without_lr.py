"""The Nesterov formula lacks the lr in one of its terms.

Seen in: Apache MXNet, NAG, 2019,
https://github.com/apache/mxnet/issues/15543

The report says that the formula is wrong; which term lacks what is our guess.
"""

import _frame

SPEC = "sgd"
REFERENCE = "https://github.com/apache/mxnet/issues/15543"


class SGD(_frame.SGD):
    def update(self, p, g, s, o):
        g = self.decayed(g, p, o)
        if not o["nesterov"]:
            return self.move(p, self.direction(g, s, o), o)
        p.sub_(o["lr"] * g + o["momentum"] * self.buffer(g, s, o))  # mistake: lr * momentum
