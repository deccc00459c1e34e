"""The step count stays at its first value, and with it the bias correction.

Seen in: OLMo-core, SkipStepAdamW, 2025,
https://github.com/allenai/OLMo-core/issues/317
"""

import _frame

SPEC = "adamw"
REFERENCE = "https://github.com/allenai/OLMo-core/issues/317"


class AdamW(_frame.AdamW):
    def tick(self, s):
        s["step"] = 1  # mistake: += 1
