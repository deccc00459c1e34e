"""With amsgrad the step raises a TypeError.

Seen in: Keras Core, Adam, about 2023,
https://github.com/keras-team/keras-core/issues/918

The wrong call is ours; the report shows the error of one backend.
"""

import _frame
import torch

SPEC = "adam"
REFERENCE = "https://github.com/keras-team/keras-core/issues/918"


class Adam(_frame.Adam):
    def largest(self, s):
        return torch.maximum(s["max_exp_avg_sq"])  # mistake: of two
