"""The smallest input that tells two sides apart: one element, few steps, plain numbers.

Two sides are apart in a dtype where their exact values differ by more than both derived bounds
together: then no faithful implementation of one can be taken for one of the other.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..formats import EXTENDED, FORMATS
from ..interpreter import machine
from ..oracle import exact
from ..oracle.bound import Outcome
from ..oracle.free import free_running
from ..oracle.scalars import Profile
from ..spec import HyperSpec, Value, initial_state, program, states_of
from .coincide import STEADY_LR, Coincidences
from .march import march
from .pair import Pair, Side

MOST_STEPS = 4

VALUES = (0.0, 1.0, 2.0, 0.5, -1.0)
"""Gradients that are tried, the plainest first: exact in every dtype."""

STARTS = (0.0, 1.0)

BOLD: Mapping[str, float] = {"lr": 0.5, "weight_decay": 0.5, "eps": 1.0, "lr_decay": 1.0,
                             "initial_accumulator_value": 1.0}  # fmt: skip
"""Settings under which a difference is large in every dtype; what is not listed is at its
default, or 0.5 where that is 0."""

BOLDER: tuple[Mapping[str, float], ...] = (
    {"lr": 1.0},
    {"weight_decay": 1.0},
    {"eps": 0.01},
    {"eps": 0.01, "weight_decay": 0.1},
    {"lr": 1.0, "weight_decay": 1.0},
)
"""Tried as well, each instead of the bold ones."""

DIGITS = 25


@dataclass(frozen=True, slots=True)
class InDtype:
    """How far apart the sides are in one dtype.

    ``bound_a`` and ``bound_b`` say how far a faithful implementation of each may be from the exact
    value; ``ratio`` is the distance of the exact values in units of both together.  ``others``:
    where this input does not separate them, whether another one of this size does.
    """

    dtype: str
    bound_a: float
    bound_b: float
    ratio: float
    others: bool

    @property
    def apart(self) -> bool:
        return self.ratio > 1


@dataclass(frozen=True, slots=True)
class Separation:
    """One element and its steps: from ``start``, ``gradients`` with the lr of each step in ``lrs``.

    ``value_a`` and ``value_b`` are the exact parameters afterwards, as decimal digits; ``tried``
    counts the inputs of this many steps that were looked at.
    """

    hypers: Mapping[str, Value]
    start: float
    gradients: tuple[float, ...]
    lrs: tuple[float, ...]
    value_a: str
    value_b: str
    tried: int
    dtypes: tuple[InDtype, ...]

    @property
    def steps(self) -> int:
        return len(self.gradients)


@dataclass(frozen=True, slots=True)
class _Inputs:
    """Columns of inputs: starts, and one row of gradients a step."""

    start: NDArray[np.float64]
    gradients: NDArray[np.float64]

    @staticmethod
    def plain(steps: int) -> "_Inputs":
        """Every combination of the plain values, the plainest first."""
        rank = {v: k for k, v in enumerate(VALUES)}
        columns = sorted(
            itertools.product(STARTS, *[VALUES] * steps),
            key=lambda c: (sum(rank[v] for v in c), c),
        )
        table = np.array(columns).T
        return _Inputs(table[0], table[1:])


Tables = dict[str, tuple[Any, Any, Any]]
"""Dtype -> both bounds and the ratio, for every column."""


@dataclass(frozen=True, slots=True)
class _Attempt:
    hypers: Mapping[str, Value]
    halvings: tuple[int, ...]
    inputs: _Inputs
    tables: Tables = field(repr=False)

    @property
    def apart(self) -> NDArray[np.bool_]:
        """Whether each dtype, down, tells the sides apart in each column."""
        return np.array([ratio > 1 for _, _, ratio in self.tables.values()])

    @property
    def best(self) -> int:
        """The column that tells them apart in most dtypes, the plainest of these."""
        return int(np.argmax(self.apart.sum(axis=0)))

    @property
    def reach(self) -> int:
        """In how many dtypes it does."""
        return int(self.apart.sum(axis=0).max())

    def covers(self, other: "_Attempt") -> bool:
        """Whether a column tells the sides apart wherever the best one of ``other`` does."""
        return bool(self.apart[other.apart[:, other.best]].all(axis=0).any())


def separation(p: Pair, known: Coincidences, *, fixed: Mapping[str, Value]) -> Separation | None:
    """The smallest input found, or None where no plain one of up to MOST_STEPS steps will do.

    ``fixed`` keeps hyperparameters at a value.  The fewest steps come first, then the most dtypes,
    then as many defaults as possible, then the plainest numbers.
    """
    schedules: list[tuple[int, ...]] = [] if known.given(STEADY_LR) else [()]
    schedules += [] if "lr" not in p.both.hypers else [(1,)]
    for halvings in schedules:
        for steps in range(1 + len(halvings), MOST_STEPS + 1):
            inputs = _Inputs.plain(steps)
            tried: list[_Attempt] = []
            for hypers in _settings(p, fixed):
                if _differ(p, hypers, halvings, inputs):
                    tried.append(_attempt(p, hypers, halvings, inputs))
                    if tried[-1].reach == len(tried[-1].tables):
                        break
            best = max(tried, key=lambda x: x.reach, default=None)
            if best is not None and best.reach:
                ever = np.any([x.apart.any(axis=1) for x in tried], axis=0)
                return _told(p, _plainer(p, best, fixed), len(tried) * len(inputs.start), ever)
    return None


def _settings(p: Pair, fixed: Mapping[str, Value]) -> Iterator[dict[str, Value]]:
    """Bold settings, then the same with a flag on or one hyperparameter at its default."""
    bold = {n: fixed.get(n, _bold(h)) for n, h in p.both.hypers.items()}
    flags = [n for n, h in p.both.hypers.items() if h.is_flag and n not in fixed]
    others = [n for n, h in p.both.hypers.items() if not h.is_flag and n not in fixed]
    bolder = [{}, *(dict(c) for c in BOLDER if set(c) <= set(others))]
    changes: list[dict[str, Value]] = [
        {**one, **flag} for flag in ({}, *({n: True} for n in flags)) for one in bolder
    ]
    changes += [{n: p.both.defaults[n]} for n in others]
    for change in changes:
        # what one flag requires of others is granted: momentum without dampening, say
        grants: list[dict[str, Value]] = [{}]
        grants += [{n: p.both.defaults[n]} for n in others if n not in change]
        for grant in grants:
            if p.admissible({**bold, **change, **grant}):
                yield {**bold, **change, **grant}
                break


def _bold(hyper: HyperSpec) -> Value:
    if hyper.domain is None:
        return False
    value = BOLD.get(hyper.name, hyper.default or 0.5)
    return value if value in hyper.domain else hyper.default


def _differ(
    p: Pair, hypers: Mapping[str, Value], halvings: tuple[int, ...], inputs: _Inputs
) -> bool:
    """Whether some column differs at all, by more than our own arithmetic's rounding."""
    steps = len(inputs.gradients)
    a, b = (
        march(
            machine(s.spec, s.variant), [s.own(hypers)], inputs.start,
            lambda t: inputs.gradients[t - 1], at=(steps,), halvings=halvings,
        )
        for s in p.sides
    )  # fmt: skip
    with np.errstate(all="ignore"):
        return bool((np.abs(a - b) > 1e-15 * (np.abs(a) + np.abs(b))).any())


