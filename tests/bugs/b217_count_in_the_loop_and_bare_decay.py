"""The count goes up inside the loop over parameters, and the decay is not multiplied by lr.

Seen in: flashlight, Adam, 2020,
https://github.com/flashlight/flashlight/issues/143
"""

import _frame

SPEC = "adamw"
REFERENCE = "https://github.com/flashlight/flashlight/issues/143"


class AdamW(_frame.AdamW):
    count = 0

    def tick(self, s):
        super().tick(s)
        self.count += 1  # mistake: many times a step

    def time(self, s):
        return self.count

    def move(self, p, update, o):
        p.mul_(1 - o["weight_decay"]).sub_(update)  # mistake: lr * weight_decay
