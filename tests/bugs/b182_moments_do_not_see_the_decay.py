"""The decay is added elsewhere than to the gradient, so that the moments never see it.

Seen in: Apache MXNet, Adam and RMSProp, February 2017,
https://github.com/apache/mxnet/issues/5099
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/apache/mxnet/issues/5099"


class Adam(_frame.Adam):
    decayed = _frame.AdamW.decayed  # mistake: this is AdamW
    move = _frame.AdamW.move
