"""The state of the optimizer inside is not part of what the wrapper saves.

Seen in: TensorFlow Addons, Lookahead, 2020,
https://github.com/tensorflow/addons/pull/2102

Simplified: the wrapper is reduced to its state_dict.
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/tensorflow/addons/pull/2102"


class Adam(_frame.Adam):
    def state_dict(self):
        return {**super().state_dict(), "state": {}}  # mistake
