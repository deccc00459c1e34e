"""The variance of a constant gradient comes out a rounding below zero, and its root is NaN.

Seen in: Apache MXNet, RMSProp (centered), 2017,
https://github.com/apache/mxnet/pull/6235
"""

import _frame

SPEC = "rmsprop"
REFERENCE = "https://github.com/apache/mxnet/pull/6235"
ADMITTED = "so does the equation v - m**2 itself, wherever its terms cancel"


class RMSprop(_frame.RMSprop):
    def variance(self, s, o):
        # mistake: may be negative
        return s["square_avg"] - s["grad_avg"] ** 2 if o["centered"] else s["square_avg"]
