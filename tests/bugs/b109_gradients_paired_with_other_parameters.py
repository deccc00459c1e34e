"""Parameters are paired with the gradients there are: after one that is None, all pairs shift.

Seen in: Adan, 2022,
https://github.com/sail-sg/Adan/issues/17

Moved from Adan to Adam.
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/sail-sg/Adan/issues/17"


class Adam(_frame.Adam):
    def ready(self):
        todo = []
        for group in self.param_groups:
            grads = [p.grad for p in group["params"] if p.grad is not None]
            pairs = zip(group["params"], grads, strict=False)  # mistake: all parameters
            todo += [(p, grad, group) for p, grad in pairs]
        return todo
