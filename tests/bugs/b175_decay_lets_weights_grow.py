"""The decay has the wrong sign.

Seen in: Chainer, weight decay hook, 2015,
https://github.com/chainer/chainer/issues/261
"""

import _frame

SPEC = "sgd"
REFERENCE = "https://github.com/chainer/chainer/issues/261"


class SGD(_frame.SGD):
    def decayed(self, g, p, o):
        return g - o["weight_decay"] * p  # mistake: +
