"""The decay goes by another lr than the step.

Seen in: pytorch_optimizer, Ranger21, 2023,
https://github.com/kozistr/pytorch_optimizer/pull/170

Moved from Ranger21's inner schedule to AdamW: the decay keeps the lr of the constructor.
"""

import _frame

SPEC = "adamw"
REFERENCE = "https://github.com/kozistr/pytorch_optimizer/pull/170"


class AdamW(_frame.AdamW):
    def move(self, p, update, o):
        super().move(p, update, {**o, "lr": self.defaults["lr"]})  # mistake: o["lr"]
