"""Brackets are missing, and the square is not that of gradient plus decay.

Seen in: Apache MXNet, RMSProp (Graves), February 2017,
https://github.com/apache/mxnet/pull/5043

The thread says that brackets are missing and when it shows; which they are is our guess.
"""

import _frame

SPEC = "rmsprop"
REFERENCE = "https://github.com/apache/mxnet/pull/5043"


class RMSprop(_frame.RMSprop):
    def average(self, g, s, o):
        decay = g - self.plain
        square = self.plain * self.plain + decay  # mistake: (gradient + decay)**2
        s["square_avg"].mul_(o["alpha"]).add_(square, alpha=1 - o["alpha"])
        if o["centered"]:
            s["grad_avg"].mul_(o["alpha"]).add_(g, alpha=1 - o["alpha"])

    def decayed(self, g, p, o):
        self.plain = g
        return super().decayed(g, p, o)
