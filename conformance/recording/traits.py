"""What scenarios have in common: where a difference shows, and where it does not."""

from collections.abc import Sequence

from ..scenario import AddGroup, Reload, Scenario, SetHyper, Step


def traits(scenario: Scenario, plainest: Scenario) -> set[str]:
    """What is special about a scenario, beside the plainest of its corpus."""
    found: set[str] = set()
    usual = plainest.groups[0].hyper
    for group in scenario.all_groups:
        found |= {f"{n} other than {usual.get(n)!r}" for n, v in group.hyper.items()
                  if v != usual.get(n)}  # fmt: skip
        found |= {f"{n} = {v!r}" for n, v in group.hyper.items() if v != usual.get(n)}
        for p in group.params:
            if p.layout != "contiguous" and len(p.shape) > 1:
                found.add("non-contiguous tensors")
            if not p.shape:
                found.add("a parameter of no dimensions")
            found.add(f"{p.grad.kind} gradients")
    if len(scenario.groups) > 1:
        found.add("several groups")
    for event in scenario.events:
        match event:
            case Reload():
                found.add("a state that is saved and loaded")
            case AddGroup():
                found.add("a group that joins in mid-training")
            case SetHyper(_, hyper):
                found |= {f"{n} changed between steps" for n in hyper}
            case Step(skipped) if skipped:
                found.add("a missing gradient")
    return found - traits(plainest, plainest) if scenario is not plainest else found


def telling(differing: Sequence[Scenario], equal: Sequence[Scenario]) -> str:
    """The traits of exactly the scenarios that differ, as words; nothing if there are none."""
    if not differing or not equal:
        return ""
    plainest = equal[0] if equal[0].steps >= differing[0].steps else differing[0]
    alike = set.intersection(*(traits(s, plainest) for s in differing))
    elsewhere: set[str] = set().union(*(traits(s, plainest) for s in equal))
    found = sorted(alike - elsewhere, key=lambda x: (len(x), x))
    return f"those with {' and '.join(found[:2])}" if found else ""