def _attempt(
    p: Pair, hypers: Mapping[str, Value], halvings: tuple[int, ...], inputs: _Inputs
) -> _Attempt:
    tables: Tables = {}
    for dtype in FORMATS:
        if dtype == "float64" and not EXTENDED:
            continue
        a, b = (
            bounds(s, hypers, inputs.start, inputs.gradients, dtype=dtype, halvings=halvings)[-1]
            for s in p.sides
        )
        tables[dtype] = (a.error[0], b.error[0], ratios(a, b)[0])
    return _Attempt(hypers, halvings, inputs, tables)


def bounds(
    s: Side,
    hypers: Mapping[str, Value],
    start: NDArray[np.float64],
    gradients: NDArray[np.float64],
    *,
    dtype: str,
    halvings: Sequence[int] = (),
) -> list[Outcome]:
    """What the parameters of a faithful implementation in ``dtype`` may be after each step.

    ``start`` holds one number for each element, ``gradients`` one row for each step; both must be
    numbers of the dtype.  lr is halved after the steps ``halvings``.
    """
    rows = _rows(s, hypers, len(gradients), halvings)
    states = {
        n: np.full_like(start, initial_state(x.init, rows[0]))
        for n, x in states_of(s.spec, s.variant).items()
    }
    programs = [program(s.spec, s.variant, row, int(row["t"])) for row in rows]
    return free_running(
        programs,
        rows,
        {"p": start, **states},
        list(gradients),
        fmt=FORMATS[dtype],
        profile=Profile(),
    )


