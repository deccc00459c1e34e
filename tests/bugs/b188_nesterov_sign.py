"""The momentum term of the Nesterov step has the wrong sign.

Seen in: PaddlePaddle, Momentum with nesterov, 2018,
https://github.com/PaddlePaddle/Paddle/pull/12231
"""

import _frame

SPEC = "sgd"
REFERENCE = "https://github.com/PaddlePaddle/Paddle/pull/12231"


class SGD(_frame.SGD):
    def lookahead(self, g, b, o):
        return g - o["momentum"] * b  # mistake: +
