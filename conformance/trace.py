"""What an implementation did in a scenario: drives it event by event and keeps what was seen."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from .formats import FORMATS, Format
from .implementation import Floats, Implementation, Session, Unsupported, shares_clock
from .scenario import AddGroup, Group, Reload, Scenario, SetHyper, Step, gradient, initial
from .spec import Spec, Value


@dataclass(frozen=True, slots=True)
class Row:
    """One parameter in one step: what it started from, its gradient, what came out."""

    step: int  # which step event, from 0
    scalars: Mapping[str, float]  # hyperparameters, t and lr0
    grad: Floats
    start: Mapping[str, Floats]
    observed: Mapping[str, Floats]


@dataclass(slots=True)
class Trace:
    """What an implementation did in a scenario, up to where it raised, if it did."""

    scenario: Scenario
    rows: dict[tuple[int, int], list[Row]] = field(default_factory=dict)
    # contract violations, as (check, step, group, param)
    broken: list[tuple[str, int, int, int]] = field(default_factory=list)
    crash: BaseException | None = None
    crash_step: int = -1  # the step event, or -1 when it was not yet built


def run(implementation: Implementation, scenario: Scenario, spec: Spec, *, first: int = 0) -> Trace:
    """Drive ``implementation`` through ``scenario``.

    What happens before step ``first`` is not looked at and is not in the trace.  An exception of
    the subject ends the trace and is kept in it; Unsupported is raised.
    """
    trace = Trace(scenario)
    try:
        _drive(implementation, scenario, spec, trace, first)
    except Unsupported:
        raise
    except (Exception, SystemExit) as e:  # a crash is a finding, never silence
        trace.crash = e
    return trace


def _drive(
    implementation: Implementation, scenario: Scenario, spec: Spec, trace: Trace, first: int
) -> None:
    fmt = FORMATS[scenario.dtype]
    session = implementation.start(scenario, spec)
    shared = shares_clock(implementation)
    groups: list[Group] = []
    hypers: list[dict[str, Value]] = []
    counts: list[list[int]] = []
    first_lr: list[float] = []  # that each group was made with
    values: list[list[Floats]] = []
    states: list[list[Mapping[str, Floats]]] = []

    def joined(group: Group) -> None:
        groups.append(group)
        hypers.append(dict(group.hyper))
        counts.append([0] * len(group.params))
        first_lr.append(float(group.hyper.get("lr", 0.0)))
        values.append([initial(p, fmt) for p in group.params])

    for group in scenario.groups:
        joined(group)
    states = _snapshot(session)[1]
    step = -1
    for event in scenario.events:
        match event:
            case SetHyper(g, hyper):
                session.set_hyper(g, hyper)
                hypers[g].update(hyper)
            case AddGroup(group):
                session.add_group(group)
                joined(group)
                states = states + _snapshot(session)[1][len(states) :]
            case Reload():
                session.reload()
                if step + 1 >= first:
                    now = _snapshot(session)
                    values, states = _reloaded(trace, step, (values, states), now, fmt)
            case Step(skipped):
                step += 1
                trace.crash_step = step
                grads: list[list[Floats | None]] = [
                    [
                        None if (g, k) in skipped else gradient(p, step, fmt)
                        for k, p in enumerate(gr.params)
                    ]
                    for g, gr in enumerate(groups)
                ]
                session.step(grads)
                for some, given in zip(counts, grads, strict=True):
                    for k, grad in enumerate(given):
                        some[k] += shared or grad is not None
                if step + 1 < first:
                    continue
                new_values, new_states = _snapshot(session)
                left = session.gradients()
                for g, gr in enumerate(groups if step >= first else ()):
                    for k in range(len(gr.params)):
                        grad = grads[g][k]
                        before, after = states[g][k], new_states[g][k]
                        if grad is None:
                            if not _same(values[g][k], new_values[g][k]) or any(
                                n not in after or not _same(x, after[n]) for n, x in before.items()
                            ):
                                trace.broken.append(("none-gradient", step, g, k))
                            continue
                        if left is not None and not _same(grad, left[g][k]):
                            trace.broken.append(("gradient-untouched", step, g, k))
                        scalars = {
                            **{n: float(v) for n, v in hypers[g].items()},
                            "t": float(counts[g][k]),
                            "lr0": first_lr[g],
                        }
                        trace.rows.setdefault((g, k), []).append(
                            Row(
                                step,
                                scalars,
                                grad,
                                {"p": values[g][k], **before},
                                {"p": new_values[g][k], **after},
                            )
                        )
                values, states = new_values, new_states


Snapshot = tuple[list[list[Floats]], list[list[Mapping[str, Floats]]]]


def _snapshot(session: Session) -> Snapshot:
    return session.parameters(), session.state()


def _reloaded(trace: Trace, step: int, before: Snapshot, after: Snapshot, fmt: Format) -> Snapshot:
    """Loading what was saved must give it back; state may be rounded to the parameter's dtype,
    by way of float32 as well."""
    single = FORMATS["float32"]
    for g, params in enumerate(before[0]):
        for k, p in enumerate(params):
            kept = _same(p, after[0][g][k])
            for name, x in before[1][g][k].items():
                y = after[1][g][k].get(name)
                roundings = (x, fmt.round(x), fmt.round(single.round(x)))
                kept = kept and any(_same(r, y) for r in roundings)
            if not kept:
                trace.broken.append(("reload", max(step, 0), g, k))
    return after


def _same(a: Floats, b: Floats | None) -> bool:
    return b is not None and np.array_equal(a, b, equal_nan=True)
