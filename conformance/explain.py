"""From a failing trace to a sentence: which step, which tensor, which equation."""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from . import expr
from .formats import FORMATS
from .lockstep import Judged, blocks, failing, judge, position, program_of, worst
from .oracle import exact
from .oracle.judge import compare, outcomes
from .oracle.scalars import Profile
from .scenario import SetHyper, Step
from .spec import Spec, equations_of, initial_state, program, states_of
from .trace import Trace


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The earliest and worst place where a trace leaves the bound.

    ``group``, ``param`` and ``index`` place the element, ``step`` counts step events from 1.
    ``equation`` is the name of the equation at fault.  ``inputs`` is what the step started from.
    """

    step: int
    group: int
    param: int
    index: int
    output: str
    tensor: str
    equation: str
    observed: float
    expected: float
    bound: float
    ratio: float
    must_nan: bool
    inputs: Mapping[str, float]
    scalars: Mapping[str, float]
    confirmed: bool
    free: bool


def diagnoses(
    trace: Trace, spec: Spec, variant: Mapping[str, str], profile: Profile, judged: list[Judged]
) -> list[Diagnosis]:
    """One diagnosis for each output that fails, the earliest first; empty when nothing failed.

    In lockstep every step is judged from the subject's own state, so failures of different outputs
    are different faults, unless one equation only hands on another's result: an output that is
    right given the state that was observed is left out, if any is wrong without that excuse.
    """
    places: dict[str, tuple[int, int, Judged, tuple[int, int]]] = {}
    for part in judged:
        for order, (name, judgement) in enumerate(part.outputs.items()):
            at = worst(judgement)
            if at is not None:
                step = part.block.place.steps[at[0]]
                if name not in places or step < places[name][0]:
                    places[name] = (step, order, part, at)
    found = sorted(places.items(), key=lambda p: p[1][:2])
    if len(found) > 1:  # then in lockstep: beside a free run there is one output
        alone = [p for p in found if _fails_alone(trace, p[1][2], p[0], profile)]
        found = alone or found
    return [_diagnosis(trace, spec, variant, part, name, at) for name, (_, _, part, at) in found]


def _diagnosis(
    trace: Trace,
    spec: Spec,
    variant: Mapping[str, str],
    part: Judged,
    name: str,
    at: tuple[int, int],
) -> Diagnosis:
    judgement = part.outputs[name]
    step, group, param, index = position(part.block, at)
    row = part.block.steps
    inputs = {n: float(x[at]) for n, x in row.start.items()}
    bound = float(judgement.outcome.error[at])
    must_nan = bool(judgement.outcome.must_nan[at])
    observed = float(row.observed[name][at])
    if not part.free:
        ball = exact.evaluate(part.program, row.scalars[at[0]], inputs)[name]
    else:
        ball = exact_run(trace, spec, variant, group, param, index, step)
    return Diagnosis(
        step=step + 1,
        group=group,
        param=param,
        index=index,
        output=name,
        tensor="param" if name == "p" else _torch_name(part, name),
        equation=name,
        observed=observed,
        expected=float("nan") if must_nan else float(judgement.outcome.value[at]),
        bound=bound,
        ratio=float(judgement.ratio[at]),
        must_nan=must_nan,
        inputs=inputs,
        scalars=dict(row.scalars[at[0]]),
        confirmed=exact.confirms(ball, observed, bound, must_nan=must_nan),
        free=part.free,
    )


def _torch_name(part: Judged, name: str) -> str:
    return next(s.torch_name for s in part.program.states if s.name == name)


def _fails_alone(trace: Trace, part: Judged, name: str, profile: Profile) -> bool:
    fmt = FORMATS[trace.scenario.dtype]
    steps = part.block.steps
    answer = outcomes(
        steps, [part.program], fmt=fmt, profile=profile, conditional=True, only=[name]
    )[0]
    return bool(compare(answer[name], steps.observed[name], steps.start[name]).failed.any())


def exact_run(
    trace: Trace,
    spec: Spec,
    variant: Mapping[str, str],
    group: int,
    param: int,
    index: int,
    step: int,
) -> Any:
    """The exact value of a parameter's element after step event ``step``, from the very start."""
    rows = [r for r in trace.rows[group, param] if r.step <= step]
    values: dict[str, Any] = {
        n: initial_state(s.init, rows[0].scalars) for n, s in states_of(spec, variant).items()
    }
    values["p"] = float(rows[0].start["p"][index])
    for row in rows:
        p = program(spec, variant, row.scalars, int(row.scalars["t"]))
        values |= exact.evaluate(p, row.scalars, {**values, "grad": float(row.grad[index])})
    return values["p"]


