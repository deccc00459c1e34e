"""When the last tensor of the list is empty, no parameter is updated.

Seen in: PyTorch, AdamW (foreach), 2.0,
https://github.com/pytorch/pytorch/issues/100701

The real one is a defect of a CUDA kernel.
"""

import _frame

SPEC = "adamw"
REFERENCE = "https://github.com/pytorch/pytorch/issues/100701"


class AdamW(_frame.AdamW):
    def each(self, todo):
        if todo and todo[-1][0].numel() == 0:
            return  # mistake
        super().each(todo)
