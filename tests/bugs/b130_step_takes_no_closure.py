"""step documents a closure and does not accept one.

Seen in: SOAP, September 2024,
https://github.com/nikhilvyas/SOAP/issues/7

Moved from SOAP to Adam.
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/nikhilvyas/SOAP/issues/7"
CHECK = "closure"


class Adam(_frame.Adam):
    def step(self):  # mistake: closure=None
        """Take one step.

        closure: evaluates the model again and returns the loss.
        """
        super().step()
