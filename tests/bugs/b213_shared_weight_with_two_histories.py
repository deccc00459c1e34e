"""A parameter that is listed twice has a history for each place, and moves by both.

Seen in: Caffe, all solvers with shared weights, 2014,
https://github.com/BVLC/caffe/issues/1659
"""

import _frame

SPEC = "sgd"
REFERENCE = "https://github.com/BVLC/caffe/issues/1659"
NEEDS = "contract: tied parameters"


class SGD(_frame.SGD):
    def distinct(self, params):
        return params

    def each(self, todo):
        seen, second = set(), self.__dict__.setdefault("second", {})
        for p, grad, group in todo:
            history = self.state[p]
            if p in seen:
                self.state[p] = second.setdefault(p, {})  # mistake: one history a parameter
            self.advance(p, grad, group)
            self.state[p] = history
            seen.add(p)
