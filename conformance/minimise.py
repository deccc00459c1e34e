"""Smaller scenarios that still show a finding.

Hypothesis shrinks what it draws; this goes on where it cannot: to one element with its values
written out, default hyperparameters and the fewest steps, because optimizers act element by
element.
"""

import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

from .edits import first_steps, isolated, joined_at_start, map_params, trimmed, with_values
from .scenario import AddGroup, Event, Group, Param, Recipe, Scenario, SetHyper, Step
from .spec import Spec

Focus = tuple[int, int, int, int]
"""(step from 1, group, param, index) of the failing element."""

Fails = Callable[[Scenario], Focus | None]


def minimise(
    scenario: Scenario,
    focus: Focus,
    fails: Fails,
    spec: Spec,
    *,
    fixed: Collection[str] = (),
    budget: int = 150,
) -> Scenario:
    """The smallest scenario found within ``budget`` trials for which ``fails`` gives a focus.

    ``fixed`` are the hyperparameters that nobody may choose: they stay as they are.
    """
    best, at = scenario, focus
    trials = 0
    improved = True
    while improved and trials < budget:
        improved = False
        for candidate in _candidates(best, at, spec, fixed):
            if trials >= budget:
                break
            if candidate == best:
                continue
            trials += 1
            found = fails(candidate)
            if found is not None:
                best, at, improved = candidate, found, True
                break
    return trimmed(best)


def _candidates(
    s: Scenario, focus: Focus, spec: Spec, fixed: Collection[str]
) -> Iterator[Scenario]:
    """Simpler scenarios, the boldest first."""
    step, group, param, index = focus
    several = len(s.all_groups) > 1 or len(s.all_groups[0].params) > 1
    size = s.all_groups[group].params[param].size
    if several or size > 1:
        yield first_steps(isolated(s, group, param, index), step)
        yield isolated(s, group, param, index)
    if several and size <= 256:
        yield isolated(s, group, param)
    if len(s.all_groups) > len(s.groups):
        yield joined_at_start(s)
    if s.steps > step:
        yield first_steps(s, step)
    yield from _fewer_params(s, group, param)
    for k, event in enumerate(s.events):
        if not isinstance(event, Step):
            yield replace(s, events=s.events[:k] + s.events[k + 1 :])
        elif event.skipped:
            yield replace(s, events=(*s.events[:k], Step(), *s.events[k + 1 :]))
    yield from _fewer_steps(s)
    yield from _smaller_params(s)
    yield from _default_hypers(s, spec, fixed)
    yield from _plainer_values(s)


def _fewer_params(s: Scenario, group: int, param: int) -> Iterator[Scenario]:
    if any(isinstance(e, AddGroup) for e in s.events):
        return
    if len(s.groups) > 1:
        for g in range(len(s.groups)):
            if g != group:
                yield _without_group(s, g)
    for g, gr in enumerate(s.groups):
        for k in range(len(gr.params)):
            if len(gr.params) > 1 and (g, k) != (group, param):
                yield _without_param(s, g, k)


def _without_group(s: Scenario, g: int) -> Scenario:
    def down(i: int) -> int:
        return i - (i > g)

    events: list[Event] = []
    for e in s.events:
        if isinstance(e, SetHyper):
            if e.group != g:
                events.append(replace(e, group=down(e.group)))
        elif isinstance(e, Step):
            events.append(Step(tuple((down(i), p) for i, p in e.skipped if i != g)))
        else:
            events.append(e)
    return replace(s, groups=s.groups[:g] + s.groups[g + 1 :], events=tuple(events))


def _without_param(s: Scenario, g: int, k: int) -> Scenario:
    params = s.groups[g].params[:k] + s.groups[g].params[k + 1 :]
    groups = (*s.groups[:g], replace(s.groups[g], params=params), *s.groups[g + 1 :])
    events = tuple(
        Step(tuple((i, p - (i == g and p > k)) for i, p in e.skipped if (i, p) != (g, k)))
        if isinstance(e, Step)
        else e
        for e in s.events
    )
    return replace(s, groups=groups, events=events)


