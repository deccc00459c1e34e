"""Saved state is found again by the identity of the tensors, which other tensors do not have.

Seen in: mechanic, about 2023,
https://github.com/optimizedlearning/mechanic/issues/2
"""

import copy

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/optimizedlearning/mechanic/issues/2"
NEEDS = "contract: resume on other tensors"


class Adam(_frame.Adam):
    def state_dict(self):
        return {**super().state_dict(), "state": {id(p): dict(s) for p, s in self.state.items()}}

    def load_state_dict(self, saved):
        super().load_state_dict({**saved, "state": {}})
        for group in self.param_groups:
            for p in group["params"]:  # mistake: by position
                self.state[p] = copy.deepcopy(saved["state"].get(id(p), {}))
