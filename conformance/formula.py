"""Which labels are one formula wherever some runs looked: equal values, not only equal verdicts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .formats import FORMATS
from .interpreter import Interpreted, machine
from .lattice import Variant
from .lockstep import Block, blocks, program_of
from .oracle.judge import outcomes
from .oracle.scalars import Profile
from .spec import Spec, initial_state, states_of
from .trace import Trace, run


@dataclass(frozen=True)
class Formulas:
    """Compares variants in the steps of ``traces``; remembers what it was asked.

    Where a trace does not show the states, it is looked at in a run of the variant itself.
    """

    spec: Spec
    traces: Sequence[Trace]
    _seen: dict[Variant, list[Block]] = field(default_factory=dict)
    _told: dict[tuple[Variant, Variant], bool] = field(default_factory=dict)

    def same(self, a: Variant, b: Variant) -> bool:
        """Whether two variants give the same exact values in every step, not only within the bound.

        Labels of one formula (SGD: ``l2-after-momentum`` and ``decoupled``) agree to the last
        digits of the oracle's own arithmetic, wherever it looks.
        """
        if (a, b) not in self._told:
            seen = self._blocks(a)
            starts = [block.steps.scalars[0] for block in seen]
            self._told[a, b] = _same_start(self.spec, a, b, starts) and all(
                _same_steps(self.spec, a, b, block) for block in seen
            )
        return self._told[a, b]

    def _blocks(self, a: Variant) -> list[Block]:
        if a not in self._seen:
            self._seen[a] = [x for trace in self.traces for x in _shown(trace, self.spec, dict(a))]
        return self._seen[a]


def _shown(trace: Trace, spec: Spec, variant: Mapping[str, str]) -> list[Block]:
    found = blocks(trace, spec, variant)
    if found is None:
        itself = Interpreted(machine(spec, variant), spec.name)
        found = blocks(run(itself, trace.scenario, spec), spec, variant)
    return found or []


def _same_start(
    spec: Spec, a: Variant, b: Variant, settings: Sequence[Mapping[str, float]]
) -> bool:
    """Whether two variants have the same states, with the same first values in these settings."""
    mine, theirs = states_of(spec, dict(a)), states_of(spec, dict(b))
    return mine.keys() == theirs.keys() and all(
        replace(x, init=theirs[n].init) == theirs[n]
        and all(initial_state(x.init, s) == initial_state(theirs[n].init, s) for s in settings)
        for n, x in mine.items()
    )


def _same_steps(spec: Spec, a: Variant, b: Variant, block: Block) -> bool:
    p, q = (program_of(block, spec, dict(v)) for v in (a, b))
    if p.outputs == q.outputs:
        return True
    if set(p.outputs) != set(q.outputs):
        return False
    fmt = FORMATS["float32"]
    first, second = outcomes(block.steps, [p, q], fmt=fmt, profile=Profile())
    for name in p.outputs:
        x, y = first[name].value, second[name].value
        with np.errstate(all="ignore"):
            scale = np.maximum(np.abs(x), np.abs(y)) + np.abs(block.steps.start["p"])
            apart = np.abs(x - y) > 1e3 * np.finfo(np.float64).eps * scale
        if (apart & ~first[name].undecided & ~second[name].undecided).any():
            return False
    return True
