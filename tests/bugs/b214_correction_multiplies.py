"""The moments are multiplied by 1 - beta**t, where they ought to be divided.

Seen in: ConvNetJS, Adam, 2016,
https://github.com/karpathy/convnetjs/pull/70
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/karpathy/convnetjs/pull/70"


class Adam(_frame.Adam):
    def corrections(self, t, o):
        c1, c2 = super().corrections(t, o)
        return 1 / c1, 1 / c2  # mistake
