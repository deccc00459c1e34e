"""The bench on which contracts are tried: runs scenarios, holds them against the oracle."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import InitVar, dataclass, field
from typing import Any

import numpy as np

from ..implementation import Implementation, Unsupported, lacks
from ..lockstep import Judged, judge, position, worst
from ..minimise import Fails, Focus, minimise
from ..oracle.scalars import PROFILES, Profile
from ..runs import Emit, Runs
from ..scenario import Group, Param, Recipe, Scenario, Step, dumps
from ..spec import Hypers, Spec, Value
from ..strategies import usual
from ..trace import Trace
from ..without import LACKS, without
from .contract import NotApplicable


class Raised(Exception):
    """The subject raised in a scenario; the trace has the exception."""

    def __init__(self, trace: Trace, by: Implementation) -> None:
        super().__init__()
        self.trace, self.by = trace, by


@dataclass(frozen=True, slots=True)
class Breach:
    """A broken contract: one sentence, and the runs that were compared, by what each of them is."""

    summary: str
    runs: Mapping[str, Scenario]


@dataclass(frozen=True, slots=True)
class Miss:
    """An element outside its bound."""

    step: int  # from 1
    group: int
    param: int
    index: int
    tensor: str
    observed: float
    expected: float

    def __str__(self) -> str:
        return (
            f"step {self.step}, {self.tensor}[{self.index}] of parameter {self.param} of group "
            f"{self.group} is {self.observed!r} instead of {self.expected!r}"
        )

    @property
    def focus(self) -> Focus:
        return self.step, self.group, self.param, self.index


@dataclass
class Bench:
    """One implementation, what it follows, and the dtype it is tried in.

    ``shared`` are the runs of an examination; a bench that stands alone has its own.
    """

    implementation: Implementation
    spec: Spec
    follows: Mapping[str, str]
    profile: Profile
    dtype: str
    fixed: Mapping[str, Value]
    emit: Emit
    shared: InitVar[Runs | None] = None
    check: str = ""
    _right: dict[str, bool] = field(default_factory=dict)

    def __post_init__(self, shared: Runs | None) -> None:
        self.runs = shared or Runs(self.implementation, self.spec, self.emit)

    # ---- running -----------------------------------------------------------------------------

    def run(self, scenario: Scenario, *, by: Implementation | None = None, first: int = 0) -> Trace:
        """A trace from step ``first``; Raised when the subject raises, NotApplicable when it says
        Unsupported."""
        try:
            trace = self.runs.run(scenario, by=by, first=first, check=self.check)
        except Unsupported as e:
            raise NotApplicable(str(e)) from None
        if trace.crash is not None:
            raise Raised(trace, by or self.implementation)
        return trace

    def misses(self, trace: Trace, *, any_profile: bool = False) -> list[Miss]:
        """The worst element of each tensor that leaves its bound, the earliest first, by what the
        implementation follows; with ``any_profile``, by the profile that leaves the fewest."""
        fewest: list[Miss] | None = None
        for profile in (self.profile, *(PROFILES if any_profile else ())):
            found = list(_misses(judge(trace, self.spec, self.follows, profile=profile)))
            if fewest is None or len(found) < len(fewest):
                fewest = found
            if not fewest:
                break
        return sorted(fewest or [], key=lambda m: m.focus)

    def right(self, scenario: Scenario) -> bool:
        """Whether the implementation as it is stays within its bound; remembered."""
        key = dumps(scenario)
        if key not in self._right:
            self._right[key] = not self.misses(self.run(scenario))
        return self._right[key]

    def minimised(self, scenario: Scenario, at: Focus, fails: Fails) -> Scenario:
        """A smaller scenario that ``fails`` as well."""
        return minimise(scenario, at, fails, self.spec, fixed=self.fixed, budget=60)

    # ---- scenarios ---------------------------------------------------------------------------

    def scenario(
        self, *groups: Sequence[Param], steps: int = 3, hyper: Hypers | None = None
    ) -> Scenario:
        """Plain steps of these groups, all in one setting."""
        made = tuple(Group(self.setting(hyper or {}), tuple(g)) for g in groups)
        return self.fit(Scenario(self.spec.name, self.dtype, made, (Step(),) * steps))

    def fit(self, scenario: Scenario, *needs: str) -> Scenario:
        """The scenario without what the implementation lacks; NotApplicable if that is one of what
        the contract ``needs``."""
        missing = lacks(self.implementation)
        for name in needs:
            if name in missing:
                raise NotApplicable(LACKS[name])
        return without(scenario, missing)

    @functools.cached_property
    def lively(self) -> dict[str, Value]:
        """A setting in which every hyperparameter that is no flag has an effect: the defaults, and
        where a default switches a term off, a usual value that does not."""
        made = {**self.spec.defaults, **self.fixed}
        for name, hyper in self.spec.hypers.items():
            if name in self.fixed or hyper.is_flag or hyper.default != 0:
                continue
            value = next((v for v in usual(hyper) if v), hyper.default)
            if self.spec.admissible({**made, name: value}):
                made[name] = value
        return made

    def setting(self, hyper: Hypers) -> dict[str, Value]:
        """The lively setting with these values, and with one default more where they need it."""
        made = {**self.lively, **hyper}
        kept = (*self.fixed, *hyper)
        resets = [{n: v} for n, v in self.spec.defaults.items() if n not in kept]
        return next(
            (s for s in (made, *({**made, **r} for r in resets)) if self.spec.admissible(s)), made
        )

    @property
    def flags(self) -> list[str]:
        """The flags that may be chosen."""
        return [n for n, h in self.spec.hypers.items() if h.is_flag and n not in self.fixed]


def param(seed: int, *shape: int, grad: str = "mixture", init: str = "mostly-zero") -> Param:
    return Param(shape, Recipe(init, seed), Recipe(grad, seed))


def same(a: Trace, b: Trace) -> bool:
    """Whether two traces hold the same bits, NaN being NaN."""
    return differing(a, b) is None


def differing(a: Trace, b: Trace) -> tuple[int, int, int] | None:
    """(step from 1, group, param) of the first difference between two traces."""
    places = []
    for (g, k), rows in a.rows.items():
        for row, other in zip(rows, b.rows[g, k], strict=True):
            names = row.observed.keys() | other.observed.keys()
            if any(not _equal(row.observed.get(n), other.observed.get(n)) for n in names):
                places.append((row.step + 1, g, k))
                break
    return min(places, default=None)


def finite(trace: Trace) -> bool:
    return all(np.isfinite(row.observed["p"]).all() for rows in trace.rows.values() for row in rows)


def _equal(x: Any, y: Any) -> bool:
    return x is not None and y is not None and np.array_equal(x, y, equal_nan=True)


def _misses(judged: Sequence[Judged]) -> Iterator[Miss]:
    for part in judged:
        for name, judgement in part.outputs.items():
            at = worst(judgement)
            if at is None:
                continue
            step, g, k, index = position(part.block, at)
            tensor = next((s.torch_name for s in part.program.states if s.name == name), "param")
            yield Miss(
                step + 1, g, k, index, tensor,
                float(part.block.steps.observed[name][at]),
                float(judgement.outcome.value[at]),
            )  # fmt: skip
