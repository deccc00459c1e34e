"""Scenarios made of scenarios: written out, cut down, with more or less in them."""

from dataclasses import replace
from typing import Any

from .formats import FORMATS
from .scenario import (
    AddGroup,
    Event,
    Floats,
    Group,
    Param,
    Recipe,
    Reload,
    Scenario,
    SetHyper,
    Step,
    gradient,
    initial,
)


def with_values(scenario: Scenario) -> Scenario:
    """The same scenario with every recipe written out as values."""
    fmt, steps = FORMATS[scenario.dtype], scenario.steps

    def explicit(p: Param) -> Param:
        if p.size == 0:
            return p
        init = _floats(initial(p, fmt))
        grads = tuple(_floats(gradient(p, k, fmt)) for k in range(max(steps, 1)))
        return replace(p, init=Recipe("values", 0, init), grad=Recipe("values", 0, grads))

    return map_params(scenario, explicit)


def map_params(scenario: Scenario, change: Any) -> Scenario:
    """A scenario with ``change`` applied to every parameter."""

    def mapped(g: Group) -> Group:
        return replace(g, params=tuple(change(p) for p in g.params))

    return replace(
        scenario,
        groups=tuple(mapped(g) for g in scenario.groups),
        events=tuple(
            AddGroup(mapped(e.group)) if isinstance(e, AddGroup) else e for e in scenario.events
        ),
    )


def isolated(scenario: Scenario, group: int, param: int, index: int | None = None) -> Scenario:
    """The scenario reduced to one parameter, or to one element of it, its values written out."""
    events: list[Event] = []
    seen = len(scenario.groups) - 1
    late = group > seen
    kept: list[int] = []
    step = -1
    for e in scenario.events:
        match e:
            case Step(skipped):
                step += 1
                if (late and seen < group) or (group, param) in skipped:
                    continue
                kept.append(step)
                events.append(Step())
            case SetHyper(g, h):
                if g == group:
                    events.append(SetHyper(0, h))
            case AddGroup():
                seen += 1
            case Reload():
                events.append(e)
    fmt = FORMATS[scenario.dtype]
    p = scenario.all_groups[group].params[param]
    if not p.size:
        index = None  # no element to keep of an empty tensor
    pick = slice(None) if index is None else slice(index, index + 1)
    init = _floats(initial(p, fmt)[pick])
    grads = tuple(_floats(gradient(p, k, fmt)[pick]) for k in kept)
    alone = replace(p, init=Recipe("values", 0, init), grad=Recipe("values", 0, grads))
    if index is not None:
        alone = replace(alone, shape=(1,), layout="contiguous")
    hyper = dict(scenario.all_groups[group].hyper)
    return Scenario(scenario.spec, scenario.dtype, (Group(hyper, (alone,)),), tuple(events))


def _floats(x: Floats) -> tuple[float, ...]:
    return tuple(float(v) for v in x)


def with_company(scenario: Scenario) -> Scenario:
    """The scenario with one more parameter, of one element, ahead of those of the first group."""
    first = scenario.groups[0]
    company = Param((1,), Recipe("ones"), Recipe("normal"))
    groups = (replace(first, params=(company, *first.params)), *scenario.groups[1:])
    events = tuple(
        Step(tuple((g, k + (g == 0)) for g, k in e.skipped)) if isinstance(e, Step) else e
        for e in scenario.events
    )
    return replace(scenario, groups=groups, events=events)


def joined_at_start(scenario: Scenario) -> Scenario:
    """The scenario with every group there from the beginning."""
    events = tuple(e for e in scenario.events if not isinstance(e, AddGroup))
    return replace(scenario, groups=scenario.all_groups, events=events)


def trimmed(scenario: Scenario) -> Scenario:
    """The scenario without explicit gradients of steps that it does not take."""
    count = max(scenario.steps, 1)

    def cut(p: Param) -> Param:
        if len(p.grad.values) <= count:
            return p
        return replace(p, grad=replace(p.grad, values=p.grad.values[:count]))

    return map_params(scenario, cut)


def first_steps(scenario: Scenario, count: int) -> Scenario:
    """The scenario up to and including its ``count``-th step."""
    events: list[Event] = []
    for e in scenario.events:
        if isinstance(e, Step):
            if count == 0:
                break
            count -= 1
        events.append(e)
    while events and not isinstance(events[-1], Step):
        events.pop()
    return replace(scenario, events=tuple(events))
