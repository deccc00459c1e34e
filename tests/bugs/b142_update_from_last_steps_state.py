"""The update is built from the state as it was before this gradient.

Seen in: Optax, scale_by_rprop, July 2026,
https://github.com/google-deepmind/optax/pull/1725

Moved from Rprop's step sizes to RMSprop's average of squares.
"""

import _frame

SPEC = "rmsprop"
REFERENCE = "https://github.com/google-deepmind/optax/pull/1725"


class RMSprop(_frame.RMSprop):
    def update(self, p, g, s, o):
        stale = self.denominator(self.variance(s, o), o)  # mistake: before average
        g = self.decayed(g, p, o)
        self.average(g, s, o)
        self.move(p, g / stale, s, o)
