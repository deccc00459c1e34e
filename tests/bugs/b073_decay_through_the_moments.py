"""The decay is added to the gradient and goes through the moments, where it ought to be apart.

Seen in: bitsandbytes, Lion (32 bit), July 2026,
https://github.com/bitsandbytes-foundation/bitsandbytes/issues/1992

Moved from Lion to AdamW, whose decay is decoupled as well.
"""

import _frame

SPEC = "adamw"
REFERENCE = "https://github.com/bitsandbytes-foundation/bitsandbytes/issues/1992"


class AdamW(_frame.AdamW):
    decayed = _frame.Adam.decayed  # mistake
    move = _frame.Adam.move
