"""The oracle beside a subject whose state cannot be seen: what rounds off a value that is off."""

from __future__ import annotations

import pytest

from optconform.draws import drawn
from optconform.implementation import Implementation, resolve
from optconform.lockstep import free_judge
from optconform.oracle.scalars import Profile
from optconform.scenario import Group, Param, Recipe, Scenario, Step
from optconform.spec import Spec, Value
from optconform.spec_file import load
from optconform.trace import run

SWINGING: dict[str, Value] = {
    "lr": 0.1, "weight_decay": 10.0, "momentum": 0.9, "dampening": 0.0, "nesterov": True,
    "maximize": False,
}  # fmt: skip
"""p - lr * weight_decay * p is exactly zero: what a subject has left there is what it rounded off,
and that is rounded in the next step."""


def ratios(subject: Implementation, scenario: Scenario, spec: Spec) -> tuple[int, float, int]:
    """Failed checks, the largest distance in bounds, and decided checks."""
    judged = free_judge(run(subject, scenario, spec), spec, {}, profile=Profile())
    found = [j for part in judged for j in part.outputs.values()]
    return (
        sum(int(j.failed.sum()) for j in found),
        max((float(j.ratio.max(initial=0)) for j in found), default=0.0),
        sum(int((~j.outcome.undecided).sum()) for j in found),
    )


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("start", ["normal", "ones"])
def test_what_is_left_of_a_spike_is_rounded_too(dtype: str, start: str) -> None:
    spec = load("sgd")
    param = Param((64,), Recipe(start, 1), Recipe("spike", 2))
    scenario = Scenario("sgd", dtype, (Group(SWINGING, (param,)),), (Step(),) * 8)
    subject = resolve("reference", None)
    (right,) = [i for i in subject if i.spec == "sgd"]
    failed, ratio, decided = ratios(right, scenario, spec)
    assert (failed, decided > 0) == (0, True)
    assert ratio <= 1
    (wrong,) = resolve("tests/subjects/wrong.py:SgdSignFlipped", "sgd")
    assert ratios(wrong, scenario, spec)[0] > 0


@pytest.mark.parametrize("name", ["sgd", "adagrad", "rmsprop", "adadelta", "adam", "adamw"])
def test_no_alarm_in_sixteen_bits(name: str) -> None:
    spec = load(name)
    (subject,) = [i for i in resolve("reference", None) if i.spec == name]
    decided = 0
    for scenario in drawn(spec, dtype="bfloat16", examples=40, seed=7):
        failed, ratio, some = ratios(subject, scenario, spec)
        assert failed == 0, (ratio, scenario.groups[0].hyper)
        decided += some
    assert decided > 1000
