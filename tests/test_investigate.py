"""Identification of implementations: deviations of every kind, played by the equations."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from optconform.examine import Settings
from optconform.identify import Identification
from optconform.implementation import Session, resolve
from optconform.interpreter import Interpreted, machine
from optconform.investigate import investigate, remaining
from optconform.lattice import lattice
from optconform.oracle.scalars import Profile
from optconform.probes import probes
from optconform.scenario import Scenario, SetHyper
from optconform.spec import Spec
from optconform.spec_file import load

NAMES = ("adadelta", "adagrad", "adam", "adamw", "rmsprop", "sgd")


class Unseen:
    """A session whose state nobody can read."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def state(self) -> list[list[Mapping[str, Any]]]:
        return [[{} for _ in group] for group in self._session.parameters()]


@dataclass(frozen=True)
class Played(Interpreted):
    """A variant, with its state in sight or not, whose lr may be kept from changing."""

    hidden: bool = False
    steady: bool = False

    def start(self, scenario: Scenario, spec: Spec) -> Any:
        session: Any = super().start(scenario, spec)
        return Unseen(session) if self.hidden else session

    def changeable(self, spec: Spec) -> list[str]:
        return [] if self.steady else list(super().changeable(spec))


def found(played: Played, spec: Spec, examples: int = 10) -> dict[str, Any]:
    return investigate(played, spec, Settings(examples=examples), lambda message: None)


@pytest.mark.parametrize("hidden", [False, True], ids=["seen", "hidden"])
@pytest.mark.parametrize("name", NAMES)
def test_combined_deviations_are_told_whole(name: str, hidden: bool) -> None:
    spec = load(name)
    several = [v for v in lattice(spec) if len(v) >= 2]
    for variant in random.Random(f"{name} {hidden}").sample(several, 2):
        answer = found(Played(machine(spec, dict(variant)), name, hidden=hidden), spec)
        assert answer["unique"] and answer["remaining"] == []
        assert dict(variant) in [answer["variant"], *answer["aliases"]], answer["explanation"]


@pytest.mark.parametrize(
    ("name", "variant"),
    [
        ("rmsprop", {"decay": "decoupled", "eps": "inside", "accumulator_init": "0.37"}),
        ("adadelta", {"accumulator_init": "3"}),
        ("adagrad", {"decay": "none", "accumulator_init": "0.33333334"}),
    ],
)
def test_any_number_at_which_a_state_starts_is_found(name: str, variant: dict[str, str]) -> None:
    spec = load(name)
    answer = found(Played(machine(spec, variant), name), spec)
    assert answer["unique"]
    assert variant in [answer["variant"], *answer["aliases"]], answer["explanation"]


def test_labels_of_one_formula_are_told_from_labels_that_nothing_separates_here() -> None:
    """Without a change of lr, decay by its square is decay by it."""
    spec = load("adamw")
    steady = found(Played(machine(spec, {}), "steady", steady=True), spec)
    squared = {"decay": "decoupled-lr-squared"}
    assert (steady["variant"], steady["unique"]) == ({}, True)
    assert squared in steady["aliases"] and squared in steady["only_here"]
    assert found(Played(machine(spec, {}), "free"), spec)["aliases"] == []
    early = found(Played(machine(spec, {"bias_correction": "first-only"}), "early"), spec)
    assert {"eps": "hat", "bias_correction": "first-only"} in early["aliases"]
    assert early["only_here"] == []


def test_what_remains_is_told_with_an_input_that_separates() -> None:
    spec = load("adamw")
    both = [{}, {"decay": "decoupled-lr-squared"}]
    answer = Identification("adamw", {}, Profile(), [], both, 526)
    (told,) = remaining(answer, spec, {}, changeable=())
    assert told["variant"] == both[1]
    assert "lr constant" in told["same"]
    assert len(set(told["input"]["lr"])) == 2
    assert told["input"]["takes"] is False
    (told,) = remaining(answer, spec, {}, changeable=("lr",))
    assert told["input"]["takes"] is True


def test_special_circumstances_do_not_hide_the_equations() -> None:
    spec = load("adam")
    (first_group_only,) = resolve("tests/subjects/wrong.py:FirstGroupOnly", "adam")
    answer = investigate(first_group_only, spec, Settings(examples=30), lambda message: None)
    assert (answer["variant"], answer["unique"]) == ({}, True)
    assert "drawn runs leave it; the first equation at fault is p ←" in answer["explanation"]


def test_what_is_followed_without_flags_is_told() -> None:
    (ignored,) = resolve("tests/subjects/wrong.py:MaximizeIgnored", "adam")
    answer = investigate(ignored, load("adam"), Settings(examples=5), lambda message: None)
    assert answer["variant"] is None
    assert "the first equation at fault is m ←" in answer["explanation"]
    assert "amsgrad, maximize off it follows the equations of the spec" in answer["explanation"]


@pytest.mark.parametrize("name", NAMES)
def test_probes_are_ordinary_numbers_under_every_flag(name: str) -> None:
    spec = load(name)
    made = probes(spec)
    flags = [n for n, h in spec.hypers.items() if h.is_flag]
    for flag in flags:
        assert {s.groups[0].hyper[flag] for s in made} == {False, True}
    for s in made:
        assert any(isinstance(e, SetHyper) and "lr" in e.hyper for e in s.events)
        for p in s.groups[0].params:
            sizes = [abs(x) for row in p.grad.values for x in row if x]
            assert max(sizes) <= 2 and min(sizes) >= 2.0**-12


def test_the_runs_in_which_it_raises_are_told() -> None:
    (subject,) = resolve("tests/subjects/hostile.py:RaisesInStep3", "sgd")
    settings = Settings(examples=6, steps=5, seed=0, hyper={})
    answer = investigate(subject, load("sgd"), settings, lambda message: None)
    assert (
        "runs it raised, the first time in step 3: RuntimeError: the third" in answer["explanation"]
    )
