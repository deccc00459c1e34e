"""After loading, the state is a plain dictionary, without an entry for what had no state yet.

Seen in: PyTorch, Optimizer.load_state_dict, 2017,
https://github.com/pytorch/pytorch/issues/2647
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/pytorch/pytorch/issues/2647"


class Adam(_frame.Adam):
    def load_state_dict(self, saved):
        super().load_state_dict(saved)
        self.state = dict(self.state)  # mistake: it was a defaultdict
