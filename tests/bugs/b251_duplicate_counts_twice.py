"""A tensor that is passed twice is stepped twice, its state and its step count too.

Seen in: tinygrad, all optimizers, June 2023,
https://github.com/tinygrad/tinygrad/pull/1047
"""

import warnings

import _frame

SPEC = "adam"
REFERENCE = "https://github.com/tinygrad/tinygrad/pull/1047"
CHECK = "duplicates"


class Adam(_frame.Adam):
    def distinct(self, params):
        return params  # mistake: to be refused, or left out

    def add_param_group(self, group):
        with warnings.catch_warnings():  # today torch warns; it did not then
            warnings.simplefilter("ignore")
            super().add_param_group(group)
