"""The gradient is read as if it lay in memory row by row, whatever its strides.

Seen in: bitsandbytes, blockwise and 32-bit optimizers, April 2024,
https://github.com/bitsandbytes-foundation/bitsandbytes/issues/1185

Simplified: the real kernels read parameters that way too.
"""

import _frame
import torch

SPEC = "adam"
REFERENCE = "https://github.com/bitsandbytes-foundation/bitsandbytes/issues/1185"


class Adam(_frame.Adam):
    def advance(self, p, grad, group):
        rows = torch.empty(grad.shape, device="meta").stride()
        super().advance(p, grad.as_strided(grad.shape, rows), group)  # mistake: grad.stride()
