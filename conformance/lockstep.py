"""Holds every step of a trace against the oracle.

*Lockstep*: the oracle starts each step from the subject's own state as it was after the step
before, so errors do not pile up and the bound stays sharp.  Where the state cannot be seen the
oracle runs freely beside the subject (:mod:`optconform.oracle.free`).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import expr
from .formats import FORMATS
from .implementation import Floats
from .oracle.free import free_running
from .oracle.judge import Judgement, Steps, compare, outcomes
from .oracle.scalars import Profile
from .spec import Program, Spec, all_conditions, initial_state, program, states_of
from .trace import Row, Trace


@dataclass(frozen=True, slots=True)
class Place:
    """Where the columns of a block come from: (group, param) and its size, in order."""

    params: tuple[tuple[int, int], ...]
    sizes: tuple[int, ...]
    steps: tuple[int, ...]  # the step event of each row


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of a trace that are judged together."""

    steps: Steps
    place: Place


@dataclass(frozen=True, slots=True)
class Judged:
    """A block with the judgement on each output."""

    block: Block
    program: Program
    outputs: Mapping[str, Judgement]
    free: bool = False  # the oracle ran freely: a state of the variant could not be seen


def blocks(trace: Trace, spec: Spec, variant: Mapping[str, str]) -> list[Block] | None:
    """The trace's rows in blocks; None when a state that the program has could not be seen.

    A parameter's first step starts from the spec's initial state, whatever the subject holds: so
    a wrong initial value shows in the first equation that uses it.
    """
    fmt = FORMATS[trace.scenario.dtype]
    conditions = all_conditions(spec)
    merged: dict[Any, list[tuple[tuple[int, int], list[Row]]]] = {}
    for key, rows in trace.rows.items():
        by_truth: dict[frozenset[str], list[Row]] = {}
        for row in rows:
            truth = frozenset(c for c in conditions if expr.holds(c, row.scalars))
            by_truth.setdefault(truth, []).append(row)
        for truth, some in by_truth.items():
            identity = (
                key[0],
                truth,
                tuple((r.step, r.scalars["t"], r.scalars["lr0"]) for r in some),
            )
            merged.setdefault(identity, []).append((key, some))
    out: list[Block] = []
    inits = states_of(spec, variant)
    for members in merged.values():
        rows = members[0][1]
        first = rows[0].scalars
        needed = [s.name for s in program(spec, variant, first, int(first["t"])).states]
        start: dict[str, list[list[Floats]]] = {n: [] for n in ("p", "grad", *needed)}
        observed: dict[str, list[list[Floats]]] = {n: [] for n in ("p", *needed)}
        off: dict[str, list[list[Floats]]] = {n: [] for n in needed}
        inexact = False
        for key, some in members:
            first_row = trace.rows[key][0]
            for n in start:
                start[n].append([])
            for n in observed:
                observed[n].append([])
            for n in off:
                off[n].append([])
            for row in some:
                start["p"][-1].append(row.start["p"])
                start["grad"][-1].append(row.grad)
                observed["p"][-1].append(row.observed["p"])
                for n in needed:
                    if n not in row.observed:
                        return None
                    error = np.zeros_like(row.grad)
                    late = row is first_row and n not in row.start  # its clock ran before it
                    if row.scalars["t"] == 1 or late:
                        init = float(initial_state(inits[n].init, row.scalars))
                        value = np.full_like(row.grad, init)
                        if fmt.round(np.array(init)) != init:
                            error += abs(init) * fmt.unit
                            inexact = True
                    elif n in row.start:
                        value = row.start[n]
                    else:
                        return None
                    start[n][-1].append(value)
                    off[n][-1].append(error)
                    observed[n][-1].append(row.observed[n])
        steps = Steps(
            [r.scalars for r in rows],
            {n: _stacked(x) for n, x in start.items()},
            {n: _stacked(x) for n, x in observed.items()},
            {n: _stacked(x) for n, x in off.items()} if inexact else None,
        )
        place = Place(
            tuple(k for k, _ in members),
            tuple(some[0].grad.size for _, some in members),
            tuple(r.step for r in rows),
        )
        if sum(place.sizes):
            out.append(Block(steps, place))
    return out


def first_steps(trace: Trace, unseen: Iterable[str]) -> Trace:
    """The first step of each parameter alone: it starts from known states, so that of those that
    are out of sight zeros may stand for what was not observed, as long as nobody compares them."""

    def alone(row: Row) -> Row:
        seen = {"p": row.observed["p"], **dict.fromkeys(unseen, np.zeros_like(row.grad))}
        return Row(row.step, row.scalars, row.grad, {"p": row.start["p"]}, seen)

    return Trace(trace.scenario, {key: [alone(rows[0])] for key, rows in trace.rows.items()})


