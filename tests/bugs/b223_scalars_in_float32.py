"""Scalars of the step are computed in float32, where 1 - beta**t cancels.

Seen in: AiDotNet.Tensors, RAdam, about 2026,
https://github.com/ooples/AiDotNet.Tensors/pull/960

Moved from RAdam's rho to Adam's bias corrections.
"""

import _frame
import torch

SPEC = "adam"
REFERENCE = "https://github.com/ooples/AiDotNet.Tensors/pull/960"


class Adam(_frame.Adam):
    def corrections(self, t, o):
        betas = torch.tensor(o["betas"], dtype=torch.float32)  # mistake: doubles
        return (1 - betas**t).tolist()
