"""Complex parameters go through the formula as they are, roots and squares included.

Seen in: PyTorch, several foreach optimizers, 2.1,
https://github.com/pytorch/pytorch/issues/110606

Adadelta stands for the optimizers that the report names; what each really computed differs.
"""

from optconform.impls import reference

SPEC = "adadelta"
REFERENCE = "https://github.com/pytorch/pytorch/issues/110606"


class Adadelta(reference.Adadelta):
    def _advance(self, p, grad, group):
        if not p.is_complex():
            return super()._advance(p, grad, group)
        self.state[p] = state = self._state_of(p, group)
        state["step"] += 1
        # mistake: not as pairs of reals
        self._update(p, -grad if group["maximize"] else grad, state, group)
