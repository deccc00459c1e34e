"""The decay of a complex parameter adds the complex tensor to gradients already split into reals.

Seen in: PyTorch, Adam (foreach), 2.0.1,
https://github.com/i404788/s5-pytorch/issues/2
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/i404788/s5-pytorch/issues/2"
NEEDS = "contract: complex"


class Adam(_frame.Adam):
    def advance(self, p, grad, group):
        self.original = p
        super().advance(p, grad, group)

    def decayed(self, g, p, o):
        return super().decayed(g, self.original, o)  # mistake: p, the real view
