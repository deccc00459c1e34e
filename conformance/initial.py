"""The number at which a state seems to start, for axes that take any: a hypothesis, no verdict."""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .formats import FORMATS, Format
from .lattice import lattice
from .lockstep import blocks, compared, first_steps, program_of
from .oracle.judge import Steps, outcomes
from .oracle.majorant import Floats
from .oracle.scalars import Profile
from .spec import Axis, Program, Spec, initial_state, states_of
from .trace import Trace

TRACES = 6  # looked at, at the most

EXPONENTS = (-24, 11)  # powers of two between which a start that cannot be seen is searched
STRETCH = 64  # intervals that are left when halving them tells no more

SEARCHED = (Profile(), Profile(hypers="float32"))
"""Profiles in which a start is searched for; in a first step others hardly show."""

WRITTEN = 6  # digits of a number that somebody has written down

Stretch = tuple[str, float, float]
"""A number in as few digits as its place allows, and between which numbers that is."""


def numbers_in(traces: Sequence[Trace], spec: Spec) -> tuple[str, ...]:
    """What the states in sight must have held before the first step, if that is one number and
    none that the spec or a named value of the axis gives.

    An average or a sum is linear in its start: two starts give the line, a third that it is one,
    and what was observed after the first step gives the start, which must be the same for all
    elements of a state.  Each state speaks for itself: equations that are not known yet may lead
    from the gradient to one of them and not to the other.
    """
    found: list[Stretch] = []
    for axis in spec.axes.values():
        if axis.number is None:
            continue
        others = [
            {other.name: value}
            for other in spec.axes.values()
            for value in other.choices
            if other is not axis and value != other.default and not other.choices[value].needs
        ]
        firsts = [
            Trace(t.scenario, {key: rows[:1] for key, rows in t.rows.items()})
            for t in traces[:TRACES]
        ]
        for variant in [{}, *others]:
            for state in axis.number.states:
                number = _number(firsts, spec, axis, variant, state)
                if number is not None:
                    found.append(number)
    return _apart(found)


def _apart(found: Iterable[Stretch]) -> tuple[str, ...]:
    """The numbers, but one alone of those that may be the same: that with the fewest digits."""
    told: dict[str, None] = {}
    for text, low, high in sorted(found, key=lambda s: len(s[0])):
        if not any(low <= float(other) <= high for other in told):
            told[text] = None
    return tuple(told)


def _number(
    traces: Sequence[Trace], spec: Spec, axis: Axis, variant: Mapping[str, str], state: str
) -> Stretch | None:
    """The start of a state that a variant of the other axes would need, in every trace."""
    low, high, best, named = -math.inf, math.inf, (math.inf, math.nan), False
    for trace in traces:
        fmt = FORMATS[trace.scenario.dtype]
        for x, error, own in _starts(trace, spec, axis, variant, state, fmt):
            low, high = max(low, float((x - error).max())), min(high, float((x + error).min()))
            if not low <= high:
                return None
            at = int(error.argmin())
            best = min(best, (float(error[at]), float(x[at])))
            named = named or any(low <= value <= high for value in own)
    if named or not math.isfinite(best[1]) or low < 0:
        return None
    return _shortest(best[1], low, high, fmt), low, high


def _starts(
    trace: Trace,
    spec: Spec,
    axis: Axis,
    variant: Mapping[str, str],
    state: str,
    fmt: Format,
) -> Iterator[tuple[Floats, Floats, list[float]]]:
    """For each block: the start of each element of a state, how far off that may be, and what the
    spec and the named values would start it at."""
    tried = [{**variant, axis.name: value} for value in ("0", "1", "2")]

    for alike in zip(*(blocks(trace, spec, v) or () for v in tried), strict=True):
        steps = alike[0].steps
        first = [s["t"] == 1 for s in steps.scalars]
        ends = []
        for block, v in zip(alike, tried, strict=True):
            program = program_of(block, spec, v)
            (found,) = outcomes(block.steps, [program], fmt=fmt, profile=Profile(), only=[state])
            if state in found:
                o = found[state]
                ends.append((o.value[first], np.where(o.undecided, np.inf, o.error)[first]))
        if len(ends) < len(tried):
            continue
        (y0, off0), (y1, off1), (y2, off2) = ends
        seen = steps.observed[state][first]
        with np.errstate(all="ignore"):
            slope = y1 - y0
            x = (seen - y0) / slope
            off = np.maximum.reduce([off0, off1, off2])
            line = abs(y2 - y1 - slope) <= off  # or bends by less than it may be rounded by
            error = off * np.maximum(1, abs(x)) / slope
        told = np.isfinite(x) & np.isfinite(error) & line & (slope > 0)
        if told.any():
            inits = (states_of(spec, {**variant, axis.name: v})[state].init for v in axis.choices)
            yield x[told], error[told], [initial_state(init, steps.scalars[0]) for init in inits]


