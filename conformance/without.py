"""Scenarios for implementations that lack something: the same scenario without it.

An implementation says what it lacks in an attribute ``lacks``, for frameworks differ in what an
optimizer can be asked at all: most have no parameter groups, and where arrays are immutable there
is no gradient that is None.  What is lacking is left out of every scenario before it is run, so
that the rest of it is still seen.
"""

from collections.abc import Collection
from dataclasses import replace

from .edits import map_params
from .scenario import AddGroup, Event, Reload, Scenario, SetHyper, Step

LACKS = {
    "groups": "one setting holds for all parameters",
    "add-group": "no group can join in mid-training",
    "none-gradient": "every parameter has a gradient in every step",
    "reload": "the state cannot be saved and loaded",
    "layouts": "the user has no say in how arrays lie in memory",
}
"""What an implementation may lack, and what that means."""


def without(scenario: Scenario, lacks: Collection[str]) -> Scenario:
    """``scenario`` less what an implementation lacks; the same scenario where it lacks nothing.

    Of several groups the first is kept.
    """
    if not lacks:
        return scenario
    groups = scenario.groups[:1] if "groups" in lacks else scenario.groups
    joins = not {"groups", "add-group"} & set(lacks)
    count = len(scenario.all_groups) if joins else len(groups)
    events: list[Event] = []
    for event in scenario.events:
        match event:
            case AddGroup() if not joins:
                continue
            case Reload() if "reload" in lacks:
                continue
            case SetHyper(group, _) if group >= count:
                continue
            case Step(skipped):
                kept = () if "none-gradient" in lacks else skipped
                events.append(Step(tuple(s for s in kept if s[0] < count)))
            case _:
                events.append(event)
    made = replace(scenario, groups=groups, events=tuple(events))
    if "layouts" in lacks:
        made = map_params(made, lambda p: replace(p, layout="contiguous"))
    return made
