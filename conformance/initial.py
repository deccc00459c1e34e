"""The number at which a state seems to start, for axes that take any: a hypothesis, no verdict."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from .formats import FORMATS, Format
from .lockstep import Block, Trace, blocks, initial_state, program_of
from .oracle.judge import Floats, outcomes
from .oracle.scalars import Profile
from .spec import Axis, Spec, states_of

TRACES = 6  # looked at, at the most

WRITTEN = 6  # digits of a number that somebody has written down


def numbers_in(traces: Sequence[Trace], spec: Spec) -> tuple[str, ...]:
    """What the states in sight must have held before the first step, if that is one number and
    none that the spec or a named value of the axis gives.

    An average or a sum is linear in its start: two starts give the line, a third that it is one,
    and what was observed after the first step gives the start, which must be the same for all
    elements.
    """
    found: dict[str, None] = {}
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
            number = _number(firsts, spec, axis, variant)
            if number is not None:
                found[number] = None
    return tuple(found)


def _number(
    traces: Sequence[Trace], spec: Spec, axis: Axis, variant: Mapping[str, str]
) -> str | None:
    """The start that a variant of the other axes would need, in every trace and state."""
    low, high, best, named = -math.inf, math.inf, (math.inf, math.nan), False
    for trace in traces:
        fmt = FORMATS[trace.scenario.dtype]
        for x, error, own in _starts(trace, spec, axis, variant, fmt):
            low, high = max(low, float((x - error).max())), min(high, float((x + error).min()))
            if not low <= high:
                return None
            at = int(error.argmin())
            best = min(best, (float(error[at]), float(x[at])))
            named = named or any(low <= value <= high for value in own)
    if named or not math.isfinite(best[1]) or low < 0:
        return None
    return _shortest(best[1], low, high, fmt)


def _starts(
    trace: Trace, spec: Spec, axis: Axis, variant: Mapping[str, str], fmt: Format
) -> Iterator[tuple[Floats, Floats, list[float]]]:
    """For each state: the start of each element, how far off that may be, and what the spec and
    the named values would start it at."""
    named = axis.number.states.keys() if axis.number is not None else set()
    tried = [{**variant, axis.name: value} for value in ("0", "1", "2")]

    def after(block: Block, chosen: Mapping[str, str]) -> Mapping[str, tuple[Floats, Floats]]:
        program = program_of(block, spec, chosen)
        (found,) = outcomes(block.steps, [program], fmt=fmt, profile=Profile())
        first = [s["t"] == 1 for s in block.steps.scalars]
        return {
            n: (o.value[first], np.where(o.undecided, np.inf, o.error)[first])
            for n, o in found.items()
            if n in named
        }

    for alike in zip(*(blocks(trace, spec, v) or () for v in tried), strict=True):
        steps = alike[0].steps
        first = [s["t"] == 1 for s in steps.scalars]
        ends = [after(block, v) for block, v in zip(alike, tried, strict=True)]
        for name in ends[0]:
            (y0, off0), (y1, off1), (y2, off2) = (end[name] for end in ends)
            seen = steps.observed[name][first]
            with np.errstate(all="ignore"):
                slope = y1 - y0
                x = (seen - y0) / slope
                off = np.maximum.reduce([off0, off1, off2])
                line = abs(y2 - y1 - slope) <= off  # or bends by less than it may be rounded by
                error = off * np.maximum(1, abs(x)) / slope
            told = np.isfinite(x) & np.isfinite(error) & line & (slope > 0)
            if told.any():
                inits = (
                    states_of(spec, {**variant, axis.name: v})[name].init for v in axis.choices
                )
                own = [initial_state(init, steps.scalars[0]) for init in inits]
                yield x[told], error[told], own


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
