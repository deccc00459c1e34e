"""The L2 penalty does what the L1 penalty ought to do.

Seen in: keras-adamw, AdamW, NadamW and SGDW, 2020,
https://github.com/OverLordGoldDragon/keras-adamw/issues/39

The one of the two penalties that Adam has; the real ones took each other's place.
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/OverLordGoldDragon/keras-adamw/issues/39"


class Adam(_frame.Adam):
    def decayed(self, g, p, o):
        return g + o["weight_decay"] * p.sign()  # mistake: p
