"""The option nesterov is accepted and never used.

Seen in: AiDotNet.Tensors, SGD, about 2026,
https://github.com/ooples/AiDotNet.Tensors/pull/949
"""

import _frame

SPEC = "sgd"
REFERENCE = "https://github.com/ooples/AiDotNet.Tensors/pull/949"


class SGD(_frame.SGD):
    def lookahead(self, g, b, o):
        return b  # mistake
