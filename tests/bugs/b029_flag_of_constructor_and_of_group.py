"""State is made by the constructor's flag, and used by the group's.

Seen in: PyTorch, Adam with capturable set per group, 1.13,
https://github.com/pytorch/pytorch/issues/89987

The flag is amsgrad here; the real one was capturable.
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/pytorch/issues/89987"


class Adam(_frame.Adam):
    def memory(self, p, o):
        # mistake: o["amsgrad"]
        return super().memory(p, {**o, "amsgrad": self.defaults["amsgrad"]})
