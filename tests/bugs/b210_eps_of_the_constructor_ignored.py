"""The eps that was asked for is ignored, and the default used.

Seen in: DL4J, Adam and RMSProp, 2017,
https://github.com/deeplearning4j/deeplearning4j/issues/2705
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/deeplearning4j/deeplearning4j/issues/2705"


class Adam(_frame.Adam):
    def denominator(self, v_hat, s, o):
        return v_hat.sqrt() + 1e-8  # mistake: o["eps"]
