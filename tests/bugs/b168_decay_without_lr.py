"""The decay is apart from the gradient, and not multiplied by lr.

Seen in: TensorFlow Addons, SGDW, December 2020,
https://github.com/tensorflow/addons/issues/2282
"""

import _frame

SPEC = "sgd"
REFERENCE = "https://github.com/tensorflow/addons/issues/2282"
VARIANT = {"decay": "decoupled-no-lr"}


class SGD(_frame.SGD):
    def decayed(self, g, p, o):
        return g

    def move(self, p, d, o):
        p.mul_(1 - o["weight_decay"]).sub_(o["lr"] * d)
