"""No faithful program may leave the bound; and a bound that is too small is noticed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from optconform.formats import FORMATS
from optconform.oracle.judge import Steps, compare, outcomes
from optconform.oracle.scalars import Profile
from optconform.spec import program
from optconform.spec_file import load

from .campaign import ROUNDINGS, SPECS, attack, attack_free, report, variants
from .climb import climb

DTYPES = tuple(FORMATS)


@pytest.mark.parametrize("wild", [False, True], ids=["natural", "wild"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", SPECS)
def test_faithful_programs_stay_within_the_bound(name: str, dtype: str, wild: bool) -> None:
    tallies, holes = attack(name, FORMATS[dtype], wild=wild, programs=8, width=100, seed=1)
    assert not holes, "\n".join(map(str, holes[:3]))
    assert all(t.checks > t.undecided for t in tallies.values()), report(name, tallies)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("name", SPECS)
def test_rounding_to_either_neighbour_stays_within_its_profile(name: str, dtype: str) -> None:
    for k, rounding in enumerate(ROUNDINGS[1:]):
        tallies, holes = attack(
            name, FORMATS[dtype], wild=k % 2 == 0, programs=4, width=100, seed=k, rounding=rounding
        )
        assert not holes, "\n".join(map(str, holes[:3]))
        assert all(t.checks > t.undecided for t in tallies.values()), report(name, tallies)


@pytest.mark.parametrize("name", SPECS)
def test_each_variant_alone(name: str) -> None:
    for k, variant in enumerate(variants(load(name))):
        fmt = FORMATS[DTYPES[k % len(DTYPES)]]
        _, holes = attack(name, fmt, wild=True, programs=3, width=60, seed=k, variant=variant)
        assert not holes, "\n".join(map(str, holes[:3]))


@pytest.mark.parametrize("name", SPECS)
def test_no_search_climbs_over_the_bound(name: str) -> None:
    for k, dtype in enumerate(("bfloat16", "float32", "float16")):
        _, holes, _, faithful = climb(name, FORMATS[dtype], k, generations=8)
        assert not holes, f"{holes[0]}\n{faithful}"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", SPECS)
def test_hidden_state(name: str, dtype: str) -> None:
    for wild in (False, True):
        _, holes = attack_free(name, FORMATS[dtype], wild=wild, programs=4, width=60, seed=2)
        assert not holes, "\n".join(map(str, holes[:3]))


@pytest.mark.parametrize("name", ["adagrad", "adam"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_natural_steps_are_decided(name: str, dtype: str) -> None:
    tallies, _ = attack(name, FORMATS[dtype], wild=False, programs=10, width=100, seed=3)
    for t in tallies.values():
        assert t.undecided <= 0.05 * t.checks, report(name, tallies)


@pytest.mark.parametrize("dtype", DTYPES)
def test_control_half_a_unit_is_too_small(dtype: str) -> None:
    fmt = FORMATS[dtype]
    halved = replace(fmt, digits=fmt.digits + 1)
    found = 0
    for name in ("sgd", "adagrad", "rmsprop"):
        _, holes = attack(name, fmt, wild=False, programs=10, width=100, seed=1, judged_as=halved)
        found += len(holes)
    assert found


def judged(
    name: str, variant: dict[str, str], hypers: dict[str, float | bool], t: int, dtype: str,
    start: dict[str, float], output: str, observed: float,
) -> bool:  # fmt: skip
    """Whether the bound lets one element pass."""
    spec = load(name)
    full = {**spec.defaults, **hypers}
    p = program(spec, variant, full, t)
    row = {k: float(v) for k, v in full.items()}
    row |= {"t": float(t), "lr0": row["lr"]}
    steps = Steps([row], {k: np.array([[x]]) for k, x in start.items()}, {})
    (answer,) = outcomes(steps, [p], fmt=FORMATS[dtype], profile=Profile())
    j = compare(answer[output], np.array([[observed]]), np.array([[start[output]]]))
    return not j.failed.any()


def test_a_product_that_rounding_lifts_over_the_edge_may_be_infinite() -> None:
    assert judged(
        "sgd", {}, {"momentum": 2.0078203125}, 10, "bfloat16",
        {"p": 0.0, "grad": 0.0, "b": 1.6881195546468432e38}, "b", np.inf,
    )  # fmt: skip


@pytest.mark.parametrize("observed", [0.0, np.nan])
def test_a_term_with_a_zero_scalar_may_be_left_out_beside_nan(observed: float) -> None:
    assert judged(
        "sgd", {"first_buffer": "dampened"}, {"momentum": 0.9, "dampening": 1.0}, 1, "float32",
        {"p": 1.0, "grad": np.nan, "b": 0.0}, "b", observed,
    )  # fmt: skip
    assert judged(
        "adamw", {"decay": "decoupled-no-lr", "decay_order": "after"}, {"weight_decay": 1.0}, 1,
        "float32", {"p": np.nan, "grad": 1.0, "m": 0.0, "v": 0.0}, "p", observed,
    )  # fmt: skip


def test_zero_in_one_form_is_not_exactly_zero_in_all() -> None:
    # beta1 = 0: the average is g itself in one form and m + 1 * (g - m) in the other
    assert judged(
        "adamw", {"decay": "none", "eps": "none"},
        {"lr": 0.01, "beta1": 0.0, "beta2": 0.01, "maximize": True}, 5, "float32",
        {"p": 0.0, "m": -1.0, "v": 1.0, "grad": 0.0}, "p", 3.725290298461914e-09,
    )  # fmt: skip


def test_a_scaled_gradient_may_be_factored_out_of_nesterov() -> None:
    # u + momentum * u as u * (1 + momentum), where u is lr * grad
    assert judged(
        "sgd", {"momentum": "lr-in-buffer"},
        {"lr": 0.2999999968732217, "momentum": 0.0015162669562312255, "nesterov": True}, 1,
        "float32", {"p": 0.00041299499571323395, "grad": -0.10420262813568115, "b": 0.0},
        "p", 0.03172117471694946,
    )  # fmt: skip


def test_rows_where_a_scalar_underflows_a_double_leave_the_others_alone(tmp_path: Path) -> None:
    path = tmp_path / "fading.toml"
    path.write_text(
        """
        name = "fading"
        title = "A power that meets a tensor"
        cite = "none"
        [hyper]
        lr = { default = 0.1, domain = "[0, inf)", symbol = "l" }
        beta = { default = 0.3, domain = "[0, 1)", symbol = "b" }
        [step]
        p = "p - lr * beta**t * grad"
        """
    )
    spec = load(str(path))
    p = program(spec, {}, spec.defaults, 1)
    rows = [{"lr": 0.1, "beta": 0.3, "lr0": 0.1, "t": t} for t in (2000.0, 1.0)]
    steps = Steps(rows, {"p": np.ones((2, 1)), "grad": np.ones((2, 1))}, {})
    (answer,) = outcomes(steps, [p], fmt=FORMATS["float32"], profile=Profile())
    j = compare(answer["p"], FORMATS["float32"].round(np.array([[1.0], [0.97]])), np.ones((2, 1)))
    assert not j.failed.any()
