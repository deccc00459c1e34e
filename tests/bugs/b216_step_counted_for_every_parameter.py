"""The one step count goes up with every parameter, not with every step.

Seen in: DiffSharp, Adam, 2021,
https://github.com/DiffSharp/DiffSharp/issues/292
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/DiffSharp/DiffSharp/issues/292"


class Adam(_frame.Adam):
    count = 0

    def tick(self, s):
        super().tick(s)
        self.count += 1  # mistake: many times a step

    def time(self, s):
        return self.count
