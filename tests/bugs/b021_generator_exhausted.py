"""The constructor looks at every parameter first, and a generator is then empty.

Seen in: PyTorch, SparseAdam, 1.7,
https://github.com/pytorch/pytorch/issues/47594
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/pytorch/issues/47594"
CHECK = "iterables"


class Adam(_frame.Adam):
    def given(self, params):
        if any(
            getattr(p, "is_sparse", False) for p in params
        ):  # mistake: params may be a generator
            raise ValueError("parameters must be dense")
        return params