def hidden_numbers(traces: Sequence[Trace], spec: Spec) -> tuple[str, ...]:
    """What states that cannot be seen may have held before the first step: one number for each
    variant of the other axes under which the parameters' first steps leave one.

    A start that is known to an interval has its bound like any other; where a parameter left it,
    the start is not in the interval, and the halves of the others are looked at in turn.
    """
    found: list[Stretch] = []
    firsts = [
        (FORMATS[t.scenario.dtype], first_steps(t, states_of(spec, {}))) for t in traces[:TRACES]
    ]
    for axis in spec.axes.values():
        if axis.number is None:
            continue
        others = [dict(v) for v in lattice(spec) if axis.name not in dict(v)]
        looked_at: set[object] = set()
        for variant in others:
            zero = {**variant, axis.name: "0"}
            steps = [
                (fmt, block.steps, program_of(block, spec, zero))
                for fmt, first in firsts
                for block in blocks(first, spec, zero) or ()
                if block.steps.scalars[0]["t"] == 1
            ]
            same = tuple(program.outputs["p"] for _, _, program in steps)
            if steps and same not in looked_at:
                looked_at.add(same)
                numbers = (_searched(steps, axis.number.states, p) for p in SEARCHED)
                found += [number for number in numbers if number is not None]
    return _apart(found)


def _searched(
    steps: Sequence[tuple[Format, Steps, Program]], named: Collection[str], profile: Profile
) -> Stretch | None:
    """All starts that the first steps leave, from the least to the greatest."""
    low = 2.0 ** np.arange(*EXPONENTS)
    high = 2 * low
    while low.size:
        left = np.ones(low.shape, bool)
        for fmt, step, program in steps:
            if left.any():
                left[left] = _possible(step, program, named, low[left], high[left], fmt, profile)
        low, high = low[left], high[left]
        if not low.size or low.size > STRETCH or (high - low <= 2 * fmt.unit * low).all():
            break
        middle = (low + high) / 2
        low, high = np.sort([*low, *middle]), np.sort([*middle, *high])
    if not low.size:
        return None
    least, most = float(low[0]), float(high[-1])
    if most - least >= 10.0 ** math.floor(math.log10(least)):
        return None  # not even one digit is told
    written = (f"{(least + most) / 2:.{digits}g}" for digits in range(1, 18))
    text = next((text for text in written if least <= float(text) <= most), None)
    return (text, least, most) if text is not None else None


def _possible(
    step: Steps,
    program: Program,
    named: Collection[str],
    low: Floats,
    high: Floats,
    fmt: Format,
    profile: Profile,
) -> NDArray[np.bool_]:
    """For each interval, whether the parameters admit that the named states start in it."""
    count = low.size
    middle, half = ((high + low) / 2)[:, None], ((high - low) / 2)[:, None]
    start = {n: np.repeat(x, count, axis=0) for n, x in step.start.items()}
    off = {n: np.zeros_like(x) for n, x in start.items() if n not in ("p", "grad")}
    for n in named:
        start[n], off[n] = start[n] * 0 + middle, off[n] + half
    observed = {"p": np.repeat(step.observed["p"], count, axis=0)}
    some = Steps(list(step.scalars) * count, start, observed, off)
    (answer,) = outcomes(some, [program], fmt=fmt, profile=profile, only=["p"])
    possible: NDArray[np.bool_] = np.logical_not(compared(some, answer)["p"].failed.any(axis=1))
    return possible


def _shortest(x: float, low: float, high: float, fmt: Format) -> str:
    """``x`` with as few digits as people write, or else as give the same number in the dtype."""
    wanted = float(fmt.round(np.array(x)))
    for digits in range(1, 17):
        text = f"{x:.{digits}g}"
        near = 2 * fmt.unit * abs(x) if digits <= WRITTEN else 0.0
        if (
            low <= float(text) <= high
            and abs(float(fmt.round(np.array(float(text)))) - wanted) <= near
        ):
            return text
    return repr(x)
