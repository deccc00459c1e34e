"""What a run reached: the regimes of its inputs, and the variants that they told apart.

A check that could not have failed proves nothing.  The neighbours of the claimed variant are those
that differ from it on one axis; a run tells one apart when what was observed refutes it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from .admit import admitted
from .errors import SpecError
from .formats import FORMATS
from .formula import Formulas
from .lattice import NUMBERS, Variant
from .lockstep import Judged
from .oracle.scalars import Profile
from .scenario import AddGroup, Reload, Scenario
from .spec import Spec
from .trace import Trace

ENOUGH = 12  # runs after which a neighbour that is the same formula in all of them is let be


def neighbours(spec: Spec, claimed: Mapping[str, str]) -> list[Variant]:
    """The admissible variants that differ from ``claimed`` in the value of one axis."""
    here = tuple(spec.variant(claimed).items())
    found: dict[Variant, None] = {}
    for axis in spec.axes.values():
        for value in (*axis.choices, *(NUMBERS if axis.number is not None else ())):
            try:
                found[tuple(spec.variant({**dict(here), axis.name: value}).items())] = None
            except SpecError:
                continue
    found.pop(here, None)
    return list(found)


class Separation:
    """Which neighbours of the claimed variant the runs so far have told apart from it."""

    def __init__(self, spec: Spec, claimed: Mapping[str, str]) -> None:
        self.spec = spec
        self.claimed: Variant = tuple(spec.variant(claimed).items())
        self.open = neighbours(spec, claimed)
        self.apart: list[Variant] = []
        self.same: list[Variant] = []
        self._seen: list[Trace] = []
        self._compared = 0  # how many of them, when they were last gone through

    def look(self, trace: Trace, profile: Profile, *, follows: bool) -> None:
        """Take a run into account.  Only one that ``follows`` the claimed variant tells neighbours
        apart from it; which are the same formula, its inputs tell in any case."""
        if not self.open:
            return
        if follows:
            kept = admitted(trace, self.spec, self.open, profile)
            self.apart += [v for v in self.open if v not in kept]
            self.open = [v for v in self.open if v in kept]
        if len(self._seen) < ENOUGH:
            self._seen.append(trace)
            if len(self._seen) == ENOUGH:
                self._settle()

    def _settle(self) -> None:
        """Set aside what is the same formula wherever the runs looked."""
        if not self.open or self._compared == len(self._seen):
            return
        self._compared = len(self._seen)
        formulas = Formulas(self.spec, self._seen)
        alike = [v for v in self.open if formulas.same(self.claimed, v)]
        self.same += alike
        self.open = [v for v in self.open if v not in alike]

    @property
    def blind(self) -> bool:
        """Whether there are neighbours, and the runs told none of them apart."""
        self._settle()
        return bool(self.open) and not self.apart

    def as_dict(self) -> dict[str, Any]:
        """``apart``, ``same`` (the same formula under the settings of the run) and ``open``: lists
        of the axes and values in which the neighbours differ from the claimed variant."""
        self._settle()
        return {
            "apart": [self._difference(v) for v in self.apart],
            "same": [self._difference(v) for v in self.same],
            "open": [self._difference(v) for v in self.open],
        }

    def _difference(self, v: Variant) -> str:
        axes, mine, theirs = self.spec.axes, dict(self.claimed), dict(v)
        values = {a: theirs.get(a, axes[a].default) for a in axes}
        return ", ".join(
            f"{a} = {value}" for a, value in values.items() if mine.get(a, axes[a].default) != value
        )


def regimes(judged: Sequence[Judged], scenario: Scenario) -> dict[str, int]:
    """Element-steps of a scenario by the regime that they reached."""
    fmt = FORMATS[scenario.dtype]
    out: dict[str, int] = {}

    def count(name: str, mask: Any) -> None:
        out[name] = out.get(name, 0) + int(np.count_nonzero(mask))

    for part in judged:
        grad, p = part.block.steps.start["grad"], part.block.steps.start["p"]
        observed = part.block.steps.observed
        size = np.abs(grad)
        every = np.ones_like(grad, bool)
        count("element-steps", every)
        count("zero gradient", grad == 0)
        count("subnormal gradient", (size < fmt.tiny) & (grad != 0))
        count("zero parameter", p == 0)
        count("large gradient (square near overflow)", size > np.sqrt(fmt.largest) * 1e-3)
        count("overflow seen", ~np.isfinite(observed["p"]))
        for row, (s, step) in enumerate(
            zip(part.block.steps.scalars, part.block.place.steps, strict=True)
        ):
            count("lr changed since the first step", every[row] & (s.get("lr") != s["lr0"]))
            count("lr zero", every[row] & (s.get("lr", 1) == 0))
            count("weight decay on", every[row] & (s.get("weight_decay", 0) > 0))
            count("large eps", every[row] & (s.get("eps", 0) >= 1e-3))
            count("eps above the gradient", size[row] <= s.get("eps", -1.0))
            count("late first gradient", every[row] & (s["t"] == 1 and step > 0))
            count("beyond 256 steps", every[row] & (s["t"] > 256))
    total = out.get("element-steps", 0)
    groups = len(scenario.all_groups)
    happened = {
        "several groups": groups > 1,
        "group added": any(isinstance(e, AddGroup) for e in scenario.events),
        "saved and loaded": any(isinstance(e, Reload) for e in scenario.events),
        "a gradient that is None": any(getattr(e, "skipped", ()) for e in scenario.events),
    }
    out |= {name: total for name, did in happened.items() if did}
    return {k: v for k, v in out.items() if v}
