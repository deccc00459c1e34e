"""The running maximum of a complex parameter is computed beside the state and never stored in it.

Seen in: PyTorch, AdamW with complex parameters and amsgrad, before 2.1,
https://github.com/pytorch/pytorch/pull/104990

The report says what is lost, not how; that a view is replaced and not filled is our reading.
"""

from optconform.impls import reference

SPEC = "adamw"
REFERENCE = "https://github.com/pytorch/pytorch/pull/104990"


class AdamW(reference.AdamW):
    def _advance(self, p, grad, group):
        lost = p.is_complex() and group["amsgrad"]
        kept = self._state_of(p, group)["max_exp_avg_sq"].clone() if lost else None
        super()._advance(p, grad, group)
        if lost:
            self.state[p]["max_exp_avg_sq"] = kept  # mistake: the maximum of this step
