"""The moments are not corrected, and eps is forgotten.

Seen in: Flux.jl, AdaBelief, May 2022,
https://github.com/FluxML/Flux.jl/issues/1962

Moved from AdaBelief, where one of two eps was missing, to Adam, which has only one.
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/FluxML/Flux.jl/issues/1962"


class Adam(_frame.Adam):
    def corrections(self, t, o):
        return 1, 1  # mistake

    def denominator(self, v_hat, s, o):
        return v_hat.sqrt()  # mistake: + eps
