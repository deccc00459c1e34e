"""A complex gradient is squared as a complex number: the second moment is complex and may cancel.

Seen in: PyTorch, Adam with complex parameters, 1.9,
https://github.com/pytorch/pytorch/issues/59998
"""

from optconform.impls import reference

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/pytorch/issues/59998"


class Adam(reference.Adam):
    def _advance(self, p, grad, group):
        if not p.is_complex():
            return super()._advance(p, grad, group)
        self.state[p] = state = self._state_of(p, group)
        state["step"] += 1
        # mistake: not as pairs of reals
        self._update(p, -grad if group["maximize"] else grad, state, group)
