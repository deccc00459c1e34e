"""What the constructor does for its parameters, add_param_group does not for those it adds.

Seen in: torchao, low-bit Adam, July 2025,
https://github.com/pytorch/ao/pull/2606

The thread names the missing override; that the parameters then stay as they are is our reading.
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/ao/pull/2606"


class Adam(_frame.Adam):
    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.prepared = {id(p) for group in self.param_groups for p in group["params"]}  # mistake

    def each(self, todo):
        super().each([x for x in todo if id(x[0]) in self.prepared])
