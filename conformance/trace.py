"""What an implementation did in a scenario: drives it event by event and keeps what was seen."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .formats import FORMATS, Format
from .implementation import Floats, Implementation, Session, Unsupported, shares_clock
from .interrupted import from_outside
from .play import Gradients, act, turns
from .scenario import AddGroup, Event, Group, Reload, Scenario, SetHyper, Step, initial
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
    left: str = ""  # what it has changed for the whole process, in a sentence


def run(implementation: Implementation, scenario: Scenario, spec: Spec, *, first: int = 0) -> Trace:
    """Drive ``implementation`` through ``scenario``.

    What happens before step ``first`` is not looked at and is not in the trace.  An exception of
    the subject ends the trace and is kept in it; Unsupported is raised.
    """
    fmt = FORMATS[scenario.dtype]
    # all that is fed to the subject is made before it can change how this process computes
    known = [_Known(group, fmt) for group in scenario.all_groups]
    feed = list(turns(scenario))
    trace = Trace(scenario)
    home = os.getpid()
    try:
        session = implementation.start(scenario, spec)
        _drive(session, known, feed, trace, first, shared=shares_clock(implementation))
    except Unsupported:
        raise
    except BaseException as e:  # a crash is a finding, never silence
        if from_outside(e):
            raise
        trace.crash = e
    finally:
        _leave_if_forked(home)
    return trace


def _leave_if_forked(home: int) -> None:
    """A subject's os.fork() returns twice into our loop; the child has nothing to judge in it."""
    if os.getpid() != home:
        os._exit(0)


class _Known:
    """What is known of a group, whatever the subject holds."""

    def __init__(self, group: Group, fmt: Format) -> None:
        self.fmt = fmt
        self.starts = [initial(p, fmt) for p in group.params]
        self.hyper: dict[str, Value] = dict(group.hyper)
        self._lr0 = float(group.hyper.get("lr", 0.0))
        self._counts = [0] * len(self.starts)

    def tick(self, grads: Sequence[Floats | None], *, shared: bool) -> None:
        """A step: time goes on for those that have a gradient, or for all where it is shared."""
        for k, grad in enumerate(grads):
            self._counts[k] += shared or grad is not None

    def scalars(self, param: int) -> dict[str, float]:
        now = {n: float(v) for n, v in self.hyper.items()}
        return {**now, "t": float(self._counts[param]), "lr0": self._lr0}


Snapshot = list[list[Mapping[str, Floats]]]
"""By group, then parameter: ``p`` and the states that can be seen."""


def _drive(
    session: Session,
    known: Sequence[_Known],
    feed: Iterable[tuple[Event, Gradients]],
    trace: Trace,
    first: int,
    *,
    shared: bool,
) -> None:
    home = os.getpid()
    held = _begun(session, known[: len(trace.scenario.groups)])
    step = -1
    for event, grads in feed:
        if isinstance(event, Step):
            step += 1
            trace.crash_step = step
        act(session, event, grads)
        _leave_if_forked(home)
        match event:
            case SetHyper(g, hyper):
                known[g].hyper.update(hyper)
            case AddGroup():
                held += _begun(session, known[: len(held) + 1])[len(held) :]
            case Reload() if step + 1 >= first:
                now = _snapshot(session, known[: len(held)])
                _compare(trace, step, held, now)
                held = now
            case Step():
                for group, some in zip(known, grads, strict=False):
                    group.tick(some, shared=shared)
                if step + 1 < first:
                    continue
                now = _snapshot(session, known[: len(held)])
                if step >= first:
                    _record(trace, step, known, grads, session.gradients(), held, now)
                held = now


def _record(
    trace: Trace,
    step: int,
    known: Sequence[_Known],
    grads: Gradients,
    left: Sequence[Sequence[Floats | None]] | None,
    held: Snapshot,
    now: Snapshot,
) -> None:
    """The rows of a step, and what it had no business to touch."""
    for g, some in enumerate(grads):
        for k, grad in enumerate(some):
            before, after = held[g][k], now[g][k]
            if grad is None:
                if not all(_same(x, after.get(n)) for n, x in before.items()):
                    trace.broken.append(("none-gradient", step, g, k))
                continue
            if left is not None and not _same(grad, left[g][k]):
                trace.broken.append(("gradient-untouched", step, g, k))
            row = Row(step, known[g].scalars(k), grad, before, after)
            trace.rows.setdefault((g, k), []).append(row)


def _compare(trace: Trace, step: int, held: Snapshot, now: Snapshot) -> None:
    """Loading what was saved must give it back; state may be rounded to the parameter's dtype,
    by way of float32 as well."""
    fmt, single = FORMATS[trace.scenario.dtype], FORMATS["float32"]
    for g, some in enumerate(held):
        for k, before in enumerate(some):
            after = now[g][k]
            kept = _same(before["p"], after["p"]) and all(
                any(_same(r, after.get(n)) for r in (x, fmt.round(x), fmt.round(single.round(x))))
                for n, x in before.items()
                if n != "p"
            )
            if not kept:
                trace.broken.append(("reload", max(step, 0), g, k))


def _begun(session: Session, known: Sequence[_Known]) -> Snapshot:
    """Parameters begin as the scenario says, whatever the subject shows."""
    return [
        [{**shown, "p": start} for shown, start in zip(some, group.starts, strict=True)]
        for some, group in zip(_snapshot(session, known), known, strict=True)
    ]


def _snapshot(session: Session, known: Sequence[_Known]) -> Snapshot:
    """What a session shows now, copied, for it may hand out the arrays that it works on."""
    params = _fitting("parameters", session.parameters(), known)
    states = _fitting("state", session.state(), known)
    return [
        [
            {
                "p": _held(_copy("parameters", p, start.size, (g, k)), group.fmt, (g, k)),
                **{n: _copy("state", x, start.size, (g, k)) for n, x in state.items()},
            }
            for k, (start, p, state) in enumerate(zip(group.starts, *shown, strict=True))
        ]
        for g, (group, *shown) in enumerate(zip(known, params, states, strict=True))
    ]


def _fitting(method: str, given: Sequence[Any], known: Sequence[_Known]) -> Sequence[Any]:
    found, wanted = [len(some) for some in given], [len(group.starts) for group in known]
    if found != wanted:
        raise ValueError(f"{method}() gives {found} parameters by group in place of {wanted}")
    return given


def _copy(method: str, x: Floats, size: int, at: tuple[int, int]) -> Floats:
    flat = np.array(x, np.float64).reshape(-1)
    if flat.size != size:
        raise ValueError(
            f"{method}() gives {flat.size} numbers for parameter {at[1]} of group {at[0]}, which "
            f"has {size}"
        )
    return flat


def _held(p: Floats, fmt: Format, at: tuple[int, int]) -> Floats:
    """A parameter of a dtype, which other numbers are no result in."""
    odd = p[fmt.round(p) != p]
    odd = odd[~np.isnan(odd)]
    if odd.size:
        raise ValueError(
            f"parameters() gives {float(odd[0])!r} for parameter {at[1]} of group {at[0]}, which "
            f"is no number of {fmt.name}"
        )
    return p


def _same(a: Floats, b: Floats | None) -> bool:
    return b is not None and np.array_equal(a, np.ravel(b), equal_nan=True)
