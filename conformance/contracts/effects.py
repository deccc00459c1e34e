"""Contracts about hyperparameters: each has an effect, and so has a change of it between steps."""

from collections.abc import Iterator
from dataclasses import replace

from ..scenario import SetHyper, Step
from ..spec import Hypers, Value
from ..strategies import compounded, usual
from ..trace import Trace
from .bench import Bench, Breach, finite, param, same
from .contract import NotApplicable


def hyper_effect(bench: Bench) -> Breach | None:
    free = [n for n in bench.spec.hypers if n not in bench.fixed]
    if not free:
        raise NotApplicable("it has no hyperparameter to choose")
    for name in free:
        for context, value in _contexts(bench, name):
            some = [param(1, 9), param(2, 9, grad="normal", init="normal")]
            plain = bench.scenario(some, hyper=context)
            trace = bench.run(plain)
            if bench.misses(trace) or not _told_apart(bench, trace, {name: value}):
                continue  # it has none here by the equations, or the run follows others
            changed = bench.scenario(some, hyper={**context, name: value})
            if finite(trace) and same(trace, bench.run(changed)):
                was = plain.groups[0].hyper[name]
                return Breach(
                    f"{name} has no effect: {was!r} and {value!r} give the same bits",
                    {f"{name} = {was!r}": plain, f"{name} = {value!r}": changed},
                )
            break
    return None


def hyper_change(bench: Bench) -> Breach | None:
    """Of those that no scenario changes, since papers do not say what beta**t is then: whatever it
    is, the averages themselves have the new one."""
    free = [n for n in bench.implementation.changeable(bench.spec) if n not in bench.fixed]
    names = [n for n in free if n in compounded(bench.spec)]
    if not names:
        raise NotApplicable("what can be changed is changed in the scenarios")
    some = [param(1, 9), param(2, 9, grad="normal", init="normal")]
    plain = bench.scenario(some, steps=4)
    trace = bench.run(plain)
    if bench.misses(trace) or not finite(trace):
        return None  # lockstep has told so
    was = plain.groups[0].hyper
    for name in names:
        for value in usual(bench.spec.hypers[name]):
            if value == was[name] or not bench.spec.admissible({**was, name: value}):
                continue
            if not _told_apart(bench, trace, {name: value}, first=2):
                continue
            events = (Step(), Step(), SetHyper(0, {name: value}), Step(), Step())
            changed = replace(plain, events=events)
            if same(trace, bench.run(changed)):
                return Breach(
                    f"{name} is read once: changed from {was[name]!r} to {value!r} after step 2 it "
                    "gives the same bits",
                    {f"{name} = {was[name]!r}": plain, f"then {name} = {value!r}": changed},
                )
            break
    return None


def _contexts(bench: Bench, name: str) -> Iterator[tuple[dict[str, Value], Value]]:
    """Settings in which ``name`` may show, each with another value for it, the likeliest first."""
    hyper = bench.spec.hypers[name]
    undone = {n: v for n, v in bench.spec.defaults.items() if n not in (*bench.fixed, "momentum")}
    turned_on: list[dict[str, Value]] = [{flag: True} for flag in bench.flags]
    for some in ({}, undone, *turned_on):
        context = bench.setting(some)
        values: list[Value] = [not context[name]] if hyper.is_flag else [*usual(hyper)]
        for value in values:
            if value != context[name] and bench.spec.admissible({**context, name: value}):
                yield context, value


def _told_apart(bench: Bench, trace: Trace, hyper: Hypers, *, first: int = 0) -> bool:
    """Whether the equations with these values from step ``first`` on forbid the trace, made with
    others."""
    numbers = {n: float(v) for n, v in hyper.items()}
    rows = {
        key: [
            replace(row, scalars={**row.scalars, **numbers}) if row.step >= first else row
            for row in some
        ]
        for key, some in trace.rows.items()
    }
    return bool(bench.misses(replace(trace, rows=rows)))
