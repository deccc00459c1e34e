"""A parameter whose first gradient comes late is corrected as if it had been there from the start.

Seen in: InfiniTrain, Adam, 2026,
https://github.com/InfiniTensor/InfiniTrain/issues/235
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/InfiniTensor/InfiniTrain/issues/235"


class Adam(_frame.Adam):
    def each(self, todo):
        self.now = 1 + max((s.get("step", 0) for s in self.state.values()), default=0)
        super().each(todo)

    def time(self, s):
        return self.now  # mistake: s["step"]
