"""Loading casts float32 state to the parameter's 16-bit dtype.

Seen in: PyTorch, Optimizer.load_state_dict, August 2020,
https://github.com/pytorch/pytorch/issues/43706

The cast is that of torch.optim.Optimizer; here the moments of 16-bit parameters are float32.
"""

import _frame
import torch

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/pytorch/issues/43706"
ADMITTED = "torch.optim.Optimizer does it to every class that lets it load, to this day"


class Adam(_frame.Adam):
    def memory(self, p, o):
        s = super().memory(p, o)
        if s["step"] == 0 and p.dtype in (torch.float16, torch.bfloat16):
            for name in self.slots(o):
                s[name] = s[name].float()  # mistake: load_state_dict makes it 16 bit again
        return s

    def update(self, p, g, s, o):
        wide = p.to(s["exp_avg"].dtype)
        super().update(wide, g.to(wide.dtype), s, o)
        p.copy_(wide)
