"""The name leads to another algorithm: what is called momentum is Adagrad.

Seen in: Edward, string registry, about 2016,
https://github.com/blei-lab/edward/pull/246
"""

import _frame

SPEC = "sgd"
REFERENCE = "https://github.com/blei-lab/edward/pull/246"


class SGD(_frame.SGD):
    def slots(self, o):
        return {"momentum_buffer": 0}

    def direction(self, g, s, o):
        total = s["momentum_buffer"].addcmul_(g, g)  # mistake: Adagrad
        return g / (total.sqrt() + 1e-10)
