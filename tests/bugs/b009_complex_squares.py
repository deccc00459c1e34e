"""A complex gradient is squared as a complex number: the second moment is complex and may cancel.

Seen in: PyTorch, Adam with complex parameters, 1.9,
https://github.com/pytorch/pytorch/issues/59998
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/pytorch/issues/59998"
NEEDS = "contract: complex"


class Adam(_frame.Adam):
    def real(self, x):
        return x  # mistake: complex numbers are no pairs of reals here
