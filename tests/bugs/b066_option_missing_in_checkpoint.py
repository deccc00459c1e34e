"""A state_dict of torch.optim.Adam loads, and the step then misses an option of this class alone.

Seen in: NVIDIA apex, FusedAdam, 2019,
https://github.com/NVIDIA/apex/issues/577
"""

import _frame
import torch

SPEC = "adam"
REFERENCE = "https://github.com/NVIDIA/apex/issues/577"
CHECK = "drop-in"


class Adam(_frame.Adam):
    """A drop-in replacement for torch.optim.Adam."""

    __setstate__ = torch.optim.Optimizer.__setstate__  # mistake: options that are lacking stay so

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.defaults["bias_correction"] = True
        for group in self.param_groups:
            group["bias_correction"] = True

    def corrections(self, t, o):
        return super().corrections(t, o) if o["bias_correction"] else (1, 1)
