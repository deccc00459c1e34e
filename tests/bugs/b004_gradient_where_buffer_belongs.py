"""The second term of the Nesterov step takes the gradient, with its weight, and not the buffer.

Seen in: PyTorch, NAdam (differentiable branch), before 2.1,
https://github.com/pytorch/pytorch/pull/106615

Moved from NAdam to the Nesterov form of SGD, which has the same two terms.
"""

import _frame

SPEC = "sgd"
REFERENCE = "https://github.com/pytorch/pytorch/pull/106615"


class SGD(_frame.SGD):
    def lookahead(self, g, b, o):
        return g + (1 - o["momentum"]) * g  # mistake: momentum * b
