"""The step is counted by the group: a late parameter starts with the correction of a warm one.

Seen in: LPFAdamW, caught in review, May 2026,
https://github.com/UselessToys/Ecosystem_WebUI/pull/383
"""

import _frame

SPEC = "adamw"
REFERENCE = "https://github.com/UselessToys/Ecosystem_WebUI/pull/383"


class AdamW(_frame.AdamW):
    def each(self, todo):
        for group in self.param_groups:
            group["step"] = group.get("step", 0) + any(its is group for _, _, its in todo)
        super().each(todo)

    def update(self, p, g, s, o):
        super().update(p, g, {**s, "step": o["step"]}, o)  # mistake: s["step"]
