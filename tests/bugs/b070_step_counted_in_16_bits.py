"""The step count has the parameter's dtype: in bfloat16 it stops at 256.

Seen in: DeepSpeed, ZenFlow Adam, 2026,
https://github.com/deepspeedai/DeepSpeed/pull/8496
"""

import _frame
import torch

SPEC = "adam"
REFERENCE = "https://github.com/deepspeedai/DeepSpeed/pull/8496"
NEEDS = "contract: more than 256 steps in 16 bit"


class Adam(_frame.Adam):
    __setstate__ = torch.optim.Optimizer.__setstate__

    def memory(self, p, o):
        s = super().memory(p, o)
        if s["step"] == 0:
            s["step"] = torch.zeros((), dtype=p.dtype)  # mistake: int, or float32
        return s

    def time(self, s):
        return float(s["step"])
