"""view() flattens the gradient, and raises where its strides do not allow that.

Seen in: AdamP, November 2024,
https://github.com/clovaai/AdamP/issues/17

Moved from AdamP to Adam.
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/clovaai/AdamP/issues/17"


class Adam(_frame.Adam):
    def advance(self, p, grad, group):
        flat = grad.view(-1)  # mistake: reshape
        super().advance(p, flat.view(grad.shape), group)
