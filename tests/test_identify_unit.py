"""Identification on traces alone: of the reference, and of every variant played by the oracle."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from optconform.admit import admitted
from optconform.formats import FORMATS
from optconform.formula import Formulas
from optconform.identify import identify
from optconform.implementation import resolve
from optconform.lattice import lattice
from optconform.oracle.judge import Steps, outcomes
from optconform.oracle.scalars import PROFILES, Profile
from optconform.scenario import Group, Param, Recipe, Scenario, SetHyper, Step
from optconform.spec import Spec, Value, initial_state, program, states_of
from optconform.spec_file import load
from optconform.trace import Row, Trace, run

FLOAT32 = FORMATS["float32"]
NAMES = ("adadelta", "adagrad", "adam", "adamw", "rmsprop", "sgd")

# settings under which the axes show: decay large, eps large, every kind of state there
SHOWING: dict[str, list[dict[str, Value]]] = {
    "sgd": [
        {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.5},
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.5},
    ],
    "adam": [
        {"lr": 0.1, "eps": 0.01, "weight_decay": 0.5, "beta2": 0.9},
        {"lr": 0.1, "eps": 0.5, "weight_decay": 0.5, "beta2": 0.5, "amsgrad": True},
    ],
    "rmsprop": [
        {"lr": 0.1, "eps": 0.01, "weight_decay": 0.5, "alpha": 0.9, "momentum": 0.5},
        {"lr": 0.1, "eps": 0.01, "weight_decay": 0.5, "alpha": 0.5, "centered": True},
    ],
    "adagrad": [{"lr": 0.1, "eps": 0.01, "weight_decay": 0.5, "initial_accumulator_value": 0.25}],
    "adadelta": [{"lr": 0.5, "eps": 0.01, "weight_decay": 0.5, "rho": 0.5}],
}
SHOWING["adamw"] = SHOWING["adam"]
STEPS = 5
CHANGED = 3  # the step, from 0, before which lr is halved twice


def rng_of(*key: int) -> np.random.Generator:
    return np.random.default_rng(key)


def simulated(
    spec: Spec,
    variant: Mapping[str, str],
    hypers: Mapping[str, Value],
    k: int,
    profile: Profile | None = None,
) -> Trace:
    """A trace of the variant itself: each output is the exact value, rounded once."""
    rng, width = rng_of(k, 1), 24
    hypers = {**spec.defaults, **hypers}
    p = FLOAT32.round(rng.standard_normal(width) * 2)
    inits = states_of(spec, variant)
    state: dict[str, np.ndarray] = {}
    rows = []
    for t in range(1, STEPS + 1):
        lr = float(hypers["lr"]) / (4 if t > CHANGED else 1)
        scalars = {**{n: float(v) for n, v in hypers.items()}, "lr": lr, "t": float(t)}
        scalars["lr0"] = float(hypers["lr"])
        one = program(spec, variant, scalars, t)
        grad = FLOAT32.round(rng.standard_normal(width) * 10.0 ** rng.uniform(-3, 1, width))
        if t == 1:
            for s in one.states:
                state[s.name] = np.full(width, initial_state(inits[s.name].init, scalars))
        start = {"p": p, "grad": grad, **state}
        steps = Steps([scalars], {n: x[None, :] for n, x in start.items()}, {})
        (made,) = outcomes(steps, [one], fmt=FLOAT32, profile=profile or Profile())
        new = {n: FLOAT32.round(o.value[0].astype(np.float64)) for n, o in made.items()}
        before = {} if t == 1 else dict(state)
        rows.append(Row(t - 1, scalars, grad, {"p": p, **before}, new))
        p, state = new["p"], {n: x for n, x in new.items() if n != "p"}
    param = Param((width,), Recipe("normal"), Recipe("normal"))
    scenario = Scenario(spec.name, "float32", (Group(hypers, (param,)),), (Step(),) * STEPS)
    return Trace(scenario, {(0, 0): rows})


def traces_of(spec: Spec, variant: Mapping[str, str]) -> list[Trace]:
    return [simulated(spec, variant, h, k) for k, h in enumerate(SHOWING[spec.name])]


def single(spec: Spec) -> Iterator[dict[str, str]]:
    yield {}
    for axis in spec.axes.values():
        for value, choice in axis.choices.items():
            if value != axis.default:
                yield {axis.name: value, **{a: v[0] for a, v in choice.needs.items()}}
        if axis.number is not None:
            yield {axis.name: "0.1"}


# labels of one formula, as the specs say in the effects of these axes
SAME: dict[str, list[dict[str, str]]] = {
    "sgd": [{"decay": "decoupled"}, {"decay": "l2-after-momentum"}],
    "rmsprop": [{"decay": "decoupled"}, {"decay": "l2-after-momentum"}],
}


@cache
def simulated_cases() -> list[tuple[str, dict[str, str]]]:
    return [(n, v) for n in ("adam", "sgd", "rmsprop", "adagrad") for v in single(load(n))]


@pytest.mark.parametrize(("name", "variant"), simulated_cases(), ids=str)
def test_a_simulated_variant_is_found(name: str, variant: dict[str, str]) -> None:
    spec = load(name)
    found = identify(traces_of(spec, variant), spec)
    assert found.profile == Profile()
    named = [found.variant, *found.aliases]
    assert variant in named
    assert found.unique, found.accepted
    assert len(found.rejected) == len(lattice(spec)) - len(found.accepted)
    together = SAME.get(name, [])
    if variant in together:
        assert all(v in named for v in together), named
    else:
        assert not any(v in named for v in together)


def test_a_combination_is_found() -> None:
    spec = load("adam")
    variant = {"decay": "decoupled-no-lr", "decay_order": "after", "eps": "hat"}
    variant["bias_correction"] = "second-only"
    found = identify(traces_of(spec, variant), spec)
    assert (found.variant, found.unique, found.aliases) == (variant, True, [])
    assert found.as_dict()["unique"] is True


def test_a_number_that_is_found_is_weighed_with_every_axis() -> None:
    spec = load("adagrad")
    variant = {"accumulator_init": "0.37"}
    found = identify(traces_of(spec, variant), spec)
    assert (found.variant, found.unique) == (variant, True)
    assert {"eps": "inside", **variant} in found.rejected
    assert {"accumulator_init": "0.1"} in found.rejected


def test_what_cannot_be_told_apart_is_said() -> None:
    """Without weight decay nothing tells the decays apart."""
    spec = load("adam")
    trace = simulated(spec, {}, {"lr": 0.1, "eps": 0.01, "beta2": 0.9}, 0)
    found = identify([trace], spec)
    assert found.variant == {}
    decays = {v.get("decay", "l2") for v in found.accepted}
    assert decays == set(spec.axes["decay"].choices)
    assert all(v.get("eps", "outside") == "outside" for v in found.accepted)


def test_nothing_is_found_for_a_stranger() -> None:
    spec = load("adam")
    trace = simulated(spec, {}, SHOWING["adam"][0], 0)
    (rows,) = trace.rows.values()
    rows[2].observed["p"][5] *= 1 + 2.0**-12
    found = identify([trace], spec)
    assert (found.variant, found.accepted, found.unique) == (None, [], False)
    assert len(found.rejected) == len(lattice(spec)) == 528


def test_a_profile_is_found() -> None:
    """Hyperparameters rounded to float32 first: 1 - beta2 is off by far more than a rounding."""
    spec = load("adam")
    hypers = {"lr": 0.1, "eps": 0.01, "weight_decay": 0.5, "beta2": 0.999, "amsgrad": True}
    trace = simulated(spec, {"eps": "hat"}, hypers, 0, Profile(hypers="float32"))
    found = identify([trace], spec)
    assert found.profile == Profile(hypers="float32")
    assert found.variant == {"eps": "hat"}
    only = identify([trace], spec, profiles=PROFILES[:1])
    assert (only.variant, only.accepted) == (None, [])
    right = (("eps", "hat"),)
    assert admitted(trace, spec, [right, ()], Profile()) == {}
    assert list(admitted(trace, spec, [right, ()], Profile(hypers="float32"))) == [right]


# ---- the lattice -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("sgd", (7 + 4) * (3 * 2 + 1) * 2),  # one form of Nesterov is for averages only
        ("adam", (7 + 4) * 6 * 4 * 2),
        ("adamw", (7 + 4) * 6 * 4 * 2),
        ("rmsprop", (7 + 4) * (5 + 6) * 3 * 3),  # hat is for corrected averages only
        ("adagrad", (6 + 4) * 5 * 4),
        ("adadelta", (6 + 4) * 3 * 3),
    ],
)
def test_the_lattice(name: str, size: int) -> None:
    """Decays, those four that have an order once more, times the values of the other axes."""
    spec = load(name)
    found = lattice(spec)
    assert len(found) == len(set(found)) == size
    assert found[0] == ()
    assert all(len(a) <= len(b) for a, b in pairwise(found))
    assert all(spec.variant(dict(v)) == dict(v) for v in found)
    assert {tuple(spec.variant(v).items()) for v in single(spec)} <= set(found)


def test_same_formula() -> None:
    sgd = load("sgd")
    traces = traces_of(sgd, {})

    def same(a: dict[str, str], b: dict[str, str], spec: Spec = sgd) -> bool:
        return Formulas(spec, traces).same(tuple(a.items()), tuple(b.items()))

    assert same({"decay": "decoupled"}, {"decay": "l2-after-momentum"})
    assert not same({"decay": "decoupled"}, {})
    assert not same({"decay": "decoupled"}, {"decay": "decoupled-relative-lr"})
    assert not same({"momentum": "lr-in-buffer"}, {})
    traces = traces_of(load("adagrad"), {})
    assert not same({"accumulator_init": "one"}, {}, load("adagrad"))


@pytest.mark.parametrize("sight", [True, False], ids=["visible", "hidden"])
def test_one_formula_in_these_settings(sight: bool) -> None:
    def same(name: str, hypers: dict[str, Value], a: dict[str, str], b: dict[str, str]) -> bool:
        spec = load(name)
        trace = simulated(spec, a, hypers, 0)
        if not sight:
            (rows,) = trace.rows.values()
            rows[:] = [
                replace(r, start={"p": r.start["p"]}, observed={"p": r.observed["p"]}) for r in rows
            ]
        return Formulas(spec, [trace]).same(tuple(a.items()), tuple(b.items()))

    zero, adagrad = {"accumulator_init": "zero"}, SHOWING["adagrad"][0]
    assert not same("adagrad", adagrad, {}, zero)
    assert same("adagrad", {**adagrad, "initial_accumulator_value": 0.0}, {}, zero)
    assert not same("adam", SHOWING["adam"][0], {}, {"eps": "hat"})
    assert same("adam", {**SHOWING["adam"][0], "eps": 0.0}, {}, {"eps": "hat"})
    assert not same("adam", SHOWING["adam"][0], {}, {"decay": "decoupled"})
    assert same("adam", {**SHOWING["adam"][0], "weight_decay": 0.0}, {}, {"decay": "decoupled"})


# ---- the reference ---------------------------------------------------------------------------


def reference_traces(spec: Spec, seeds: Sequence[int]) -> list[Trace]:
    (subject,) = resolve("reference", spec.name)
    traces = []
    for seed, hypers in zip(seeds, SHOWING[spec.name], strict=False):
        rng = rng_of(seed, 2)
        drawn = {**spec.defaults, **hypers, "lr": float(rng.choice([0.05, 0.1, 0.3]))}
        if "weight_decay" in drawn:
            drawn["weight_decay"] = float(rng.choice([0.3, 0.5, 1.0]))
        params = tuple(
            Param((n,), Recipe("normal", seed + n), Recipe("mixture", n)) for n in (1, 40)
        )
        events = (Step(), Step(), Step(), SetHyper(0, {"lr": 0.0625}), Step(), Step())
        scenario = Scenario(spec.name, "float32", (Group(drawn, params),), events)
        traces.append(run(subject, scenario, spec))
    return traces


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_reference_follows_its_spec(name: str, seed: int) -> None:
    spec = load(name)
    traces = reference_traces(spec, (seed, seed + 10))
    assert all(t.crash is None and not t.broken for t in traces)
    found = identify(traces, spec)
    assert (found.variant, found.profile) == ({}, Profile())
    assert found.unique, found.accepted
    assert found.aliases == []


def test_adam_is_not_adamw() -> None:
    """Each through the other's spec is a deviation on one axis."""
    for mine, other, decay in (("adam", "adamw", "l2"), ("adamw", "adam", "decoupled")):
        traces = reference_traces(load(mine), (3, 4))
        found = identify(traces, load(other))
        assert found.variant == {"decay": decay}
        assert found.unique
