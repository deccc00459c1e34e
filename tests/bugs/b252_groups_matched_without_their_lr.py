"""At loading, groups are told apart by all options but lr: two that differ in lr get the same one.

Seen in: Megatron-LM, loading of parameter groups, July 2026,
https://github.com/NVIDIA/Megatron-LM/pull/4705

What the identifier holds is simplified to the options of Adam.
"""

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/NVIDIA/Megatron-LM/pull/4705"


class Adam(_frame.Adam):
    def load_state_dict(self, saved):
        def identifier(group):  # mistake: lr is not in it
            return repr([group[name] for name in self.defaults if name != "lr"])

        settings = {identifier(group): group for group in saved["param_groups"]}
        groups = [{**settings[identifier(g)], "params": g["params"]} for g in saved["param_groups"]]
        super().load_state_dict({**saved, "param_groups": groups})
