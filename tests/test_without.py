"""Implementations that lack something, or that count the steps of all parameters together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from optconform.draws import drawn
from optconform.formats import FORMATS
from optconform.implementation import Unsupported
from optconform.lockstep import Floats, failing, judge
from optconform.oracle.scalars import Profile
from optconform.scenario import (
    AddGroup,
    Group,
    Param,
    Recipe,
    Reload,
    Scenario,
    SetHyper,
    Step,
    initial,
)
from optconform.spec import Spec, Value
from optconform.spec_file import load
from optconform.trace import run
from optconform.without import LACKS, without

ADAGRAD = load("adagrad")
SOME = Param((5,), Recipe("normal", 1), Recipe("normal", 1), "strided")
GROUP = Group({**ADAGRAD.defaults, "lr": 0.1, "lr_decay": 0.5}, (SOME, SOME))

FULL = Scenario(
    "adagrad",
    "float64",
    (GROUP, GROUP),
    (Step(((1, 0),)), AddGroup(GROUP), SetHyper(2, {"lr": 0.5}), Reload(), Step(((0, 1), (2, 0)))),
)


@dataclass
class Together:
    """Adagrad in numpy; t counts the steps of the optimizer, or those of each parameter."""

    clock: str
    shared: bool

    name, library, version, spec, slow = "numpy:Adagrad", "numpy", "", "adagrad", False

    @property
    def variant(self) -> Mapping[str, str]:
        return {}

    def fixed(self, spec: Spec) -> dict[str, Value]:
        return {}

    def changeable(self, spec: Spec) -> Sequence[str]:
        return ()

    def repro(self, scenario: Scenario, spec: Spec) -> str:
        return ""

    def start(self, scenario: Scenario, spec: Spec) -> Any:
        return Session(self.shared, scenario)


class Session:
    def __init__(self, shared: bool, scenario: Scenario) -> None:
        (group,) = scenario.groups
        self.shared, self.hyper = shared, group.hyper
        self.p = [initial(x, FORMATS["float64"]) for x in group.params]
        self.s = [np.zeros_like(x) for x in self.p]
        self.t = [0] * len(self.p)

    def step(self, gradients: Sequence[Sequence[Floats | None]]) -> None:
        for k, g in enumerate(gradients[0]):
            self.t[k] += self.shared or g is not None
            if g is not None:
                self.s[k] = self.s[k] + g * g
                lr = self.hyper["lr"] / (1 + (self.t[k] - 1) * self.hyper["lr_decay"])
                self.p[k] = self.p[k] - lr * (g / (np.sqrt(self.s[k]) + self.hyper["eps"]))

    def parameters(self) -> list[list[Floats]]:
        return [self.p[:]]

    def state(self) -> list[list[Mapping[str, Floats]]]:
        return [[{"s": s} for s in self.s]]

    def gradients(self) -> None:
        return None

    def set_hyper(self, group: int, hyper: Mapping[str, Value]) -> None:
        raise Unsupported

    def add_group(self, group: Group) -> None:
        raise Unsupported

    def reload(self) -> None:
        raise Unsupported


def test_who_lacks_nothing_gets_everything() -> None:
    assert without(FULL, ()) is FULL


@pytest.mark.parametrize("name", LACKS)
def test_each_thing_is_left_out(name: str) -> None:
    made = without(FULL, (name,))
    kinds = [type(e) for e in made.events]
    steps = [e for e in made.events if isinstance(e, Step)]
    assert len(steps) == 2  # these stay, whatever is lacking
    assert (len(made.groups), AddGroup in kinds, SetHyper in kinds) == {
        "groups": (1, False, False),
        "add-group": (2, False, False),
    }.get(name, (2, True, True))
    assert (Reload in kinds) == (name != "reload")
    assert any(s.skipped for s in steps) == (name != "none-gradient")
    assert all(g < len(made.all_groups) for s in steps for g, _ in s.skipped)
    layouts = {p.layout for g in made.all_groups for p in g.params}
    assert layouts == ({"contiguous"} if name == "layouts" else {"strided"})


def test_drawn_scenarios_do_without() -> None:
    made = drawn(
        ADAGRAD, dtype="float32", examples=40, seed=0, lacks=("groups", "none-gradient", "layouts")
    )
    assert len(made) == 40
    for s in made:
        assert len(s.all_groups) == 1
        assert not any(e.skipped for e in s.events if isinstance(e, Step))
        assert not any(e.group for e in s.events if isinstance(e, SetHyper))


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("clock", ["parameter", "optimizer"])
def test_t_counts_what_the_implementation_says(clock: str, shared: bool) -> None:
    late = Scenario("adagrad", "float64", (GROUP,), (Step(((0, 1),)), Step(), Step()))
    trace = run(Together(clock, shared), late, ADAGRAD)
    assert trace.crash is None
    wrong = failing(judge(trace, ADAGRAD, {}, profile=Profile()))
    assert wrong == (shared != (clock == "optimizer"))
