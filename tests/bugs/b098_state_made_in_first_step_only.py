"""State is made in the group's first step; a parameter whose gradient comes later has none.

Seen in: pytorch_optimizer, Amos and others, December 2025,
https://github.com/kozistr/pytorch_optimizer/issues/462

That the group's counter decides is our reading of the symptom.
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/kozistr/pytorch_optimizer/issues/462"


class Adam(_frame.Adam):
    def each(self, todo):
        for group in self.param_groups:
            group["step"] = group.get("step", 0) + 1
        super().each(todo)

    def memory(self, p, o):
        return super().memory(p, o) if o["step"] == 1 else self.state[p]  # mistake: if not state
