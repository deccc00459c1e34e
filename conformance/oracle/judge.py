"""From rows of observed steps to outcomes: groups the rows, keeps the blocks in cache, and puts the
answers together again."""

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..expr import Graph
from ..formats import Format
from ..spec import Program
from .bound import Bound, Outcome
from .factors import Factors
from .majorant import Floats
from .scalars import Profile, Scalars
from .structure import blocks, folds, frontier

BLOCK = 12288  # elements: a few dozen float64 arrays of this size stay in a core's cache

# glibc hands freed memory back to the system above a threshold that follows the largest block freed
# so far; without this the blocks' arrays are paged in anew each time, which took half of the time
np.empty(31 << 20, np.uint8)


@dataclass(frozen=True, slots=True)
class Steps:
    """Steps in which the same conditions hold, as rows: steps down, elements across.

    ``scalars`` holds each row's hyperparameters with ``t`` and ``lr0``; ``start`` and ``observed``
    map ``p``, ``grad`` (start only) and the states to doubles of shape (rows, elements).
    ``start_error`` bounds how far the start may be from what the subject really holds.
    """

    scalars: Sequence[Mapping[str, float]]
    start: Mapping[str, Floats]
    observed: Mapping[str, Floats]
    start_error: Mapping[str, Floats] | None = None


@dataclass(frozen=True, slots=True)
class _Shelf:
    """What depends on hyperparameters and t alone, kept from one judgement to the next: a scenario
    is judged, diagnosed and identified with the same rows."""

    scalars: Scalars
    blocks: dict[tuple[int, ...], list[NDArray[np.intp]]]
    factors: dict[tuple[str, bytes], Factors]


@functools.lru_cache(maxsize=64)
def _shelf(
    graph: Graph, rows: tuple[tuple[tuple[str, float], ...], ...], profile: Profile
) -> _Shelf:
    return _Shelf(Scalars(graph, [dict(row) for row in rows], profile), {}, {})


def outcomes(
    steps: Steps,
    programs: Sequence[Program],
    *,
    fmt: Format,
    profile: Profile,
    conditional: bool = False,
    only: Sequence[str] | None = None,
) -> list[dict[str, Outcome]]:
    """What each output may be, for each of ``programs``.

    All programs share a graph and so the work on what they have in common.  With ``conditional``,
    equations downstream of a state use its *observed* new value: an explanation, never an
    accusation.  ``only`` restricts the outputs.
    """
    steps = _as_held(steps, fmt, profile)
    graph = programs[0].graph
    wanted = [[n for n in p.outputs if only is None or n in only] for p in programs]
    tops = [p.outputs[n] for p, names in zip(programs, wanted, strict=True) for n in names]
    nodes = frontier(graph, tuple(dict.fromkeys(tops)))
    shelf = _shelf(graph, tuple(tuple(row.items()) for row in steps.scalars), profile)
    scalars = shelf.scalars
    rows, width = steps.start["p"].shape
    nonneg = frozenset(s.name for p in programs for s in p.states if s.nonneg)
    answers: list[dict[str, list[tuple[NDArray[np.intp], slice, Outcome]]]] = [
        {n: [] for n in names} for names in wanted
    ]
    if nodes not in shelf.blocks:
        shelf.blocks[nodes] = blocks(scalars, nodes)
    for block in shelf.blocks[nodes]:
        for down, span in _cached(len(block), width):
            at = block[down]
            key = (fmt.name, at.tobytes())
            if key not in shelf.factors:
                shelf.factors[key] = Factors(graph, fmt, scalars, at)
            start = {
                n: (x[at, span], _maybe(steps.start_error, n, at, span))
                for n, x in steps.start.items()
            }
            shared = None
            for k, program in enumerate(programs):
                fold = folds(graph, tuple(program.outputs.values()))
                given = {}
                if conditional:
                    given = {
                        program.lets[s.name]: steps.observed[s.name][at, span]
                        for s in program.states
                        if s.name in steps.observed and s.name in program.lets
                    }
                if shared is None or conditional:
                    shared = Bound(shelf.factors[key], start, nonneg, given)
                for name in wanted[k]:
                    outcome = shared.outcome(program.outputs[name], fold)
                    if profile.memory == "wider":  # what is shown is rounded once more
                        shown = np.abs(outcome.value) * fmt.unit + fmt.tiny * fmt.unit
                        error = outcome.error + _later(steps)[at] * shown
                        outcome = replace(outcome, error=error)
                    answers[k][name].append((at, span, outcome))
    return [
        {name: _assembled(parts, rows, width) for name, parts in answer.items()}
        for answer in answers
    ]


