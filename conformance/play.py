"""What happens in a scenario, one event after the other, and how a session is told of it."""

from collections.abc import Iterator, Sequence

from .formats import FORMATS
from .implementation import Floats, Session
from .scenario import AddGroup, Event, Reload, Scenario, SetHyper, Step, gradient

Gradients = Sequence[Sequence[Floats | None]]


def turns(scenario: Scenario) -> Iterator[tuple[Event, Gradients]]:
    """Each event, and the gradients if it is a step."""
    fmt = FORMATS[scenario.dtype]
    groups = list(scenario.groups)
    step = 0
    for event in scenario.events:
        grads: Gradients = ()
        if isinstance(event, AddGroup):
            groups.append(event.group)
        elif isinstance(event, Step):
            grads = [
                [
                    None if (g, k) in event.skipped else gradient(p, step, fmt)
                    for k, p in enumerate(group.params)
                ]
                for g, group in enumerate(groups)
            ]
            step += 1
        yield event, grads


def act(session: Session, event: Event, grads: Gradients) -> None:
    """Let it happen.  A step is given copies: what it does to its gradients it does to its own."""
    match event:
        case Step():
            session.step([[None if x is None else x.copy() for x in some] for some in grads])
        case SetHyper(g, hyper):
            session.set_hyper(g, hyper)
        case AddGroup(group):
            session.add_group(group)
        case Reload():
            session.reload()
