"""The momentum term is multiplied by the step size once more.

Seen in: climin, Adadelta, 2015,
https://github.com/BRML/climin/issues/29

Moved from climin's Adadelta, which has a momentum, to SGD.
"""

import _frame

SPEC = "sgd"
REFERENCE = "https://github.com/BRML/climin/issues/29"


class SGD(_frame.SGD):
    def buffer(self, g, s, o):
        if self.time(s) > 1:
            s["momentum_buffer"].mul_(o["lr"])  # mistake
        return super().buffer(g, s, o)
