"""A parenthesis closes too early, and lr does not multiply the decay.

Seen in: tensorli, AdamW, about 2023,
https://github.com/joennlae/tensorli/issues/1

The report says that a parenthesis is wrong; which one is our guess.
"""

import _frame

SPEC = "adamw"
REFERENCE = "https://github.com/joennlae/tensorli/issues/1"


class AdamW(_frame.AdamW):
    def move(self, p, update, o):
        p.sub_(update + o["weight_decay"] * p)  # mistake: lr * (... + weight_decay * p)