def _fewer_steps(s: Scenario) -> Iterator[Scenario]:
    """Leave out one step; only with explicit values do the others keep their gradients."""
    if s.steps < 2 or not _explicit(s):
        return
    order = [k for k, e in enumerate(s.events) if isinstance(e, Step)]
    for nth, k in enumerate(order[:-1]):

        def shorter(p: Param, nth: int = nth) -> Param:
            rows = p.grad.values
            if not rows:  # it is empty
                return p
            return replace(p, grad=Recipe("values", 0, rows[:nth] + rows[nth + 1 :] or rows))

        yield replace(map_params(s, shorter), events=s.events[:k] + s.events[k + 1 :])


def _explicit(s: Scenario) -> bool:
    return all(p.grad.values for g in s.all_groups for p in g.params if p.size)


def _smaller_params(s: Scenario) -> Iterator[Scenario]:
    yield map_params(s, lambda p: replace(p, layout="contiguous"))
    for shape in ((1,), (2,), (3,), (2, 2), (8,), (17,), (33,)):
        yield map_params(s, lambda p, shape=shape: _cut(p, shape))
    if not _explicit(s) and sum(p.size for g in s.all_groups for p in g.params) <= 64:
        yield with_values(s)


def _cut(p: Param, shape: tuple[int, ...]) -> Param:
    """A smaller parameter: the first elements, or the same recipes over fewer."""
    size = math.prod(shape)
    if size >= p.size:
        return p
    if not p.grad.values:
        return replace(p, shape=shape)
    init = replace(p.init, values=p.init.values[:size])
    grad = replace(p.grad, values=tuple(row[:size] for row in p.grad.values))
    return replace(p, shape=shape, init=init, grad=grad)


def _default_hypers(s: Scenario, spec: Spec, fixed: Collection[str]) -> Iterator[Scenario]:
    for name, hyper in spec.hypers.items():
        if name not in fixed and any(g.hyper.get(name) != hyper.default for g in s.all_groups):

            def reset(g: Group, name: str = name, value: float | bool = hyper.default) -> Group:
                return replace(g, hyper={**g.hyper, name: value})

            changed = replace(
                s,
                groups=tuple(reset(g) for g in s.groups),
                events=tuple(
                    AddGroup(reset(e.group)) if isinstance(e, AddGroup) else e for e in s.events
                ),
            )
            if all(spec.admissible(g.hyper) for g in changed.all_groups):
                yield changed


def _plainer_values(s: Scenario) -> Iterator[Scenario]:
    """One element with round numbers."""
    if not _explicit(s) or len(s.all_groups) != 1 or len(s.groups[0].params) != 1:
        return
    p = s.groups[0].params[0]
    if p.size != 1:
        return

    def put(init: tuple[float, ...], rows: tuple[tuple[float, ...], ...]) -> Scenario:
        new = replace(p, init=Recipe("values", 0, init), grad=Recipe("values", 0, rows))
        return replace(s, groups=(replace(s.groups[0], params=(new,)),))

    start, rows = p.init.values[0], p.grad.values
    for value in (0.0, 1.0):
        if _simpler(value, start):
            yield put((value,), rows)
    for k, (g,) in enumerate(rows):
        for value in (0.0, 1.0, _power_of_ten(g)):
            if _simpler(value, g):
                yield put(p.init.values, (*rows[:k], (value,), *rows[k + 1 :]))


def _simpler(new: float, old: float) -> bool:
    """A total order of plainness, so that minimising ends."""

    def rank(x: float) -> tuple[int, float]:
        return ((0.0, 1.0).index(x) if x in (0.0, 1.0) else 2 + len(repr(x)), x)

    return rank(new) < rank(old)


def _power_of_ten(x: float) -> float:
    return float(f"{x:.0e}") if x - x == 0 and x else 1.0
