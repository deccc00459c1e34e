"""State is made for the parameters of the constructor; one that joins later has none.

Seen in: PyTorch, Adagrad, up to 1.7.1,
https://github.com/pytorch/pytorch/pull/32903
"""

import _frame

SPEC = "adagrad"
REFERENCE = "https://github.com/pytorch/pytorch/pull/32903"


class Adagrad(_frame.Adagrad):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        for group in self.param_groups:
            for p in group["params"]:
                super().memory(p, group)

    def memory(self, p, o):
        return self.state[p]  # mistake: empty for a group that was added
