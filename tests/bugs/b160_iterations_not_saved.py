"""The step count is no part of the saved state: after loading, bias correction starts again.

Seen in: Keras, Adam and others, 2019,
https://github.com/keras-team/keras/issues/13027
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/keras-team/keras/issues/13027"


class Adam(_frame.Adam):
    def state_dict(self):
        saved = super().state_dict()
        kept = {k: {n: x for n, x in s.items() if n != "step"} for k, s in saved["state"].items()}
        return {**saved, "state": kept}  # mistake: step belongs to it

    def memory(self, p, o):
        s = super().memory(p, o)
        s.setdefault("step", 0)
        return s
