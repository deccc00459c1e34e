"""The momentum line changes the gradient in place, and the Nesterov term gets the decay once more.

Seen in: Apache MXNet, NAG, December 2018,
https://github.com/apache/mxnet/pull/13683

Simplified to its effect; which line changed the gradient is not shown here.
"""

import _frame

SPEC = "sgd"
REFERENCE = "https://github.com/apache/mxnet/pull/13683"


class SGD(_frame.SGD):
    def update(self, p, g, s, o):
        self.decay = o["weight_decay"] * p
        super().update(p, g, s, o)

    def lookahead(self, g, b, o):
        return super().lookahead(g + self.decay, b, o)  # mistake: g has it already
