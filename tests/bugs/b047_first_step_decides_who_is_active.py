"""Whoever has no gradient in the first step is never updated again.

Seen in: PyTorch, optimizers under torch.compile, 2.1,
https://github.com/pytorch/pytorch/issues/115607

Simplified: the real one kept an empty graph when no parameter at all had a gradient.
"""

import _frame

SPEC = "sgd"
REFERENCE = "https://github.com/pytorch/pytorch/issues/115607"


class SGD(_frame.SGD):
    active = None

    def each(self, todo):
        if self.active is None:
            self.active = {id(p) for p, _, _ in todo}  # mistake: gradients may come later
        super().each([x for x in todo if id(x[0]) in self.active])
