"""The power of the judge: how many small faults it finds, and how soon.

Every mutant of a program is judged as ``check`` would: scenarios are drawn by the same strategy
from the same seed, the first of each dtype, then the second of each, and looked at until one fails.

    killed       a scenario failed.  ``scenarios`` and ``checks`` count everything that was drawn
                 and judged until then, over all dtypes, the failing scenario included
    equivalent   the change has no effect, and the reason is told
    survived     neither: a hole in the suite
"""

import collections
import functools
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .draws import drawn
from .equivalence import reason
from .formats import FORMATS
from .identify import own_profiles
from .implementation import Implementation
from .interpreter import Interpreted, Machine, machine
from .lockstep import Judged, judge
from .mutants import OPERATORS, Mutant, mutants
from .oracle.scalars import Profile
from .scenario import Scenario
from .spec import Spec
from .spec_file import load
from .trace import Trace, run

VERDICTS = ("killed", "equivalent", "survived")

PATIENCE = 12  # scenarios after which it is asked whether the change has any effect


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is drawn: the defaults are those of ``check``."""

    examples: int = 60
    steps: int = 8
    seed: int = 0
    dtypes: tuple[str, ...] = tuple(FORMATS)


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a mutant.  ``reason`` tells why it is equivalent, or where it was killed."""

    verdict: str
    dtype: str
    scenarios: int
    checks: int
    reason: str
    nearest: float = 0.0  # of a survivor: the largest distance from the exact value, in bounds


@dataclass(frozen=True, slots=True)
class Look:
    """What judging one scenario said."""

    failed: str  # the outputs that failed, or what else was wrong; empty when nothing was
    checks: int
    decided: int  # checks that were neither undecided nor vacuous
    nearest: float


def scenarios_of(spec: Spec, original: Machine, dtype: str, drawing: Drawing) -> Sequence[Scenario]:
    """The scenarios that ``check`` draws for a program of equations."""
    return drawn(
        spec,
        dtype=dtype,
        examples=drawing.examples,
        seed=drawing.seed,
        max_steps=drawing.steps,
        changeable=Interpreted(original, "").changeable(spec),
    )


def look(
    subject: Implementation, scenario: Scenario, spec: Spec, variant: Mapping[str, str]
) -> Look:
    """Judge a subject in one scenario."""
    trace = run(subject, scenario, spec)
    if trace.crash is not None:  # equations do not raise: this is our own fault
        raise trace.crash
    judged = judge(trace, spec, variant, profile=Profile())
    wrong = dict.fromkeys(
        name for part in judged for name, j in part.outputs.items() if j.failed.any()
    )
    if wrong and pardoned(trace, spec, variant):
        wrong = {}
    wrong |= dict.fromkeys(name for name, *_ in trace.broken)
    return Look(", ".join(wrong), *_counts(judged))


def pardoned(trace: Trace, spec: Spec, variant: Mapping[str, str]) -> bool:
    """Whether ``check`` would take what it sees for a precision profile, and not for a fault."""
    return any(p.rounding == "nearest" for p in own_profiles([trace], spec, variant))


def _counts(judged: Sequence[Judged]) -> tuple[int, int, float]:
    checks = decided = 0
    nearest = 0.0
    for part in judged:
        for j in part.outputs.values():
            checks += j.failed.size
            decided += int((~j.outcome.undecided & ~j.vacuous).sum())
            nearest = max(nearest, float(np.max(j.ratio, initial=0.0)))
    return checks, decided, nearest


@dataclass(frozen=True)
class Trial:
    """One program of equations, a spec in one variant, and the scenarios it is judged in."""

    name: str  # of the spec, or its file
    variant: tuple[tuple[str, str], ...]
    drawing: Drawing

    @property
    def spec(self) -> Spec:
        return load(self.name)

    @functools.cached_property
    def original(self) -> Machine:
        return machine(self.spec, dict(self.variant))

    def scenarios(self) -> Iterator[tuple[str, Scenario]]:
        """All that is drawn, the dtypes in turn: they are judged side by side."""
        dtypes = self.drawing.dtypes
        columns = [scenarios_of(self.spec, self.original, d, self.drawing) for d in dtypes]
        for row in zip(*columns, strict=True):
            yield from zip(dtypes, row, strict=True)

    def control(self) -> tuple[str, int]:
        """The unchanged program, through everything: what failed, and how many checks decided."""
        subject = Interpreted(self.original, "control")
        decided = 0
        for dtype, scenario in self.scenarios():
            seen = look(subject, scenario, self.spec, dict(self.variant))
            decided += seen.decided
            if seen.failed:
                return f"{seen.failed} in {dtype}", decided
        return "", decided

    def fate(self, mutant: Mutant) -> Fate:
        """Judge one mutant until it fails."""
        subject = Interpreted(mutant.machine, str(mutant))
        count = checks = 0
        nearest = 0.0
        for dtype, scenario in self.scenarios():
            if count == PATIENCE and (why := reason(self.original, mutant.machine)):
                return Fate("equivalent", "", 0, 0, why)
            seen = look(subject, scenario, self.spec, dict(self.variant))
            count, checks = count + 1, checks + seen.checks
            nearest = max(nearest, seen.nearest)
            if seen.failed:
                return Fate("killed", dtype, count, checks, seen.failed)
        if count <= PATIENCE and (why := reason(self.original, mutant.machine)):
            return Fate("equivalent", "", 0, 0, why)
        return Fate("survived", "", count, checks, "", nearest)

    def fates(self) -> list[tuple[Mutant, Fate]]:
        return [(m, self.fate(m)) for m in mutants(self.original)]


Row = dict[str, Any]


def report(name: str, variant: tuple[tuple[str, str], ...], drawing: Drawing) -> Row:
    """One program's control and mutants, as plain data."""
    begin = time.perf_counter()
    trial = Trial(name, variant, drawing)
    failed, decided = trial.control()
    fates = trial.fates()
    by_operator = {
        op: summary([f for m, f in fates if m.operator == op])
        for op in OPERATORS
        if any(m.operator == op for m, _ in fates)
    }
    return {
        "spec": trial.spec.name,
        "variant": dict(variant),
        "control": failed or "conforms",
        "control_decided": decided,
        **summary([f for _, f in fates]),
        "dtypes": dict(collections.Counter(f.dtype for _, f in fates if f.verdict == "killed")),
        "seconds": round(time.perf_counter() - begin, 1),
        "operators": by_operator,
        "mutants": [told(m, f) for m, f in fates],
    }


def told(mutant: Mutant, fate: Fate) -> Row:
    row: Row = {
        "operator": mutant.operator,
        "where": mutant.where,
        "change": mutant.change,
        "verdict": fate.verdict,
    }
    if fate.verdict == "killed":
        row |= {"dtype": fate.dtype, "by": fate.reason}
    if fate.verdict == "equivalent":
        row |= {"reason": fate.reason}
    else:
        row |= {"scenarios": fate.scenarios, "checks": fate.checks}
    if fate.verdict == "survived":
        row |= {"nearest": round(fate.nearest, 3)}
    return row


def summary(fates: Sequence[Fate]) -> Row:
    """Counts, and how much it took to kill."""
    out: Row = {v: sum(f.verdict == v for f in fates) for v in VERDICTS}
    killed = [f for f in fates if f.verdict == "killed"]
    for what in ("scenarios", "checks"):
        values = [getattr(f, what) for f in killed]
        out[what] = {
            "median": statistics.median(values) if values else None,
            "max": max(values, default=None),
        }
    return out