def _stacked(params: list[list[Floats]]) -> Floats:
    """Rows of each parameter, one below the other; the parameters side by side."""
    return np.concatenate([np.stack(rows) for rows in params], axis=1)


def judge(
    trace: Trace,
    spec: Spec,
    variant: Mapping[str, str],
    *,
    profile: Profile,
    conditional: bool = False,
) -> list[Judged]:
    """Every block of a trace against one variant of the spec.

    Falls back to free-running where a state tensor is hidden (``free`` of each tells).
    """
    fmt = FORMATS[trace.scenario.dtype]
    found = blocks(trace, spec, variant)
    if found is None:
        return free_judge(trace, spec, variant, profile=profile)
    judged = []
    for block in found:
        p = program_of(block, spec, variant)
        answer = outcomes(block.steps, [p], fmt=fmt, profile=profile, conditional=conditional)[0]
        judged.append(Judged(block, p, compared(block.steps, answer)))
    return judged


def program_of(block: Block, spec: Spec, variant: Mapping[str, str]) -> Program:
    first = block.steps.scalars[0]
    return program(spec, variant, first, int(first["t"]))


def compared(steps: Steps, answer: Mapping[str, Any]) -> dict[str, Judgement]:
    return {
        name: compare(outcome, steps.observed[name], steps.start[name])
        for name, outcome in answer.items()
    }


def free_judge(
    trace: Trace, spec: Spec, variant: Mapping[str, str], *, profile: Profile
) -> list[Judged]:
    """The parameters alone, against the oracle running freely from the initial values."""
    fmt = FORMATS[trace.scenario.dtype]
    out: list[Judged] = []
    inits = states_of(spec, variant)
    alike: dict[Any, list[tuple[int, int]]] = {}
    for key, rows in trace.rows.items():
        times = tuple((r.step, r.scalars["t"], r.scalars["lr0"]) for r in rows)
        alike.setdefault((key[0], times), []).append(key)
    for keys in alike.values():
        rows = trace.rows[keys[0]]
        members = [trace.rows[k] for k in keys]
        place_sizes = tuple(m[0].grad.size for m in members)
        if not sum(place_sizes):
            continue
        programs = [program(spec, variant, r.scalars, int(r.scalars["t"])) for r in rows]
        p = [np.concatenate([m[k].start["p"] for m in members]) for k in range(len(rows))]
        grads = [np.concatenate([m[k].grad for m in members]) for k in range(len(rows))]
        seen = [np.concatenate([m[k].observed["p"] for m in members]) for k in range(len(rows))]
        states = {
            n: np.full_like(p[0], initial_state(s.init, rows[0].scalars)) for n, s in inits.items()
        }
        answers = free_running(
            programs,
            [r.scalars for r in rows],
            {"p": p[0], **states},
            grads,
            fmt=fmt,
            profile=profile,
        )
        for k, (row, straight, answer) in enumerate(zip(rows, programs, answers, strict=True)):
            steps = Steps(
                [row.scalars],
                {"p": p[k][None, :], "grad": grads[k][None, :]},
                {"p": seen[k][None, :]},
            )
            place = Place(tuple(keys), place_sizes, (row.step,))
            seen_alone = compared(steps, {"p": answer})
            out.append(Judged(Block(steps, place), straight, seen_alone, free=True))
    return out


def position(block: Block, flat: tuple[int, int]) -> tuple[int, int, int, int]:
    """(step, group, param, index) of an element of a block."""
    row, column = flat
    for (group, param), size in zip(block.place.params, block.place.sizes, strict=True):
        if column < size:
            return block.place.steps[row], group, param, column
        column -= size
    raise IndexError(flat)


def worst(judgement: Judgement) -> tuple[int, int] | None:
    """The failed element of the earliest row with the largest ratio in it, or None."""
    failed: NDArray[np.bool_] = judgement.failed
    rows = np.flatnonzero(failed.any(axis=1))
    if rows.size == 0:
        return None
    row = int(rows[0])
    ratio = np.where(failed[row], judgement.ratio[row], -1.0)
    return row, int(np.argmax(ratio))


def failing(judged: Sequence[Judged]) -> bool:
    return any(j.failed.any() for part in judged for j in part.outputs.values())


def failing_params(judged: Sequence[Judged]) -> set[tuple[int, int, bool]]:
    """(group, param, whether a non-finite value was observed) of everything that failed."""
    found: set[tuple[int, int, bool]] = set()
    for part in judged:
        for name, judgement in part.outputs.items():
            if not judgement.failed.any():
                continue
            odd = judgement.failed & ~np.isfinite(part.block.steps.observed[name])
            left = 0
            for key, size in zip(part.block.place.params, part.block.place.sizes, strict=True):
                span = slice(left, left + size)
                left += size
                if odd[:, span].any():
                    found.add((*key, True))
                if (judgement.failed[:, span] & ~odd[:, span]).any():
                    found.add((*key, False))
    return found
