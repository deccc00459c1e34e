"""The step count is made together with the state, but not saved with it: a loaded state lacks it.

Seen in: geoopt, RiemannianAdam, about 2023,
https://github.com/geoopt/geoopt/issues/226

The report shows the KeyError; where the count was kept is simplified here.
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/geoopt/geoopt/issues/226"


class Adam(_frame.Adam):
    def memory(self, p, o):
        counts = self.__dict__.setdefault("counts", {})
        if not self.state[p]:
            counts[p] = 0
        s = super().memory(p, o)
        s["step"] = counts[p]  # mistake: a loaded state has no count
        counts[p] += 1
        return s
