"""step accepts a closure, never calls it, and returns None.

Seen in: Ranger, about 2020,
https://github.com/lessw2020/Ranger-Deep-Learning-Optimizer/issues/46

Moved from Ranger to Adam.
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/lessw2020/Ranger-Deep-Learning-Optimizer/issues/46"
NEEDS = "contract: closure"


class Adam(_frame.Adam):
    def loss(self, closure):
        return None  # mistake
