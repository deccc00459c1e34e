"""The schedule of lr is evaluated at count 1 in the first step, where 0 is meant.

Seen in: Optax, inject_hyperparams, 2022,
https://github.com/google-deepmind/optax/issues/415

Moved to the schedule that Adagrad has inside.
"""

import _frame

SPEC = "adagrad"
REFERENCE = "https://github.com/google-deepmind/optax/issues/415"


class Adagrad(_frame.Adagrad):
    def rate(self, t, o):
        return super().rate(t + 1, o)  # mistake: t
