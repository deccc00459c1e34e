"""A tensor that is passed twice is stepped twice, its state and its step count too.

Seen in: tinygrad, all optimizers, June 2023,
https://github.com/tinygrad/tinygrad/pull/1047
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/tinygrad/tinygrad/pull/1047"
NEEDS = "contract: tied parameters"


class Adam(_frame.Adam):
    def distinct(self, params):
        return params  # mistake: leave it out
