"""eps stands under the root.

Seen in: jax.experimental.optimizers, RMSprop, about 2019,
https://github.com/jax-ml/jax/pull/1427
"""

import _frame

SPEC = "rmsprop"
REFERENCE = "https://github.com/jax-ml/jax/pull/1427"
VARIANT = {"eps": "inside"}


class RMSprop(_frame.RMSprop):
    def denominator(self, variance, o):
        return (variance + o["eps"]).sqrt()
