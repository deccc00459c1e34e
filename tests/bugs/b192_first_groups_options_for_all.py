"""What was prepared for the first group is used for the later ones too.

Seen in: PaddlePaddle, Adam and Momentum (multi tensor), 2022,
https://github.com/PaddlePaddle/Paddle/pull/47352
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/PaddlePaddle/Paddle/pull/47352"


class Adam(_frame.Adam):
    def advance(self, p, grad, group):
        super().advance(p, grad, self.param_groups[0])  # mistake: group
