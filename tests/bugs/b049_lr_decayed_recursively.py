"""The decayed lr is written back and decayed again by the next call.

Seen in: PyTorch, StepLR and other schedulers, 1.1,
https://github.com/pytorch/pytorch/issues/20527

Moved from schedulers to the optimizer with a schedule inside, Adagrad.
"""

import _frame

SPEC = "adagrad"
REFERENCE = "https://github.com/pytorch/pytorch/issues/20527"


class Adagrad(_frame.Adagrad):
    def advance(self, p, grad, group):
        steps = self.state[p].get("step", 0)
        group["lr"] /= 1 + steps * group["lr_decay"]  # mistake: a rate for this step only
        super().advance(p, grad, {**group, "lr_decay": 0.0})
