"""Loading fills in the options that older checkpoints lack, all but the newest.

Seen in: PyTorch, NAdam, 2.1 in development,
https://github.com/pytorch/pytorch/pull/107706

Moved from NAdam's decoupled_weight_decay to Adam's amsgrad.
"""

from optconform.impls import reference

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/pytorch/pull/107706"


class Adam(reference.Adam):
    def _complete(self, group):
        given = "amsgrad" in group
        super()._complete(group)
        if not given:
            del group["amsgrad"]  # mistake: it has a default like the others