def ratios(a: Outcome, b: Outcome) -> NDArray[np.float64]:
    """The distance of two outcomes in units of both bounds; 0 where a bound decides nothing."""
    with np.errstate(all="ignore"):
        apart = np.abs(a.value - b.value)
        ratio = (apart / (a.error + b.error)).astype(np.float64)
    ratio[apart == 0] = 0.0
    return np.where(a.undecided | b.undecided | np.isnan(ratio), 0.0, ratio)


def _rows(
    s: Side, hypers: Mapping[str, Value], steps: int, halvings: Sequence[int]
) -> list[dict[str, float]]:
    """The scalars of each step."""
    own = {n: float(v) for n, v in s.own(hypers).items()}
    first = own.get("lr", 0.0)
    rows = []
    for t in range(1, steps + 1):
        if t - 1 in halvings and "lr" in own:
            own = {**own, "lr": own["lr"] / 2}
        rows.append({**own, "t": float(t), "lr0": first})
    return rows


def _plainer(p: Pair, found: _Attempt, fixed: Mapping[str, Value]) -> _Attempt:
    """The same with as many hyperparameters at a default as the dtypes allow."""
    for name in p.both.hypers:
        if name in fixed:
            continue
        for default in dict.fromkeys(
            s.spec.defaults[name] for s in p.sides if name in s.spec.hypers
        ):
            hypers = {**found.hypers, name: default}
            if found.hypers[name] == default or not p.admissible(hypers):
                continue
            tried = _attempt(p, hypers, found.halvings, found.inputs)
            if tried.covers(found):
                found = tried
                break
    return found


def _told(p: Pair, found: _Attempt, tried: int, ever: NDArray[np.bool_]) -> Separation:
    column = found.best
    start = float(found.inputs.start[column])
    gradients = tuple(float(g) for g in found.inputs.gradients[:, column])
    a, b = (_exact(s, found.hypers, start, gradients, found.halvings) for s in p.sides)
    distance = float(abs(a - b).mid())
    dtypes = []
    for k, (dtype, (bound_a, bound_b, ratio)) in enumerate(found.tables.items()):
        x, y = float(bound_a[column]), float(bound_b[column])
        sure = ratio[column] > 0
        dtypes.append(
            InDtype(
                dtype=dtype,
                bound_a=x,
                bound_b=y,
                ratio=distance / (x + y) if sure and x + y > 0 else float(ratio[column]),
                others=bool(ever[k]),
            )
        )
    rows = _rows(p.a, found.hypers, len(gradients), found.halvings)
    return Separation(
        hypers=dict(found.hypers),
        start=start,
        gradients=gradients,
        lrs=tuple(row.get("lr", 0.0) for row in rows),
        value_a=digits(a),
        value_b=digits(b),
        tried=tried,
        dtypes=tuple(dtypes),
    )


def _exact(
    s: Side,
    hypers: Mapping[str, Value],
    start: float,
    gradients: Sequence[float],
    halvings: Sequence[int],
) -> Any:
    """The parameter after the last step, as a ball."""
    rows = _rows(s, hypers, len(gradients), halvings)
    values: dict[str, Any] = {
        n: initial_state(x.init, rows[0]) for n, x in states_of(s.spec, s.variant).items()
    }
    values["p"] = start
    for row, grad in zip(rows, gradients, strict=True):
        straight = program(s.spec, s.variant, row, int(row["t"]))
        values |= exact.evaluate(straight, row, {**values, "grad": grad})
    return values["p"]


def digits(ball: Any) -> str:
    """The first DIGITS decimal digits of a ball."""
    text: str = ball.str(DIGITS, radius=False)
    return text
