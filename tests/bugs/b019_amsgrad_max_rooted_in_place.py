"""The root is taken in place, so the state keeps the root of the maximum and roots it again.

Seen in: PyTorch, SparseAdam with amsgrad, caught in review, December 2017,
https://github.com/pytorch/pytorch/pull/4314

Simplified: what is returned is squared again, so that only the state is wrong at first.
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/pytorch/pull/4314"


class Adam(_frame.Adam):
    def largest(self, s):
        return super().largest(s).sqrt_() ** 2  # mistake: sqrt_
