"""The generated kernels without a GPU: one body, and every target gives the same bits."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from optconform.expr import holds
from optconform.formats import FORMATS
from optconform.impls.cuda import emit, evaluate, host
from optconform.impls.cuda.body import Body, conditions, lowered, zeros
from optconform.impls.cuda.emit import Kernel
from optconform.spec import states_of
from optconform.spec_file import bundled, load

FLAGS: Mapping[str, list[dict[str, Any]]] = {
    "sgd": [
        {},
        {"maximize": True, "weight_decay": 0.1},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.25},
        {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1},
    ],
    "adagrad": [{}, {"lr_decay": 0.5, "weight_decay": 0.1, "maximize": True}],
    "rmsprop": [
        {},
        {"momentum": 0.9, "weight_decay": 0.1},
        {"centered": True, "maximize": True},
        {"centered": True, "momentum": 0.9},
    ],
    "adadelta": [{}, {"weight_decay": 0.1, "maximize": True}],
    "adam": [{}, {"amsgrad": True, "weight_decay": 0.1}, {"maximize": True}],
    "adamw": [{}, {"amsgrad": True, "weight_decay": 0.0, "maximize": True}],
}
"""Settings that between them take every branch of every spec."""

FORMATS_OF = (
    ("float32", "float32"),
    ("float64", "float64"),
    ("bfloat16", "bfloat16"),
    ("float16", "float16"),
    ("bfloat16", "float32"),
    ("float16", "float32"),
)


def body_for(spec: str, hypers: Mapping[str, Any], t: int) -> Body:
    truths = {c for c in conditions(spec) if holds(c, {**hypers, "t": t})}
    return lowered(spec, frozenset(truths), zero=zeros(hypers))


def numbers(n: int, seed: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Values over many decades, with zeros, subnormals, infinities and a NaN among them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n) * 10.0 ** rng.uniform(-8, 3, n)
    odd = [0.0, -0.0, 1.0, math.inf, -math.inf, math.nan, 1e-45, -1e-40, 3e38, 6e-8, 1e-310]
    x[: len(odd)] = odd
    return x


def test_every_setting_is_covered() -> None:
    """Every combination of conditions that some admissible setting can meet has a setting here."""
    for name, settings in FLAGS.items():
        spec = load(name)
        seen = {
            frozenset(c for c in conditions(name) if holds(c, {**spec.defaults, **s, "t": 2}))
            for s in settings
        }
        for c in conditions(name):
            if c != "t == 1":
                assert any(c in truths for truths in seen), f"{name}: {c} never holds"
                assert any(c not in truths for truths in seen), f"{name}: {c} always holds"


@pytest.mark.parametrize("spec", FLAGS)
@pytest.mark.parametrize("formats", FORMATS_OF, ids="-".join)
def test_host_is_numpy_bit_for_bit(spec: str, formats: tuple[str, str]) -> None:
    same = formats[0] == formats[1]
    for setting in FLAGS[spec] if same else FLAGS[spec][-1:]:
        kernel_runs(spec, setting, *formats)


@pytest.mark.parametrize("spec", ["sgd", "adamw", "adadelta"])
def test_stochastic_rounding_is_numpy_bit_for_bit(spec: str) -> None:
    for setting in FLAGS[spec][-1:]:
        kernel_runs(spec, setting, "bfloat16", "bfloat16", stochastic=True)
        kernel_runs(spec, setting, "bfloat16", "float32", stochastic=True)


def kernel_runs(
    spec: str, setting: Mapping[str, Any], param: str, state: str, *, stochastic: bool = False
) -> None:
    """Three steps of the host program and of numpy, from the same tensors, compared bit for bit."""
    n = 150 if param == "float64" else 1100  # more than a chunk, and a tail
    hypers = {**load(spec).defaults, **setting}
    tensors = {"p": stored(numbers(n, 0), param)}
    for t in (1, 2, 3):
        kernel = Kernel(body_for(spec, hypers, t), param, state, stochastic)
        for k, name in enumerate(kernel.body.arrays):
            if name not in tensors:  # what is odd here meets what is not elsewhere
                tensors[name] = stored(np.roll(np.abs(numbers(n, 10 + k)), 20 * k), state)
        tensors["grad"] = stored(numbers(n, t), param)
        given = {**hypers, "t": float(t), "lr0": 0.0}
        expected = evaluate.step(
            kernel,
            {name: wide(x) for name, x in tensors.items()},
            given,
            number=3,
            seed=2**40 + 7,
        )
        ran(kernel, tensors, given, number=3, seed=2**40 + 7)
        for name, values in expected.items():
            got = wide(tensors[name])
            same = same_bits(got, values)
            i = int(np.argmin(same))
            assert same.all(), f"{setting} step {t}, {name}[{i}]: {got[i]!r}, not {values[i]!r}"


def stored(values: np.ndarray[Any, Any], fmt: str) -> torch.Tensor:
    return torch.from_numpy(values.copy()).to(getattr(torch, fmt))


def wide(x: torch.Tensor) -> np.ndarray[Any, Any]:
    return (x if x.dtype == torch.float64 else x.float()).numpy()


def same_bits(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    whole = a.dtype.str.replace("f", "u")
    return (a.view(whole) == b.view(whole)) | (np.isnan(a) & np.isnan(b))


def ran(
    kernel: Kernel,
    tensors: Mapping[str, torch.Tensor],
    hypers: Mapping[str, float],
    *,
    number: int = 0,
    seed: int = 0,
) -> None:
    """The host program, once, in place."""
    n = tensors["p"].numel()
    entry = np.zeros(1, kernel.entry)
    entry["array"][0] = [tensors[name].data_ptr() for name in kernel.body.arrays]
    entry["n"], entry["number"] = n, number
    chunks = -(-n // emit.CHUNK)
    work = np.stack([np.zeros(chunks), np.arange(chunks)], axis=1).astype(np.int32)
    args = np.zeros(1, kernel.args)
    args["entries"], args["work"], args["n_work"] = entry.ctypes.data, work.ctypes.data, chunks
    args["seed"] = seed
    few = args["few"][0, 0]
    few["k"][: len(kernel.body.constants)] = kernel.body.constants.values(hypers)
    few["t"] = hypers["t"]
    host.program(kernel).launch(args)(())


def test_constants_of_the_device_are_those_of_python() -> None:
    """The function that makes constants on the device, built for the host."""
    for spec, settings in FLAGS.items():
        for setting in settings:
            hypers = {**load(spec).defaults, **setting}
            kernel = Kernel(body_for(spec, hypers, 7), "float64", "float64")
            given = [{**hypers, "t": float(t), "lr0": 0.0} for t in (7, 1000)]
            table = np.array([[float(h[name]) for name in kernel.hypers] for h in given])
            out = np.zeros(2, kernel.row)
            host.program(kernel).rows(torch.from_numpy(table), torch.from_numpy(out.view(np.uint8)))
            for row, h in zip(out, given, strict=True):
                made = kernel.body.constants.values(h)
                assert row["k"][: len(made)].tolist() == made
                assert row["t"] == h["t"]


def test_one_division_and_one_root() -> None:
    """In every variant; two roots where eps is both inside and outside of those of Adadelta."""
    for spec in bundled():
        for variant in axes(spec):
            hypers = {**load(spec).defaults, "t": 2}
            truths = frozenset(c for c in conditions(spec, variant) if holds(c, hypers))
            body = lowered(spec, truths, variant=variant)
            assert sum(op.kind == "div" for op in body.ops) <= 1, (spec, variant)
            apart = ("eps", "outside") in variant and spec == "adadelta"
            assert sum(op.kind == "sqrt" for op in body.ops) <= 1 + apart, (spec, variant)


def test_the_page_shows_the_body_of_adamw() -> None:
    page = (Path(__file__).parent.parent / "docs" / "cuda.md").read_text(encoding="utf-8")
    shown = [
        " ".join(x.split("   ")[0].split()) for x in re.findall(r"^    (x\d = .*)$", page, re.M)
    ]
    assert shown == [str(op) for op in body_for("adamw", load("adamw").defaults, 2).ops]


def axes(spec: str) -> Iterator[tuple[tuple[str, str], ...]]:
    loaded = load(spec)
    for axis in loaded.axes.values():
        for value, choice in axis.choices.items():
            if value != "number":
                needs = {a: allowed[0] for a, allowed in choice.needs.items()}
                yield tuple(sorted(loaded.variant({**needs, axis.name: value}).items()))


def test_fused_multiply_add_is_rounded_once() -> None:
    rng = np.random.default_rng(5)
    for bits, emulated in ((np.float32, evaluate.fma32), (np.float64, evaluate.fma64)):
        info = np.finfo(bits)
        a, b = (rng.normal(size=4000).astype(bits) for _ in range(2))
        near = (-a.astype(np.longdouble) * b).astype(bits)  # cancels all but the last bits
        scale = bits(2.0) ** rng.integers(info.minexp // 2, 0, 4000).astype(bits)
        for x, y, c in (
            (a, b, near),
            (a, b, rng.normal(size=4000).astype(bits) * bits(1e-7)),
            (a * scale, b * scale, np.full(4000, info.smallest_subnormal, bits)),
        ):
            got = emulated(x, y, c)
            for i in range(0, 4000, 37):
                exact = Fraction(float(x[i])) * Fraction(float(y[i])) + Fraction(float(c[i]))
                below, above = (np.nextafter(got[i], bits(s)) for s in (-math.inf, math.inf))
                error = abs(Fraction(float(got[i])) - exact)
                for other in (below, above):
                    assert error <= abs(Fraction(float(other)) - exact), (x[i], y[i], c[i])


def test_stochastic_rounding_has_the_right_mean() -> None:
    """Of 4e4 roundings of one number, the share that goes up, within five standard deviations."""
    n = 40_000
    kernel = Kernel(
        body_for("sgd", {**load("sgd").defaults, "lr": 1.0}, 1), "bfloat16", "bfloat16", True
    )
    hypers = {**load("sgd").defaults, "lr": 0.0009765625, "t": 1.0}  # 2**-10: an eighth of an ulp
    tensors = {
        "p": torch.ones(n, dtype=torch.bfloat16),
        "grad": -torch.ones(n, dtype=torch.bfloat16),
    }
    ran(kernel, tensors, hypers, seed=1)
    up = (tensors["p"] > 1).sum().item()
    assert set(tensors["p"].tolist()) == {1.0, 1.0078125}
    assert abs(up - n / 8) < 5 * math.sqrt(n * 1 / 8 * 7 / 8)


def test_random_words_are_philox() -> None:
    """Four words of one element differ from those of its neighbours, steps, tensors and seeds."""
    element = np.arange(3, dtype=np.uint64)
    seen = {
        tuple(int(w[i]) for w in evaluate.philox(element, t, tensor, seed))
        for i, t, tensor, seed in itertools.product(range(3), (1, 2), (0, 1), (0, 1, 2**33))
    }
    assert len(seen) == 36


def test_states_are_those_of_the_spec() -> None:
    for spec, settings in FLAGS.items():
        for setting in settings:
            hypers = {**load(spec).defaults, **setting}
            body = body_for(spec, hypers, 2)
            expected = {
                s.name
                for s in states_of(load(spec), {}).values()
                if s.when is None or holds(s.when, hypers)
            }
            assert set(body.writes) == {"p", *expected}
            assert FORMATS.keys() == emit.STORED.keys()
