"""The momentum buffer holds steps that lr has already scaled.

Seen in: Hugging Face transformers, Adafactor, October 2024,
https://github.com/huggingface/transformers/issues/34506

Moved from Adafactor, where it is an average, to the momentum of RMSprop.
"""

import _frame

SPEC = "rmsprop"
REFERENCE = "https://github.com/huggingface/transformers/issues/34506"
VARIANT = {"momentum": "lr-in-buffer"}


class RMSprop(_frame.RMSprop):
    def move(self, p, u, s, o):
        u = o["lr"] * u
        if o["momentum"] > 0:
            u = s["momentum_buffer"].mul_(o["momentum"]).add_(u)
        p.sub_(u)
