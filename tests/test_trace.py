"""From a session to a trace, and from a trace to what is said of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from optconform.draws import drawn
from optconform.edits import with_values
from optconform.explain import diagnoses
from optconform.formats import FORMATS
from optconform.implementation import Floats, repro_of
from optconform.interpreter import Interpreted, machine
from optconform.lockstep import failing, judge
from optconform.minimise import Focus, minimise
from optconform.oracle.scalars import Profile
from optconform.play import turns
from optconform.recording.worker import played
from optconform.scenario import AddGroup, Group, Param, Recipe, Scenario, Step, initial
from optconform.spec import Spec, Value
from optconform.spec_file import load
from optconform.trace import run

SGD = load("sgd")
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


class Live:
    """SGD in numpy that hands out the arrays it works on: nothing keeps a session from it."""

    def __init__(self, scenario: Scenario) -> None:
        self.fmt = FORMATS[scenario.dtype]
        self.lrs: list[Value] = []
        self.held: list[list[Floats]] = []
        for group in scenario.groups:
            self.add_group(group)

    def add_group(self, group: Group) -> None:
        self.lrs.append(group.hyper["lr"])
        self.held.append([initial(p, self.fmt) for p in group.params])

    def step(self, gradients: Sequence[Sequence[Floats | None]]) -> None:
        for lr, params, grads in zip(self.lrs, self.held, gradients, strict=True):
            for p, grad in zip(params, grads, strict=True):
                if grad is not None:
                    grad *= lr  # which is its own now
                    p -= grad

    def parameters(self) -> list[list[Floats]]:
        return self.held

    def state(self) -> list[list[Mapping[str, Floats]]]:
        return [[{} for _ in some] for some in self.held]

    def gradients(self) -> None:
        """Nobody's business."""

    def set_hyper(self, group: int, hyper: Mapping[str, Value]) -> None:
        self.lrs[group] = hyper["lr"]

    def reload(self) -> None:
        """Nothing is lost."""


@dataclass
class Started:
    """An implementation of which nothing is asked but sessions."""

    session: type[Live]
    made: list[Live]

    def start(self, scenario: Scenario, spec: Spec) -> Live:
        self.made.append(self.session(scenario))
        return self.made[-1]


def group(*params: Param) -> Group:
    off = {"lr": 0.5, "momentum": 0.0, "weight_decay": 0.0, "dampening": 0.0}
    return Group({**SGD.defaults, **off}, params or (NORMAL,))


def driven(session: type[Live], scenario: Scenario) -> tuple[Any, Live]:
    implementation: Any = Started(session, [])
    return run(implementation, scenario, SGD), implementation.made[0]


JOINED = Scenario("sgd", "float64", (group(),), (Step(), AddGroup(group()), Step(), Step()))


def test_a_session_may_hand_out_the_arrays_that_it_works_on() -> None:
    trace, session = driven(Live, JOINED)
    assert len(session.held) == 2  # and nobody adds to its lists
    assert trace.crash is None and not trace.broken
    assert [len(rows) for rows in trace.rows.values()] == [3, 2]
    assert not failing(judge(trace, SGD, {}, profile=Profile()))


def test_a_recording_holds_every_value_that_there_was() -> None:
    _, arrays = played(Started(Live, []), JOINED, SGD)  # type: ignore[arg-type]
    assert (
        len({tuple(x) for x in np.split(arrays["param"], 8)}) == 6
    )  # of three and two steps, and the start


class FewNumbers(Live):
    def parameters(self) -> list[list[Floats]]:
        return [[p[:-1] for p in some] for some in self.held]


class FewParameters(Live):
    def parameters(self) -> list[list[Floats]]:
        return [some[:-1] for some in self.held]


class WideState(Live):
    def state(self) -> list[list[Mapping[str, Floats]]]:
        return [[{"b": np.zeros((2, 3))} for _ in some] for some in self.held]


