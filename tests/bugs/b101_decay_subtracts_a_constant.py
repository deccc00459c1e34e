"""The decay takes lr * weight_decay from every element, whatever its value.

Seen in: torch_optimizer, SGDW, 2022,
https://github.com/jettify/pytorch-optimizer/issues/454

Moved from SGDW to AdamW.
"""

import _frame

SPEC = "adamw"
REFERENCE = "https://github.com/jettify/pytorch-optimizer/issues/454"


class AdamW(_frame.AdamW):
    def move(self, p, update, o):
        p.add_(o["weight_decay"], alpha=-o["lr"]).sub_(update)  # mistake: p.add_(p, ...)
