"""In a long list of tensors, those past the first launch do not get their eps.

Seen in: PyTorch, Adam (foreach), 2.2,
https://github.com/pytorch/pytorch/issues/119885

The real one is a defect of a CUDA kernel; 110 is how many tensors one launch of it takes.
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/pytorch/issues/119885"
NEEDS = "contract: many parameters"


class Adam(_frame.Adam):
    LAUNCH = 110

    def each(self, todo):
        for k, (p, grad, group) in enumerate(todo):
            if k >= self.LAUNCH:
                group = {**group, "eps": 0.0}  # mistake
            self.advance(p, grad, group)
