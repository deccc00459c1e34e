"""Time starts at 0, so that the first bias correction is a division by zero.

Seen in: burn, Adam, 2023,
https://github.com/tracel-ai/burn/pull/630
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/tracel-ai/burn/pull/630"


class Adam(_frame.Adam):
    def time(self, s):
        return s["step"] - 1  # mistake
