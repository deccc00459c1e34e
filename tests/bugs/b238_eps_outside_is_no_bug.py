"""Reported as a bug and none: eps is added to the root.

Seen in: Keras, RMSprop, about 2016,
https://github.com/keras-team/keras/issues/4356
"""

import _frame

SPEC = "rmsprop"
REFERENCE = "https://github.com/keras-team/keras/issues/4356"
CONTROL = True


class RMSprop(_frame.RMSprop):
    def update(self, p, g, s, o):
        g = self.decayed(g, p, o)
        self.average(g, s, o)
        self.move(p, g / (self.variance(s, o).sqrt() + o["eps"]), s, o)
