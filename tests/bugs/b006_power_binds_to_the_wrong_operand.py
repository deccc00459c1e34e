"""Operator precedence: a power is taken of another operand than the formula says.

Seen in: PyTorch, ASGD (foreach), before 2.4,
https://github.com/pytorch/pytorch/pull/125440

Moved from ASGD's step size to Adam's bias correction; there the power lost its bracket, here it
gets one too many.
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/pytorch/pull/125440"


class Adam(_frame.Adam):
    def corrections(self, t, o):
        beta1, beta2 = o["betas"]
        return (1 - beta1) ** t, (1 - beta2) ** t  # mistake: 1 - beta**t
