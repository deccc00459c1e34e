"""The decayed lr is computed, and the undecayed one used.

Seen in: Keras, Adamax, 2016,
https://github.com/keras-team/keras/pull/4043

Moved from Adamax to Adagrad, which has such a decay.
"""

import _frame

SPEC = "adagrad"
REFERENCE = "https://github.com/keras-team/keras/pull/4043"


class Adagrad(_frame.Adagrad):
    def rate(self, t, o):
        _decayed = super().rate(t, o)
        return o["lr"]  # mistake
