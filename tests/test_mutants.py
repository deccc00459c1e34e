"""The judge on trial: mutants are made, run, told apart from what they equal, and killed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from optconform import power
from optconform.agreement import agreement
from optconform.brinks import brinks
from optconform.cli import main
from optconform.detect import smallest, thresholds
from optconform.equivalence import cases, proof, reason
from optconform.formats import FORMATS
from optconform.interpreter import Interpreted, machine
from optconform.lattice import deviations
from optconform.mutants import OPERATORS, Mutant, mutants
from optconform.power import Drawing, Look, Trial
from optconform.scenario import Group, Param, Recipe, Scenario, Step
from optconform.spec import Variant
from optconform.spec_file import bundled, load
from optconform.trace import run

QUICK = ("--jobs", 1, "--examples", 14, "--dtype", "float32", "--dtype", "float64")
FEW = Drawing(examples=14, dtypes=("float32", "float64"))

LION = """\
name = "lion"
title = "Lion"
cite = "Chen et al. 2023"
[hyper]
lr = { default = 1e-2, domain = "[0, inf)" }
beta1 = { default = 0.9, domain = "[0, 1)" }
beta2 = { default = 0.99, domain = "[0, 1)" }
[state]
m = 0
[step]
u = "sign(beta1 * m + (1 - beta1) * grad)"
m = "ema(m, grad, beta2)"
p = "p - lr * u * abs(p)"
"""


def made(name: str, variant: Variant | None = None) -> list[Mutant]:
    return mutants(machine(load(name), variant or {}))


def one(name: str, text: str, variant: Variant | None = None) -> tuple[Trial, Mutant]:
    """The mutant of a program whose description ends with ``text``."""
    trial = Trial(name, tuple((variant or {}).items()), FEW)
    (found,) = (m for m in mutants(trial.original) if str(m).endswith(text))
    return trial, found


# ---- generation ------------------------------------------------------------------------------


def test_generation_is_deterministic() -> None:
    first, second = ([(str(m), m.machine.memory, m.machine.inits) for m in made("adam")]
                     for _ in range(2))  # fmt: skip
    assert first == second
    assert len({str((memory, inits)) for _, memory, inits in first}) == len(first) > 400


def test_every_operator_occurs(tmp_path: Path) -> None:
    path = tmp_path / "lion.toml"
    path.write_text(LION)
    assert {m.operator for m in made("adam")} == set(OPERATORS) - {"magnitude"}
    assert {m.operator for m in made(str(path))} >= {"magnitude", "drop", "sign", "hyper-swapped"}


@pytest.mark.parametrize(
    "text",
    [
        "root in denom: sqrt(v_hat) + eps -> sqrt(v_hat + eps)",
        "root in denom: sqrt(v_hat) -> v_hat",
        "root in denom: sqrt(v_hat) -> sqrt(v_max if amsgrad else v) / (1 - beta2**t)",
        "hyper-swapped in every equation: beta1 and beta2",
        "t in every equation: t - 1 for t",
        "t in bias_correction2: t + 1 for t in beta2**t",
        "drop in v: (1 - beta2) * g * g -> (1 - beta2) * g",
        "drop in bias_correction1: 1 - beta1**t -> 1",
        "drop in denom: sqrt(v_hat) + eps -> sqrt(v_hat)",
        "drop in p: p - update -> p",
        "sign in p: p - update -> p + update",
        "invert in update: lr * m_hat / denom -> lr * m_hat * denom",
        "scope in p: p - update -> - (m_hat - p) * lr / denom",
        "maximum in v_max: max(old v_max, v) -> v",
        "condition in v_hat: v_max if amsgrad else v -> v",
        "condition in g: - grad if maximize else grad -> grad if maximize else - grad",
        "wrong-tensor in m_hat: old m for m in m / (1 - beta1**t)",
        "wrong-tensor in update: m for m_hat in lr * m_hat / denom",
        "previous-step in grad: grad of the step before, wherever it is used",
        "not-written in v: v keeps its old value",
        "wrong-written in m: m receives v",
        "initial in v: v starts at 1.0",
        "sign in g: - grad -> grad",
        "hyper-ignored in every equation: 0.9 for beta1",
        "hyper-stale in every equation: the first lr for lr",
        "power in bias_correction1: beta1**t -> beta1 * t",
        "square in update: lr * m_hat / denom -> lr * m_hat * lr / denom",
        "perturbed in every equation: beta2 * (1 + 1e-7) for beta2",
    ],
)
def test_the_faults_that_people_make_are_among_them(text: str) -> None:
    assert text in map(str, made("adam"))


def test_decay_and_update_change_places() -> None:
    before = "p * (1 - lr * weight_decay) - update -> (p - update) * (1 - lr * weight_decay)"
    after = "moved * (1 - lr * weight_decay) -> p * (1 - lr * weight_decay) - update"
    assert f"scope in p: {before}" in map(str, made("adamw"))
    assert f"scope in p: {after}" in map(str, made("adamw", {"decay_order": "after"}))


def test_deviations_are_every_value_of_every_axis() -> None:
    for name in bundled():
        spec = load(name)
        found = deviations(spec)
        for axis in spec.axes.values():
            for value in axis.choices:
                assert any(v.get(axis.name, axis.default) == value for v in found)


# ---- the interpreter -------------------------------------------------------------------------


def test_the_interpreter_computes_the_equations() -> None:
    spec = load("sgd")
    hyper = {**spec.defaults, "lr": 0.5, "momentum": 0.75, "weight_decay": 0.25}
    grads = ((1.0, -2.0), (0.5, 4.0))
    param = Param((2,), Recipe("values", 0, (3.0, 5.0)), Recipe("values", 0, grads))
    scenario = Scenario("sgd", "float32", (Group(hyper, (param,)),), (Step(), Step()))
    rows = run(Interpreted(machine(spec, {}), "sgd"), scenario, spec).rows[0, 0]
    p, b = np.array([3.0, 5.0]), np.zeros(2)
    for row, grad in zip(rows, grads, strict=True):
        g = np.array(grad) + 0.25 * p
        b = g if row.scalars["t"] == 1 else 0.75 * b + g
        p = p - 0.5 * b
        assert row.observed["p"].tolist() == p.tolist()
        assert row.observed["b"].tolist() == b.tolist()


@pytest.mark.parametrize("name", bundled())
def test_the_control_conforms(name: str) -> None:
    trial = Trial(name, (), Drawing(examples=14, dtypes=tuple(FORMATS)))
    failed, decided = trial.control()
    assert failed == "" and decided > 5000


# ---- equivalence -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "variant", "text", "reason"),
    [
        ("sgd", {}, "b starts at 1.0", "the same expression in each of 28 cases"),
        ("sgd", {}, "g for u in u + momentum * b", "the same rational function in each of 28"),
        ("rmsprop", {}, "b if momentum > 0 else u -> b", "the same rational function in each"),
        ("adadelta", {"eps": "none"}, "update: lr * delta -> delta", "where a never changes"),
        ("adagrad", {}, "the first initial_accumulator_value for initial_accumulator_value",
         "the same expression"),
    ],
)  # fmt: skip
def test_equivalents_are_proved(name: str, variant: Variant, text: str, reason: str) -> None:
    trial, mutant = one(name, text, variant)
    fate = trial.fate(mutant)
    assert fate.verdict == "equivalent" and reason in fate.reason


def test_proofs_and_runs_agree() -> None:
    """Two methods that share nothing find the same mutants."""
    for name in ("sgd", "rmsprop"):
        original = machine(load(name), {})
        for mutant in mutants(original)[::6]:
            proved = proof(original, mutant.machine) is not None
            assert proved == (agreement(original, mutant.machine) is not None), str(mutant)


def test_what_is_off_under_a_sign_is_found_at_its_brink() -> None:
    """One gradient of ten million shows it otherwise; that of a factor of all of it, none does."""
    trial, mutant = one("lion", "every equation: beta1 * (1 + 1e-7) for beta1")
    assert agreement(trial.original, mutant.machine) is None
    assert trial.fate(mutant).verdict == "killed"
    trial, mutant = one("lion", "c: (beta1 * old m + (1 - beta1) * g) * (1 + 1e-3)")
    assert trial.fate(mutant).verdict == "equivalent"


@pytest.mark.parametrize("dtype", FORMATS)
def test_gradients_at_the_brink_are_on_either_side_of_it(dtype: str) -> None:
    spec = load("lion")
    found = list(brinks(spec, dtype=dtype, fixed={}, seed=0))
    assert len(found) == 3  # the sign of c, of c with decay in it, of the average
    rows = run(Interpreted(machine(spec, {}), "lion"), found[0], spec).rows[0, 0]
    for row in rows[1:]:
        c = 0.9 * row.start["m"] + 0.1 * row.grad
        assert (c > 0).sum() > 16 and (c < 0).sum() > 16
        close = abs(c) < (1e-2 + 2 * FORMATS[dtype].unit) * abs(0.1 * row.grad)
        assert close.sum() > 60
    assert not any(list(brinks(load(n), dtype=dtype, fixed={}, seed=0)) for n in ("adam", "adamax"))


def test_a_formula_that_avoids_0_over_0_is_another() -> None:
    """0/sqrt(v) and 0 are one rational function, and not one program where v is 0."""
    text = "drop in delta: sqrt(old a) * g / sqrt(v) -> sqrt(old a) * g"
    trial, mutant = one("adadelta", text, {"eps": "none"})
    assert proof(trial.original, mutant.machine) is not None
    assert reason(trial.original, mutant.machine) is None
    assert trial.fate(mutant).verdict == "killed"


def test_cases_are_complete() -> None:
    spec = load("sgd")
    found = cases(spec, ("momentum != 0", "nesterov", "t == 1"))
    assert found is not None
    assert len(set(found and [(c.truths, tuple(c.constants.items())) for c in found])) == len(found)
    for case in found:
        zero = "momentum" in case.constants
        assert zero == ("momentum != 0" not in case.truths)
        assert ("t" in case.constants) == ("t == 1" in case.truths) or case.constants["t"] != 1
        if "nesterov" in case.truths:
            assert case.constants["dampening"] == 0 and not zero
    assert cases(spec, ("momentum < lr",)) is None


# ---- power -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", bundled())
def test_a_sample_of_mutants_is_killed(name: str) -> None:
    trial = Trial(name, (), FEW)
    sample = mutants(trial.original)[::24]
    fates = {str(m): trial.fate(m) for m in sample}
    assert {m: f for m, f in fates.items() if f.verdict == "survived"} == {}
    assert sum(f.verdict == "killed" for f in fates.values()) > 0.8 * len(sample)
    assert all(0 < f.scenarios <= 28 and f.checks for f in fates.values() if f.verdict == "killed")


def test_a_blind_judge_is_found_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen = power.look

    def blind(*arguments: object) -> Look:
        found = seen(*arguments)  # type: ignore[arg-type]
        return Look("", found.checks, found.decided, found.nearest)

    monkeypatch.setattr(power, "look", blind)
    trial, mutant = one("adam", "sign in p: p - update -> p + update")
    fate = trial.fate(mutant)
    assert (fate.verdict, fate.scenarios) == ("survived", 28) and fate.nearest > 1
    path = tmp_path / "lion.toml"
    path.write_text(LION)
    assert status("mutants", path, "--jobs", 1, "--examples", 2, "--dtype", "float32") == 1


def test_a_wrong_control_is_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Trial, "control", lambda self: ("p in float32", 1))
    monkeypatch.setattr(Trial, "fates", lambda self: [])
    assert status("mutants", "sgd", "--jobs", 1, "--variant", "decay=none") == 1
    assert "THE CONTROL FAILS: p in float32" in capsys.readouterr().out


# ---- detectability ---------------------------------------------------------------------------


def test_bisection_finds_the_smallest() -> None:
    assert smallest(lambda d: d >= 3e-5) == pytest.approx(10**-4.5)
    assert smallest(lambda d: d > 0) == pytest.approx(1e-17)
    assert smallest(lambda d: True) == 0.0
    assert smallest(lambda d: False) is None
    assert smallest(lambda d: d == 1.0) == 1.0


def test_the_judge_sees_what_tolerances_do_not() -> None:
    found = {t.hyper: t for t in thresholds("sgd", "float32", FEW)}
    lr, momentum = found["lr"], found["momentum"]
    assert lr.judge is not None and lr.close_parameters is not None
    assert lr.judge < 1e-5 < 1e-4 < lr.close_parameters
    assert momentum.judge is not None and momentum.judge < 1e-5
    assert momentum.close_all is None  # 0 by default, and tested at its default


# ---- the commands ----------------------------------------------------------------------------


def status(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(a) for a in arguments])
    assert isinstance(left.value.code, int)
    return left.value.code


def test_a_spec_that_nobody_has_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out, told = tmp_path / "lion.toml", tmp_path / "m.json", tmp_path / "m.md"
    path.write_text(LION)
    assert status("mutants", path, *QUICK, "--json", out, "--markdown", told) == 0
    said = capsys.readouterr().out
    assert "lion: " in said and "0 survived" in said
    text = out.read_text()
    data = json.loads(text)
    assert data["schema"] == "optconform/mutants/1"
    (program,) = data["programs"]
    assert program["control"] == "conforms" and program["survived"] == 0
    assert len(data["mutants"]) == program["killed"] + program["equivalent"]
    assert all(json.dumps(m) in text.splitlines() or json.dumps(m) + "," in text.splitlines()
               for m in data["mutants"])  # fmt: skip
    assert "| lion | conforms |" in told.read_text()


def test_detectability_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "lion.toml", tmp_path / "d.json"
    path.write_text(LION)
    assert status("detectability", path, *QUICK, "--json", out) == 0
    first = json.loads(out.read_text())["thresholds"]
    assert [t["hyper"] for t in first] == ["lr", "beta1", "beta2"] * 2
    assert "| lr | 0.01 |" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["mutants", "detectability"])
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nospec"], "nospec"),
        (["adam", "nospec"], "nospec"),
        (["no/such/file.toml"], "no/such/file.toml"),
        (["adam", "--dtype", "float8"], "float8"),
        (["adam", "--examples", "0"], "--examples"),
        (["adam", "--jobs", "0"], "--jobs"),
        (["adam", "--json", "no/such/folder/x.json"], "no/such/folder"),
        (["adam", "--markdown", "/"], "/"),
    ],
)
def test_bad_requests(
    command: str, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert status(command, *arguments) == 2
    done = capsys.readouterr()
    assert done.out == "" and said in done.err and len(done.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("variant", "said"),
    [("eps", "AXIS=VALUE"), ("eps=nowhere", "nowhere"), ("axis=x", "axis"),
     ("decay_order=after", "needs decay")],
)  # fmt: skip
def test_bad_variants(variant: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status("mutants", "adam", "--variant", variant) == 2
    assert said in capsys.readouterr().err
