"""From a session to a trace, and from a trace to what is said of it."""

from __future__ import annotations

from optconform.explain import diagnoses
from optconform.interpreter import Interpreted, machine
from optconform.lockstep import judge
from optconform.oracle.scalars import Profile
from optconform.scenario import Group, Param, Recipe, Scenario, Step
from optconform.spec_file import load
from optconform.trace import run

NORMAL = Param((3,), Recipe("normal", 1), Recipe("normal", 2))


def test_a_diagnosis_is_the_same_whatever_was_judged_before() -> None:
    """A variant with a state that the subject does not have makes nobody else's run a free one."""
    spec, other = load("adam"), load("adadelta")
    hyper = {**other.defaults, **spec.defaults, "eps": 0.5}
    scenario = Scenario("adam", "float32", (Group(hyper, (NORMAL,)),), (Step(), Step()))
    trace = run(Interpreted(machine(spec, {"eps": "inside"}), "inside"), scenario, spec)

    def told() -> list[tuple[str, bool]]:
        judged = judge(trace, spec, {}, profile=Profile())
        found = diagnoses(trace, spec, {}, Profile(), judged)
        return [(d.output, d.free) for d in found]

    before = told()
    assert before == [("p", False)]
    assert all(part.free for part in judge(trace, other, {}, profile=Profile()))
    assert told() == before