# ---- t off by one ----------------------------------------------------------------------------


def shifted_t(
    trace: Trace, spec: Spec, variant: Mapping[str, str], profile: Profile, shift: int
) -> bool:
    """Whether the trace follows the spec with t too large by ``shift``."""
    found = blocks(trace, spec, variant)
    if found is None:
        return False
    fmt = FORMATS[trace.scenario.dtype]
    for block in found:
        straight = program_of(block, spec, variant)
        moved = [{**s, "t": s["t"] + shift} for s in block.steps.scalars]
        if any(s["t"] < 1 for s in moved):
            moved = [{**s, "t": max(s["t"], 0.0)} for s in moved]
        steps = replace(block.steps, scalars=moved)
        answer = outcomes(steps, [straight], fmt=fmt, profile=profile)[0]
        plain = outcomes(block.steps, [straight], fmt=fmt, profile=profile)[0]
        for name, outcome in answer.items():
            observed, start = steps.observed[name], steps.start[name]
            refuted = compare(plain[name], observed, start).failed
            if (
                compare(outcome, observed, start).failed.any()
                or (refuted & outcome.undecided).any()
            ):
                return False
    return True


def borrowed(
    traces: Sequence[Trace], spec: Spec, variant: Mapping[str, str], profile: Profile, output: str
) -> str | None:
    """The hyperparameter whose value the later groups seem to take from the first, if one is: what
    is refuted of ``output`` in any of the traces would be decided and right, and nothing of the
    first of them wrong."""
    groups = traces[0].scenario.all_groups
    for name, value in groups[0].hyper.items():
        if all(g.hyper[name] == value for g in groups[1:]):
            continue
        for trace in traces:
            lent = _with_firsts(trace, name)
            was, now = (judge(t, spec, variant, profile=profile) for t in (trace, lent))
            left = _places(now, "failed") | _places(now, "undecided")
            if any(at in left for at in _places(was, "failed") if at[0] == output):
                break
            if trace is traces[0] and failing(now):
                break
        else:
            return name
    return None


def _with_firsts(trace: Trace, name: str) -> Trace:
    """The trace with a hyperparameter of all groups as it was in the first, step by step."""
    value = start = float(trace.scenario.all_groups[0].hyper[name])
    first = []  # at each step event
    for event in trace.scenario.events:
        if isinstance(event, SetHyper) and event.group == 0:
            value = float(event.hyper.get(name, value))
        elif isinstance(event, Step):
            first.append(value)
    more = {"lr0": start} if name == "lr" else {}
    rows = {
        key: [replace(r, scalars={**r.scalars, name: first[r.step], **more}) for r in some]
        for key, some in trace.rows.items()
    }
    return replace(trace, rows=rows)


def _places(
    judged: Sequence[Judged], what: Literal["failed", "undecided"]
) -> set[tuple[str, int, int, int, int]]:
    """Where elements failed, or could not be decided: output, step, group, param, index."""
    return {
        (name, *position(part.block, (int(row), int(column))))
        for part in judged
        for name, j in part.outputs.items()
        for row, column in np.argwhere(j.failed if what == "failed" else j.outcome.undecided)
    }


def uses_t(spec: Spec, variant: Mapping[str, str]) -> list[str]:
    """The equations in which the step counter stands."""
    return [
        name
        for name, forms in equations_of(spec, variant).items()
        if any("t" in expr.names(ast.parse(f.strip(), mode="eval")) for f in forms)
    ]
