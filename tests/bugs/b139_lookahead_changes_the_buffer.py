"""The Nesterov look-ahead is computed in place, in the buffer that the next step starts from.

Seen in: google-research, Shampoo with nesterov, 2023,
https://github.com/google-research/google-research/issues/1711

Moved from Shampoo to SGD.
"""

import _frame

SPEC = "sgd"
REFERENCE = "https://github.com/google-research/google-research/issues/1711"


class SGD(_frame.SGD):
    def lookahead(self, g, b, o):
        return b.mul_(o["momentum"]).add_(g)  # mistake: mul_