def _as_held(steps: Steps, fmt: Format, profile: Profile) -> Steps:
    """The steps with the errors of a start that is not quite what can be seen."""
    wider, flushed = profile.memory == "wider", profile.subnormals == "flushed"
    if not (wider or flushed):
        return steps
    later = _later(steps)
    errors = {}
    for name, x in steps.start.items():
        error = np.zeros_like(x) + (steps.start_error or {}).get(name, 0.0)
        if wider and name != "grad":
            error = error + later * (np.abs(x) * fmt.unit + fmt.tiny * fmt.unit)
        if flushed:
            error = error + np.where(np.abs(x) < fmt.tiny, np.abs(x), 0)
        errors[name] = error
    return replace(steps, start_error=errors)


def _later(steps: Steps) -> NDArray[np.bool_]:
    """The rows that are not a parameter's first step, in which nothing is hidden yet."""
    return np.array([[s.get("t", 2.0) > 1] for s in steps.scalars])


def _maybe(
    errors: Mapping[str, Floats] | None, name: str, at: NDArray[np.intp], span: slice
) -> Floats | None:
    return None if errors is None or name not in errors else errors[name][at, span]


def _assembled(
    parts: list[tuple[NDArray[np.intp], slice, Outcome]], rows: int, width: int
) -> Outcome:
    if len(parts) == 1 and parts[0][2].value.shape == (rows, width):
        return parts[0][2]
    first = parts[0][2]
    value, error = (np.empty((rows, width), a.dtype) for a in (first.value, first.error))
    undecided, must_nan = (np.empty((rows, width), np.bool_) for _ in range(2))
    for at, span, outcome in parts:
        value[at, span], error[at, span] = outcome.value, outcome.error
        undecided[at, span], must_nan[at, span] = outcome.undecided, outcome.must_nan
    return Outcome(value, error, undecided, must_nan)


@dataclass(frozen=True, slots=True)
class Judgement:
    """An outcome beside what was observed; arrays of shape (rows, elements).

    ``ratio`` is the distance in units of the bound: at most 1 for every faithful implementation,
    infinite where NaN, an infinity or an exact value was missed.  ``vacuous`` marks the elements
    where the start of the step would have passed as well.
    """

    outcome: Outcome
    ratio: NDArray[np.float64]
    failed: NDArray[np.bool_]
    vacuous: NDArray[np.bool_]


def compare(outcome: Outcome, observed: Floats, start: Floats) -> Judgement:
    """Compare what was observed with what was possible."""
    shape = observed.shape
    ratio = np.empty(shape, np.float64)
    failed, vacuous = np.empty(shape, np.bool_), np.empty(shape, np.bool_)
    with np.errstate(all="ignore"):
        for at in _cached(*shape):
            here = Outcome(
                outcome.value[at], outcome.error[at], outcome.undecided[at], outcome.must_nan[at]
            )
            decided = ~here.undecided
            ratio[at] = _ratio(here, observed[at])
            failed[at] = (ratio[at] > 1) & decided
            vacuous[at] = (_ratio(here, start[at]) <= 1) & decided
    return Judgement(outcome, ratio, failed, vacuous)


def _cached(rows: int, width: int) -> Iterator[tuple[slice, slice]]:
    """Parts of an array that stay in cache."""
    across = min(width, BLOCK) or 1
    down = max(1, BLOCK // across)
    for top in range(0, rows, down):
        for left in range(0, max(width, 1), across):
            yield slice(top, top + down), slice(left, left + across)


def _ratio(outcome: Outcome, observed: Floats) -> NDArray[np.float64]:
    off = np.abs(observed - outcome.value)
    ratio: NDArray[np.float64] = (off / outcome.error).astype(np.float64, copy=False)
    exact = off == 0
    if exact.any():
        ratio[exact] = 0.0  # also 0/0, where the bound is zero
    ratio[np.isnan(ratio)] = np.inf  # a NaN or an infinity that nothing asked for
    if outcome.must_nan.any():
        ratio[outcome.must_nan] = np.where(np.isnan(observed[outcome.must_nan]), 0.0, np.inf)
    if outcome.undecided.any():
        ratio[outcome.undecided] = 0.0
    return ratio
