"""Reported as a bug and none: a layer of two parameters counts two steps, one for each.

Seen in: Adai, July 2022,
https://github.com/zeke-xie/adaptive-inertia-adai/issues/3

Moved from Adai to Adam.
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/zeke-xie/adaptive-inertia-adai/issues/3"
CONTROL = True


class Adam(_frame.Adam):
    counted = 0

    def tick(self, s):
        super().tick(s)
        self.counted += 1  # of all parameters together; nothing depends on it
