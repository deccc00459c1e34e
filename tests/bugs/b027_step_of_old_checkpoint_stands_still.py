"""A step that was saved as a number is counted up in a local variable only.

Seen in: PyTorch, Adamax and capturable paths, before 2.3,
https://github.com/pytorch/pytorch/pull/118326

Moved to Adam and to the CPU; the real one was silently wrong on an accelerator.
"""

import _frame
import torch

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/pytorch/pull/118326"
CHECK = "checkpoint-old"


class Adam(_frame.Adam):
    def __setstate__(self, state):
        for group in state["param_groups"]:
            group.setdefault("maximize", False)
        torch.optim.Optimizer.__setstate__(self, state)

    def memory(self, p, o):
        s = super().memory(p, o)
        if s["step"] == 0:
            s["step"] = torch.tensor(0.0)
        return s

    def tick(self, s):
        step = s["step"]
        step += 1  # mistake: in place for a tensor, lost for a number

    def time(self, s):
        return float(s["step"])
