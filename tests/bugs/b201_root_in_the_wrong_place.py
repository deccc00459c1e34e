"""A root is taken where none belongs: of the first moment's correction.

Seen in: Flux.jl, ADAM, December 2017,
https://github.com/FluxML/Flux.jl/pull/119

The thread says that a root is misplaced; where it stood is our guess.
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/FluxML/Flux.jl/pull/119"


class Adam(_frame.Adam):
    def corrections(self, t, o):
        c1, c2 = super().corrections(t, o)
        return c1**0.5, c2  # mistake
