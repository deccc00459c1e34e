"""The wrapper's defaults lack those of the optimizer inside: an added group misses its options.

Seen in: SAM, June 2022,
https://github.com/davda54/sam/pull/65

Simplified: the wrapper is reduced to its defaults, and the optimizer inside is SGD.
"""

import _frame

SPEC = "sgd"
REFERENCE = "https://github.com/davda54/sam/pull/65"
NEEDS = "contract: a group added with default options"


class SGD(_frame.SGD):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.defaults = {"rho": 0.05}  # mistake: and those of SGD