@pytest.mark.parametrize(
    "session, sentence",
    [
        (FewNumbers, "parameters() gives 2 numbers for parameter 0 of group 0, which has 3"),
        (FewParameters, "parameters() gives [0] parameters by group in place of [1]"),
        (WideState, "state() gives 6 numbers for parameter 0 of group 0, which has 3"),
    ],
)
def test_a_session_that_shows_something_else_is_told_so(session: type[Live], sentence: str) -> None:
    trace, _ = driven(session, Scenario("sgd", "float64", (group(),), (Step(),)))
    assert str(trace.crash) == sentence
    assert trace.crash_step == -1


class WithoutRounding(Live):
    def parameters(self) -> list[list[Floats]]:
        return [[p + 2.0**-40 for p in some] for some in self.held]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_a_parameter_holds_numbers_of_its_dtype(dtype: str) -> None:
    """Who computes in doubles whatever it is asked for passes every bound."""
    trace, _ = driven(WithoutRounding, Scenario("sgd", dtype, (group(),), (Step(),)))
    if dtype == "float64":
        assert trace.crash is None
    else:
        assert f"for parameter 0 of group 0, which is no number of {dtype}" in str(trace.crash)


def test_a_finding_is_not_lost_with_its_script() -> None:
    class Scriptless(Started):
        name = "mine:SGD"
        script: Any = ZeroDivisionError("no\nscript")

        def repro(self, scenario: Scenario, spec: Spec) -> str:
            if isinstance(self.script, Exception):
                raise self.script
            return self.script  # type: ignore[no-any-return]

    made: Any = Scriptless(Live, [])
    assert repro_of(made, JOINED, SGD) == (
        "# no script: repro() of mine:SGD raised ZeroDivisionError: no script\n"
    )
    made.script = None
    assert repro_of(made, JOINED, SGD) == "# no script: repro() of mine:SGD gave a NoneType\n"
    made.script = "print(1)\n"
    assert repro_of(made, JOINED, SGD) == "print(1)\n"


def test_the_shape_in_which_arrays_come_does_not_matter() -> None:
    class Shaped(Live):
        def parameters(self) -> list[list[Floats]]:
            return [[p.reshape(3, 1).astype(np.float32) for p in some] for some in self.held]

    scenario = Scenario("sgd", "float32", (group(),), (Step(),))
    trace, _ = driven(Shaped, scenario)
    assert trace.crash is None
    assert trace.rows[0, 0][0].observed["p"].shape == (3,)


def test_what_a_subject_does_to_its_process_does_not_reach_what_it_is_fed() -> None:
    """Else an underflow in a gradient that is drawn would be told as its exception."""

    class Strict(Live):
        def step(self, gradients: Sequence[Sequence[Floats | None]]) -> None:
            with np.errstate(all="ignore"):
                super().step(gradients)
            np.seterr(all="raise")

    tiny = Param((64,), Recipe("wide", 1), Recipe("subnormal", 1))
    steps = (Step(),) * 3
    with np.errstate(all="ignore"):
        trace, _ = driven(Strict, Scenario("sgd", "float64", (group(tiny),), steps))
    assert trace.crash is None
    assert len(trace.rows[0, 0]) == 3


@pytest.mark.parametrize("greedy", [False, True], ids=["none", "every-other"])
def test_whatever_the_minimiser_tries_can_be_played(greedy: bool) -> None:
    """What raises is the subject, then, and never what it was given."""
    made: list[Scenario] = []

    def fails(candidate: Scenario) -> Focus | None:
        assert len(list(turns(candidate))) == len(candidate.events)
        made.append(candidate)
        if not greedy or len(made) % 2 or not candidate.steps:
            return None
        return candidate.steps, 0, 0, 0

    scenarios = drawn(SGD, dtype="float32", examples=30, seed=0, max_steps=4)
    for s in scenarios:
        for scenario in (s, with_values(s)):
            minimise(scenario, (scenario.steps, 0, 0, 0), fails, SGD)
    assert len(made) > 500
