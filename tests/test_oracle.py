"""The oracle: its values against Arb, its bounds' scale, and that blocks are only bookkeeping."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from flint import arb, ctx

from optconform.formats import FORMATS, Format, format_named
from optconform.lattice import lattice
from optconform.oracle import exact
from optconform.oracle.bound import Outcome
from optconform.oracle.judge import BLOCK, Steps, compare, outcomes
from optconform.oracle.scalars import Profile
from optconform.spec import Program, Spec, Value, program, states_of
from optconform.spec_file import load

Floats = np.ndarray[Any, Any]
Row = Mapping[str, float]

ON: dict[str, dict[str, Value]] = {
    "sgd": {"momentum": 0.9, "dampening": 0.3, "weight_decay": 0.1},
    "adam": {"weight_decay": 0.1, "amsgrad": True, "lr": 0.01, "beta2": 0.99},
    "adamw": {"weight_decay": 0.1, "lr": 0.01, "maximize": True},
    "rmsprop": {"weight_decay": 0.1, "momentum": 0.5, "centered": True, "eps": 1e-3, "alpha": 0.9},
    "adagrad": {"weight_decay": 0.1, "lr_decay": 0.01},
    "adadelta": {"weight_decay": 0.1, "eps": 1e-3},
}
CASES: list[tuple[str, dict[str, str]]] = [
    ("sgd", {}),
    ("sgd", {"decay": "decoupled-relative-lr", "decay_order": "after", "momentum": "ema"}),
    ("sgd", {"momentum": "lr-in-buffer", "first_buffer": "dampened"}),
    ("adam", {}),
    ("adam", {"eps": "hat", "decay": "l2-after-momentum", "amsgrad_max": "corrected"}),
    ("adam", {"eps": "clamp", "bias_correction": "first-only"}),
    ("adamw", {}),
    ("adamw", {"eps": "inside-and-outside", "decay": "decoupled-lr-squared"}),
    ("rmsprop", {}),
    ("rmsprop", {"eps": "inside", "bias_correction": "second-only", "momentum": "lr-in-buffer"}),
    ("adagrad", {}),
    ("adagrad", {"eps": "inside", "decay": "decoupled"}),
    ("adadelta", {}),
    ("adadelta", {"eps": "outside", "decay": "decoupled-no-lr"}),
]


def row(spec: Spec, t: int = 3, lr0: float = 0.02, **changes: Value) -> dict[str, float]:
    hypers = {**spec.defaults, **ON[spec.name], **changes}
    return {**{n: float(v) for n, v in hypers.items()}, "t": float(t), "lr0": lr0}


def made(spec: Spec, variant: Mapping[str, str], one: Row) -> Program:
    return program(spec, variant, one, int(one["t"]))


def starts(
    spec: Spec, fmt: Format, rng: np.random.Generator, rows: int, width: int
) -> dict[str, Floats]:
    """Magnitudes over six decades with zeros among them, and states that can be."""
    shape = (rows, width)

    def wide() -> Floats:
        z = rng.standard_normal(shape) * 10.0 ** rng.uniform(-3, 3, shape)
        return np.where(rng.random(shape) < 0.1, 0.0, z)

    out = {"p": wide(), "grad": wide()}
    for name, state in states_of(spec, {}).items():
        out[name] = np.abs(wide()) if state.nonneg else wide()
    if "g_avg" in out:  # a variance
        out["v"] = out["g_avg"] ** 2 * rng.uniform(40, 90, shape) + out["v"] + 0.01
    return {n: fmt.round(x) for n, x in out.items()}


def judged(
    p: Program,
    rows: Sequence[Row],
    start: Mapping[str, Floats],
    fmt: Format,
    *,
    observed: Mapping[str, Floats] | None = None,
    conditional: bool = False,
    profile: Profile | None = None,
) -> dict[str, Outcome]:
    profile = profile or Profile()
    steps = Steps(rows, start, observed or {})
    return outcomes(steps, [p], fmt=fmt, profile=profile, conditional=conditional)[0]


def one(
    spec: Spec,
    at: Mapping[str, float],
    *,
    dtype: str = "float32",
    variant: Mapping[str, str] | None = None,
    **changes: Any,
) -> dict[str, Outcome]:
    """A single element in a single step."""
    r = row(spec, **changes)
    return judged(
        made(spec, variant or {}, r),
        [r],
        {n: np.array([[x]]) for n, x in at.items()},
        FORMATS[dtype],
    )


def ball(x: Any) -> arb:
    """A double or a long double, exactly."""
    high = float(x)
    return arb(high) + arb(float(x - type(x)(high)))


def same(a: Outcome, b: Outcome) -> bool:
    return all(
        np.array_equal(getattr(a, n), getattr(b, n), equal_nan=n in ("value", "error"))
        for n in ("value", "error", "undecided", "must_nan")
    )


def part(o: Outcome, at: Any) -> Outcome:
    return Outcome(o.value[at], o.error[at], o.undecided[at], o.must_nan[at])


# ---- values ----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "variant"), CASES, ids=str)
def test_values_agree_with_arb(name: str, variant: dict[str, str], dtype: str) -> None:
    spec, fmt = load(name), FORMATS[dtype]
    rng = np.random.default_rng(len(str(variant)))
    decided = 0
    for rows in ([row(spec, 1)], [row(spec, 2), row(spec, 7, lr=0.03125)]):
        p = made(spec, variant, rows[0])
        start = starts(spec, fmt, rng, len(rows), 8)
        before = ctx.prec
        ctx.prec = exact.BITS
        try:
            found = judged(p, rows, start, fmt)
            for k, j in np.ndindex(start["p"].shape):
                at = {n: float(x[k, j]) for n, x in start.items()}
                truth = exact.evaluate(p, rows[k], at)
                for output, o in found.items():
                    if not truth[output].is_finite():
                        assert o.must_nan[k, j] or o.undecided[k, j], (output, at)
                        continue
                    assert not o.must_nan[k, j], (output, at)
                    if o.undecided[k, j]:
                        continue
                    decided += 1
                    off = abs(ball(o.value[k, j]) - truth[output])
                    if o.error[k, j] == 0:
                        assert off < arb(2) ** -1100, (output, at)
                    else:
                        assert off <= ball(o.error[k, j]) / 1000, (output, at)
        finally:
            ctx.prec = before
    assert decided >= 0.9 * 24 * len(found)


def test_zero_over_zero_is_nan_and_one_over_zero_is_open() -> None:
    """Without eps; Arb is not finite in either case, and only the first has one answer."""
    spec = load("adam")
    zero = {"p": 1.0, "grad": 0.0, "m": 0.0, "v": 0.0, "v_max": 0.0}
    plain: dict[str, Any] = {"eps": 0.0, "weight_decay": 0.0, "amsgrad": False}
    for at, must_nan in ((zero, True), ({**zero, "m": 1.0}, False)):
        r = row(spec, **plain)
        p = made(spec, {}, r)
        found = one(spec, at, **plain)
        truth = exact.evaluate(p, r, at)
        for name in p.outputs:
            assert not found[name].must_nan.all() or not truth[name].is_finite()
        assert not truth["p"].is_finite()
        assert found["p"].must_nan.all() == must_nan
        assert found["p"].undecided.all() != must_nan
        assert not found["v"].undecided.any() and not found["v"].must_nan.any()
    same_again = one(spec, zero, **{**plain, "eps": 1e-8})["p"]
    assert same_again.value == 1.0 and same_again.error <= 2**-22, "eps decides, and p stays"


def test_the_root_of_a_negative_variance_is_open() -> None:
    at = {"p": 1.0, "grad": 0.0, "v": 1.0, "g_avg": 2.0, "b": 0.0}
    found = one(load("rmsprop"), at, weight_decay=0.0)
    assert found["p"].undecided.all() and not found["p"].must_nan.any()
    assert not found["v"].undecided.any()


@pytest.mark.parametrize(("dtype", "huge", "fits"), [
    ("float32", 2e19, 1e19), ("float64", 1.4e154, 1.3e154), ("float16", 300.0, 200.0),
])  # fmt: skip
def test_overflow_is_open(dtype: str, huge: float, fits: float) -> None:
    """The square of the gradient overflows, the moving average itself would not."""
    spec, fmt = load("adam"), FORMATS[dtype]
    rest = {"p": 0.0, "m": 0.0, "v": 0.0}
    for grad, open_ in ((huge, True), (fits, False)):
        grad = float(fmt.round(np.array(grad)))
        found = one(spec, {**rest, "grad": grad}, dtype=dtype, amsgrad=False, weight_decay=0.0)
        assert bool(found["v"].undecided.all()) == open_
        assert not found["m"].undecided.any()
        assert not any(o.must_nan.any() for o in found.values())


def test_nan_and_infinite_inputs() -> None:
    spec = load("adam")
    rest = {"p": 1.0, "grad": 1.0, "m": 0.5, "v": 0.5, "v_max": 1.0}
    found = one(spec, {**rest, "grad": np.nan})
    assert all(found[n].must_nan.all() for n in ("m", "v")), "NaN spreads"
    assert one(spec, {**rest, "grad": np.nan}, amsgrad=False)["p"].must_nan.all()
    assert found["v_max"].undecided.all(), "whether a maximum keeps NaN is open"
    found = one(spec, {**rest, "m": np.nan})
    assert found["m"].must_nan.all() and found["p"].must_nan.all()
    assert not found["v"].must_nan.any() and not found["v"].undecided.any()
    found = one(spec, {**rest, "grad": np.inf})
    assert all(o.undecided.all() and not o.must_nan.any() for o in found.values())
    found = one(spec, {**rest, "p": np.nan}, weight_decay=0.0)
    assert found["p"].must_nan.all()
    assert found["m"].undecided.all(), "0 * NaN, or the term left out"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "rmsprop", "adagrad", "adadelta"])
def test_a_zero_lr_beside_nan_is_open(name: str, bad: float) -> None:
    spec = load(name)
    at = {"p": 1.0, "grad": 0.5, **dict.fromkeys(states_of(spec, {}), 0.25)}
    quiet: dict[str, Any] = {"lr": 0.0, "lr0": 0.0, "centered": False}
    quiet = {n: v for n, v in quiet.items() if n in spec.hypers or n == "lr0"}
    still = one(spec, at, variant={"decay": "none"}, **quiet)["p"]
    assert still.value == 1.0 and still.error < 2**-50 and not still.undecided.any()
    found = one(spec, {**at, "grad": bad}, variant={"decay": "none"}, **quiet)["p"]
    assert found.undecided.all() and not found.must_nan.any()
    for seen in (1.0, np.nan, np.inf):
        judgement = compare(found, np.array([[seen]]), np.array([[1.0]]))
        assert not judgement.failed.any()


def test_comparison() -> None:
    o = Outcome(*(np.array([x]) for x in (
        [1.0, 1.0, 1.0, 1.0, 1.0, 1.0], [0.5, 0.5, 0.0, 0.0, 0.5, 0.5],
        [False, False, False, False, True, False], [False, False, False, False, False, True],
    )))  # fmt: skip
    seen = np.array([[1.25, 1.75, 1.0, 1.0 + 2**-52, np.nan, np.nan]])
    judgement = compare(o, seen, np.array([[1.0, 3.0, 1.0, 2.0, 1.0, 1.0]]))
    assert judgement.ratio.tolist() == [[0.5, 1.5, 0.0, np.inf, 0.0, 0.0]]
    assert judgement.failed.tolist() == [[False, True, False, True, False, False]]
    assert judgement.vacuous.tolist() == [[True, False, True, False, False, False]]
    odd = compare(o, np.array([[np.nan, np.inf, -np.inf, np.nan, 5.0, 1.0]]), seen)
    assert odd.failed.tolist() == [[True, True, True, True, False, True]]


# ---- bounds ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "variant"), CASES, ids=str)
def test_bounds_scale_with_the_unit(name: str, variant: dict[str, str]) -> None:
    """The same inputs, exact in every format: the bound over the unit is about the same."""
    spec = load(name)
    rng = np.random.default_rng(5)
    shape = (1, 16)
    start = {"p": rng.uniform(1, 2, shape), "grad": rng.uniform(1, 2, shape)}
    start |= {n: rng.uniform(3, 6, shape) for n in states_of(spec, {})}
    if "g_avg" in start:
        start["g_avg"] = start["g_avg"] / 8
    start = {n: FORMATS["bfloat16"].round(x) for n, x in start.items()}
    r = row(spec)
    p = made(spec, variant, r)
    scaled = {}
    for dtype in ("bfloat16", "float16", "float32", "float64"):
        fmt = FORMATS[dtype]
        found = judged(p, [r], start, fmt)
        assert not any(o.undecided.any() for o in found.values())
        scaled[dtype] = {n: (o.error / fmt.unit).astype(np.float64) for n, o in found.items()}
        sizes = {n: np.abs(o.value).astype(np.float64) for n, o in found.items()}
    for output, wanted in scaled["float32"].items():
        rounded = wanted > 0.1 * sizes[output]  # not where a maximum is a stored number
        assert rounded.mean() > 0.3
        for dtype in ("bfloat16", "float16", "float64"):
            ratio = scaled[dtype][output][rounded] / wanted[rounded]
            # doubles also pay for 1 - beta**t, which is known to a few double roundings only
            most = 40 if dtype == "float64" else 1.5
            assert (ratio > 0.8).all() and (ratio < most).all(), (output, dtype, ratio)


def test_sloppier_scalars_are_allowed_more() -> None:
    spec, fmt = load("adam"), FORMATS["float32"]
    start = starts(spec, fmt, np.random.default_rng(3), 1, 32)
    r = row(spec)
    p = made(spec, {}, r)
    plain = judged(p, [r], start, fmt)
    wide = judged(p, [r], start, fmt, profile=Profile(scalars="float32"))
    other = judged(p, [r], start, fmt, profile=Profile(hypers="float32"))
    assert (wide["p"].error >= plain["p"].error).all()
    assert (wide["p"].error > 1.5 * plain["p"].error).any()
    assert (wide["p"].value == plain["p"].value).all()
    assert (other["p"].value != plain["p"].value).any(), "0.9 is another number in float32"


@pytest.mark.parametrize(
    ("name", "decay"),
    [
        (n, d)
        for n in ("sgd", "adam", "rmsprop", "adagrad", "adadelta")
        for d in ("l2", "decoupled", "decoupled-no-lr", "decoupled-relative-lr")
    ],
)
def test_no_weight_decay_costs_nothing(name: str, decay: str) -> None:
    """With weight_decay = 0 every member of the class computes the equation without it."""
    spec, fmt = load(name), FORMATS["float32"]
    r = row(spec, weight_decay=0.0)
    start = starts(spec, fmt, np.random.default_rng(8), 1, 32)
    with_it = judged(made(spec, {"decay": decay}, r), [r], start, fmt)
    without = judged(made(spec, {"decay": "none"}, r), [r], start, fmt)
    assert {n for n in without if not same(with_it[n], without[n])} == set()


# ---- blocks ----------------------------------------------------------------------------------


def kinds(spec: Spec) -> list[dict[str, float]]:
    """Rows whose scalars are zero or one in different places."""
    changes: list[dict[str, Any]] = [
        {}, {"lr": 0.0}, {"weight_decay": 0.0}, {"lr": 1.0}, {"weight_decay": 1.0},
        {"lr": 1.0, "weight_decay": 1.0}, {"lr": 0.5, "weight_decay": 1.0}, {"eps": 0.0}, {},
        {"beta1": 0.0, "beta2": 0.0, "rho": 0.0, "alpha": 0.0}, {"beta2": 0.5, "alpha": 0.5},
        {"lr": 0.5, "weight_decay": 10.0}, {"lr": 1.0, "weight_decay": 0.9},
    ]  # fmt: skip
    return [
        row(spec, 2 + k, **{n: v for n, v in c.items() if n in spec.hypers})
        for k, c in enumerate(changes)
    ]


@pytest.mark.parametrize(("name", "variant"), CASES, ids=str)
def test_rows_together_are_the_rows_alone(name: str, variant: dict[str, str]) -> None:
    spec, fmt = load(name), FORMATS["float32"]
    rows = kinds(spec)
    p = made(spec, variant, rows[0])
    start = starts(spec, fmt, np.random.default_rng(11), len(rows), 12)
    together = judged(p, rows, start, fmt)
    different = set()
    for k, r in enumerate(rows):
        alone = judged(p, [r], {n: x[k : k + 1] for n, x in start.items()}, fmt)
        for output, o in together.items():
            if not same(part(o, slice(k, k + 1)), alone[output]):
                different.add((k, output))
    assert not different


@pytest.mark.parametrize(("name", "variant"), CASES, ids=str)
def test_usual_rows_together_are_the_rows_alone(name: str, variant: dict[str, str]) -> None:
    """Zeros and ones in different rows, and nothing that opens in one row and not in another."""
    spec, fmt = load(name), FORMATS["float32"]
    settings = [
        (0.01, 0.1),
        (0.0, 0.1),
        (0.01, 0.0),
        (1.0, 1.0),
        (0.0, 0.0),
        (1.0, 0.1),
        (0.1, 1.0),
    ]
    rows = [row(spec, 2 + k, lr=a, weight_decay=b) for k, (a, b) in enumerate(settings)]
    p = made(spec, variant, rows[0])
    start = starts(spec, fmt, np.random.default_rng(15), len(rows), 12)
    together = judged(p, rows, start, fmt)
    for k, r in enumerate(rows):
        alone = judged(p, [r], {n: x[k : k + 1] for n, x in start.items()}, fmt)
        for output, o in together.items():
            assert same(part(o, slice(k, k + 1)), alone[output]), (k, output)


@pytest.mark.parametrize("name", ["sgd", "adam", "rmsprop", "adagrad"])
def test_bounds_do_not_depend_on_what_else_was_built(name: str) -> None:
    """All variants of a spec share one graph, which grows as they are used."""
    spec, fmt = load.__wrapped__(name), FORMATS["float32"]
    rows = [row(spec), row(spec, 4, weight_decay=10.0, lr=0.5)]
    p = made(spec, {}, rows[0])
    start = starts(spec, fmt, np.random.default_rng(16), 2, 12)
    before, size = judged(p, rows, start, fmt), len(spec.graph.nodes)
    for variant in lattice(spec):
        for t in (1, 2):
            for flags in ({}, {"nesterov": True, "dampening": 0.0}, {"centered": False}):
                changes = {n: v for n, v in flags.items() if n in spec.hypers}
                program(spec, dict(variant), {**rows[0], **changes}, t)
    assert len(spec.graph.nodes) > size
    after = judged(p, rows, start, fmt)
    assert {n for n in before if not same(before[n], after[n])} == set()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_columns_together_are_the_columns_alone(dtype: str) -> None:
    fmt = FORMATS[dtype]
    for name, variant in CASES:
        spec = load(name)
        rows = [row(spec, 2), row(spec, 9, lr=0.5)]
        p = made(spec, variant, rows[0])
        start = starts(spec, fmt, np.random.default_rng(12), 2, 10)
        start["grad"][0, :4] = np.nan, np.inf, fmt.largest, 0.0
        start["p"][1, 3] = 0.0
        together = judged(p, rows, start, fmt)
        for j in range(10):
            alone = judged(p, rows, {n: x[:, j : j + 1] for n, x in start.items()}, fmt)
            for output, o in together.items():
                assert same(part(o, np.s_[:, j : j + 1]), alone[output]), (name, output, j)


def test_chunks_are_put_together() -> None:
    spec, fmt = load("adam"), FORMATS["float32"]
    width = BLOCK + 77
    rows = [row(spec, 2), row(spec, 3, lr=0.0), row(spec, 4)]
    p = made(spec, {}, rows[0])
    start = starts(spec, fmt, np.random.default_rng(13), 3, width)
    whole = judged(p, rows, start, fmt)
    halves = [
        judged(p, rows, {n: x[:, s] for n, x in start.items()}, fmt)
        for s in (slice(0, 5000), slice(5000, width))
    ]
    for name, o in whole.items():
        assert o.value.shape == (3, width)
        assert same(part(o, np.s_[:, :5000]), halves[0][name])
        assert same(part(o, np.s_[:, 5000:]), halves[1][name])


def test_programs_together_are_the_programs_alone() -> None:
    spec, fmt = load("adam"), FORMATS["float32"]
    r = row(spec)
    start = starts(spec, fmt, np.random.default_rng(14), 1, 16)
    variants: list[dict[str, str]] = [
        {}, {"eps": "hat"}, {"eps": "inside"}, {"decay": "decoupled"}, {"bias_correction": "none"},
    ]  # fmt: skip
    programs = [made(spec, v, r) for v in variants]
    together = outcomes(Steps([r], start, {}), programs, fmt=fmt, profile=Profile())
    for p, found in zip(programs, together, strict=True):
        alone = judged(p, [r], start, fmt)
        assert set(found) == set(alone)
        assert all(same(found[n], alone[n]) for n in alone)
    (only,) = outcomes(Steps([r], start, {}), [programs[0]], fmt=fmt, profile=Profile(), only=["v"])
    assert set(only) == {"v"} and same(only["v"], together[0]["v"])


def test_conditional_mode_goes_on_from_what_was_observed() -> None:
    spec, fmt = load("adam"), FORMATS["float32"]
    at = {"p": 1.0, "grad": 1.0, "m": 0.0, "v": 0.0}
    r = row(spec, 2, lr=1.0, eps=0.0, amsgrad=False, weight_decay=0.0, beta1=0.0, beta2=0.5)
    p = made(spec, {}, r)
    start = {n: np.array([[x]]) for n, x in at.items()}
    observed = {n: np.array([[x]]) for n, x in {"p": 0.0, "m": 3.0, "v": 12.0}.items()}
    plain = judged(p, [r], start, fmt, observed=observed)
    given = judged(p, [r], start, fmt, observed=observed, conditional=True)
    assert plain["p"].value[0, 0] == pytest.approx(1 - 1 / np.sqrt(0.5 / 0.75), rel=1e-12)
    assert given["p"].value[0, 0] == pytest.approx(1 - 3 / 4, rel=1e-12)
    assert given["v"].value[0, 0] == plain["v"].value[0, 0] == 0.5, "the state itself is judged"
    assert given["m"].value[0, 0] == plain["m"].value[0, 0] == 1.0


# ---- formats ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["bfloat16", "float16", "float32"])
def test_rounding_is_torchs(name: str) -> None:
    fmt, dtype = FORMATS[name], getattr(torch, name)
    rng = np.random.default_rng(4)
    bits = rng.integers(0, 2**32, 50000, dtype=np.uint32).view(np.float32)
    bits = bits[~np.isnan(bits)].astype(np.float64)
    unit = rng.standard_normal(5000)
    tiny = unit * fmt.tiny * 4.0 ** rng.integers(-12, 2, 5000)
    exactly = fmt.round(rng.standard_normal(5000) * 10.0 ** rng.integers(-4, 4, 5000))
    ulps = 2.0 ** (np.floor(np.log2(np.abs(exactly))) - fmt.digits + 1)
    ties = exactly + ulps / 2
    subnormal_ties = (rng.integers(0, 1000, 2000) + 0.5) * 2.0 ** (fmt.emin - fmt.digits + 1)
    ulp = fmt.largest * fmt.unit * 2 / (2 - 2 * fmt.unit)
    ends = [fmt.largest, fmt.largest + 0.49 * ulp, fmt.largest + ulp / 2, fmt.largest + ulp, np.inf]
    odd = np.array(
        [0.0, -0.0, np.nan, *ends, *(-x for x in ends), fmt.tiny, fmt.eta[0] ** fmt.eta[1]]
    )
    x = np.concatenate([bits, unit, tiny, ties, subnormal_ties, -subnormal_ties, odd])
    if name != "float32":  # torch goes through float32, which would round twice
        with np.errstate(all="ignore"):
            x = x.astype(np.float32).astype(np.float64)
    wanted = torch.from_numpy(x).to(dtype).double().numpy()
    got = fmt.round(x)
    assert np.array_equal(got, wanted, equal_nan=True)
    numbers = ~np.isnan(got)
    assert np.array_equal(np.signbit(got[numbers]), np.signbit(wanted[numbers]))
    assert np.array_equal(fmt.round(got), got, equal_nan=True)


@pytest.mark.parametrize("name", list(FORMATS))
def test_constants_are_torchs(name: str) -> None:
    fmt, info = format_named(name), torch.finfo(getattr(torch, name))
    assert fmt.largest == info.max
    assert fmt.tiny == info.tiny
    assert 2 * fmt.unit == info.eps
    base, exponent = fmt.eta
    if name != "float64":
        assert 2 * float(base) ** exponent == info.smallest_normal * info.eps


def test_float64_is_left_alone() -> None:
    x = np.array([0.1, 5e-324, 1.7e308, np.inf])
    assert np.array_equal(FORMATS["float64"].round(x), x)
    with pytest.raises(ValueError, match="unknown dtype 'half'; choose from float32"):
        format_named("half")
