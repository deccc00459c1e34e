"""The oracle beside a subject whose state cannot be seen: what rounds off a value that is off."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from optconform.draws import drawn
from optconform.formats import FORMATS
from optconform.implementation import Floats, Implementation, resolve
from optconform.lockstep import free_judge
from optconform.oracle.free import free_running
from optconform.oracle.judge import compare
from optconform.oracle.scalars import Profile
from optconform.scenario import Group, Param, Recipe, Scenario, Step
from optconform.spec import Spec, Value, program
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


# ---- what turns at zero ----------------------------------------------------------------------

TURN = """
    name = "turn"
    title = "T"
    cite = "x"
    hyper.lr = { default = 1.0, domain = "[0, inf)" }
    hyper.k = { default = 0.5, domain = "[0, inf)" }
    [step]
    w = "LAST - grad if t == 13 else p - grad"
    p = "END if t == 13 else w"
"""
"""Twelve steps whose roundings all lie on one side, and one that comes close to zero."""


def turned(
    path: Path, last: str, end: str, k: float, runs: Sequence[Floats], seen: Floats
) -> tuple[int, int]:
    """Failed and undecided elements of a float32 run, of a start and thirteen gradients."""
    path.write_text(TURN.replace("LAST", last).replace("END", end))
    spec = load(str(path))
    rows = [{"lr": 1.0, "k": k, "t": t, "lr0": 1.0} for t in range(1, 14)]
    programs = [program(spec, {}, row, int(row["t"])) for row in rows]
    start, *grads = runs
    outcome = free_running(
        programs, rows, {"p": start}, grads, fmt=FORMATS["float32"], profile=Profile()
    )[-1]
    judged = compare(outcome, seen[None, :], start[None, :])
    return int(judged.failed.sum()), int(outcome.undecided.sum())


def test_the_magnitude_of_what_may_have_either_sign_is_open(tmp_path: Path) -> None:
    """The exact parameter falls below what is held, and is negative in the end; what is held is
    not, and doubles."""
    u, n = 2.0**-24, 200
    small = np.full(n, 0.45 * u)  # 1 - small rounds to 1
    grads = [small] * 12 + [1 - u * (np.arange(n) // 4)]
    left = 1 - grads[-1]
    runs = [np.ones(n), *grads]
    for end in ("w + abs(w)", "abs(w) + w", "max(w, -w) + w", "sign(w) * w + w"):
        path = tmp_path / f"{end}.toml"
        failed, undecided = turned(path, "p", end, 0.5, runs, 2 * left)
        assert failed == 0, end
        assert 0 < undecided < n, end


def test_the_roundings_of_the_step_itself_may_turn_it_too(tmp_path: Path) -> None:
    rounded = FORMATS["float32"].round
    u, n = 2.0**-24, 60
    for number, k in enumerate(np.random.default_rng(1).uniform(0.255, 0.33, 40)):
        start = 1 + 2 * u * np.arange(20, 20 + n)  # start - 0.99 u rounds to start
        one = rounded(rounded(np.array(k)) * start)
        tripled = rounded(rounded(one + one) + one)
        grad = tripled - u
        runs = [start, *[np.full(n, 0.99 * u)] * 12, grad]
        path = tmp_path / f"{number}.toml"
        last = "k*p + k*p + k*p"
        assert turned(path, last, "max(w, 0)", float(k), runs, tripled - grad)[0] == 0, k


def test_the_bound_is_the_same_in_every_process() -> None:
    """Names are hashed otherwise in each; a sum in their order would end in other bits."""
    code = (
        "import hashlib\n"
        "from optconform.draws import drawn\n"
        "from optconform.formats import FORMATS\n"
        "from optconform.implementation import resolve\n"
        "from optconform.lockstep import free_judge\n"
        "from optconform.oracle.scalars import Profile\n"
        "from optconform.spec_file import load\n"
        "from optconform.trace import run\n"
        "spec, told = load('rmsprop'), hashlib.sha256()\n"
        "(subject,) = [i for i in resolve('reference', None) if i.spec == spec.name]\n"
        "for scenario in drawn(spec, dtype='float32', examples=8, seed=1):\n"
        "    for part in free_judge(run(subject, scenario, spec), spec, {}, profile=Profile()):\n"
        "        for judged in part.outputs.values():\n"
        "            told.update(judged.outcome.error.tobytes())\n"
        "print(told.hexdigest())\n"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": str(seed)},
            check=True, capture_output=True, text=True,
        ).stdout
        for seed in range(4)
    }  # fmt: skip
    assert len(told) == 1
