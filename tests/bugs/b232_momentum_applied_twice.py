"""The momentum update is done twice in a step.

Seen in: simd_neuralnet, Nesterov, about 2020,
https://github.com/oysteijo/simd_neuralnet/issues/17
"""

import _frame

SPEC = "sgd"
REFERENCE = "https://github.com/oysteijo/simd_neuralnet/issues/17"


class SGD(_frame.SGD):
    def buffer(self, g, s, o):
        super().buffer(g, s, o)
        return super().buffer(g, s, o)  # mistake: again
