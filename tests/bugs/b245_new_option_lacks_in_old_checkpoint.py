"""A checkpoint from before maximize leaves the option out, and the step needs it.

Seen in: PyTorch, SGD, 1.11 in development,
https://github.com/pytorch/pytorch/pull/68733
"""

from optconform.impls import reference

SPEC = "sgd"
REFERENCE = "https://github.com/pytorch/pytorch/pull/68733"


class SGD(reference.SGD):
    def _complete(self, group):
        given = "maximize" in group
        super()._complete(group)
        if not given:
            del group["maximize"]  # mistake: the newest option has a default too
