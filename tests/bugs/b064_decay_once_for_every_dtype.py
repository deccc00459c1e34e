"""Every bucket of one dtype decays all parameters of the group, not its own.

Seen in: timm, SGDW (foreach), August 2026,
https://github.com/huggingface/pytorch-image-models/pull/2750

Moved from SGDW to AdamW.
"""

import _frame

SPEC = "adamw"
REFERENCE = "https://github.com/huggingface/pytorch-image-models/pull/2750"
NEEDS = "contract: several dtypes"


class AdamW(_frame.AdamW):
    def each(self, todo):
        for group in self.param_groups:
            mine = [(p, grad) for p, grad, its in todo if its is group]
            for dtype in {p.dtype: None for p, _ in mine}:
                for p, _ in mine:  # mistake: only those of this dtype
                    p.mul_(1 - float(group["lr"]) * group["weight_decay"])
                for p, grad in mine:
                    if p.dtype == dtype:
                        self.advance(p, grad, {**group, "weight_decay": 0.0})
