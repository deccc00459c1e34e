"""Reported as a bug and none: buffers are new tensors in every step, with what the old ones held.

Seen in: Keras, SGD, August 2017,
https://github.com/keras-team/keras/issues/7502
"""

import _frame

SPEC = "sgd"
REFERENCE = "https://github.com/keras-team/keras/issues/7502"
CONTROL = True


class SGD(_frame.SGD):
    def buffer(self, g, s, o):
        s["momentum_buffer"] = s["momentum_buffer"].clone()
        return super().buffer(g, s, o)
