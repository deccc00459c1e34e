"""eps is not divided by the bias correction, as in the second form of the paper.

Seen in: TensorFlow, Adam, 2019,
https://github.com/tensorflow/tensorflow/issues/35102
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/tensorflow/tensorflow/issues/35102"
VARIANT = {"eps": "hat"}


class Adam(_frame.Adam):
    def denominator(self, v_hat, s, o):
        return v_hat.sqrt() + o["eps"] / self.corrections(self.time(s), o)[1] ** 0.5
