"""One parameter is moved by the history of another.

Seen in: LightFM, Adadelta, 2015,
https://github.com/lyst/lightfm/pull/32
"""

import _frame

SPEC = "adadelta"
REFERENCE = "https://github.com/lyst/lightfm/pull/32"


class Adadelta(_frame.Adadelta):
    def update(self, p, g, s, o):
        first = self.state[o["params"][0]].get("acc_delta")
        self.other = first if first is not None and first.shape == g.shape else s["acc_delta"]
        super().update(p, g, s, o)

    def delta(self, g, s, o):
        return super().delta(g, {**s, "acc_delta": self.other}, o)  # mistake: its own
