"""Scalars of a step: what is computed in doubles, by whatever formula, lies within the bound."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from optconform import expr
from optconform.expr import Graph, Hyper, Index
from optconform.formats import FORMATS
from optconform.interpreter import Step
from optconform.oracle import exact
from optconform.oracle.factors import Factors
from optconform.oracle.majorant import Majorant
from optconform.oracle.scalars import Profile, Scalar, Scalars
from optconform.spec import Program, Spec
from optconform.spec_file import load

NAMES = ("a", "b", "n", "t")
SPEC: Spec = load("sgd")  # any: a program belongs to one


def built(source: str) -> tuple[Graph, Index]:
    graph = Graph()
    env = {name: graph.add(Hyper(name)) for name in NAMES}
    tree = expr.parse(source, where="here")
    return graph, expr.build(tree, graph, env, lambda _: None, where="here")[0]


def scalar(source: str, **row: float) -> Scalar:
    graph, i = built(source)
    return Scalars(graph, [row], Profile())[i]


def rows(seed: int) -> Iterator[dict[str, float]]:
    """Settings at random, and those in which terms cancel."""
    rng = np.random.default_rng(seed)
    for _ in range(60):
        yield {"a": rng.random(), "b": rng.random() * 2, "n": rng.random() * 3, "t": 1.0}
    for a, b, t in itertools.product((0.0, 0.01, 0.1, 0.5, 0.9), (0.1, 0.5, 0.9, 1.0), (1.0, 7.0)):
        yield {"a": a, "b": b, "n": 2.0, "t": t}


def numbers(source: str, row: dict[str, float]) -> tuple[Scalar, float, Any]:
    """The bound, what doubles give, and the exact value."""
    graph, i = built(source)
    with np.errstate(all="ignore"):
        plain = float(Step(graph, FORMATS["float64"], row, {}).number(i))
    program = Program(SPEC, (), graph, (), {}, {"x": i})
    return Scalars(graph, [row], Profile())[i], plain, exact.evaluate(program, row, {})["x"]


@pytest.mark.parametrize(
    "source",
    [
        "max(a, 0.1)", "max(a - b, b - a)", "abs(a - b)", "sign(a - b)", "sign(a) * b",
        "1 / max(a, b)", "max(a, b)**t", "a / (sqrt(a) - (1 - b))", "(sqrt(a) - (1 - b)) * a",
        "(a - (1 - b)) * (a + b)", "sqrt(a - (1 - b))", "sqrt(abs(a - (1 - b)))",
        "(a - (1 - b))**t", "abs(a - (1 - b))**n", "a**(n * 0.1 * t)", "b / (a - (1 - b))**2",
        "sign(sqrt(a) - (1 - b))", "1 / (1 - b**t)", "max(sqrt(a) - (1 - b), 0)",
    ],
)  # fmt: skip
def test_what_doubles_give_is_within_the_bound(source: str) -> None:
    known = 0
    for row in rows(len(source)):
        bound, plain, ball = numbers(source, row)
        value, error = bound.value[0], bound.error[0]
        if np.isfinite(error):
            known += 1
            assert abs(value - float(ball)) <= error + 1e-16 * abs(value), row
            assert abs(plain - value) <= error, row
    assert known > 20


def factor(source: str, exponent: int, row: dict[str, float]) -> Majorant:
    graph, i = built(source)
    fmt = FORMATS["float32"]
    found = Factors(graph, fmt, Scalars(graph, [row], Profile()), np.arange(1)).factor(exponent, i)
    assert found is not None
    return found


def test_one_over_what_may_be_zero_is_unsafe() -> None:
    """sqrt(0.01) - (1 - 0.9) is 0 in doubles, and 2e-17 of the doubles that are nearest."""
    row = {"a": 0.01, "b": 0.9, "n": 1.0, "t": 1.0}
    cancelled = "sqrt(a) - (1 - b)"
    found = scalar(cancelled, **row)
    assert 0 < abs(found.value[0]) <= found.error[0]
    assert found.slack[0] <= 0
    assert np.isinf(scalar(f"n / ({cancelled})", **row).error[0])
    over, under = factor(cancelled, 1, row), factor(cancelled, -1, row)
    assert over.unsafe is None and under.unsafe is not None and under.unsafe.all()
    assert not over.nonneg, "what is computed may be negative"
    assert over.error >= found.error[0]


def test_the_error_of_one_over_a_scalar_is_that_of_the_smallest_that_may_be_computed() -> None:
    row = {"a": 1 - 2.0**-48, "b": 1.0, "n": 1.0, "t": 4.0}
    found = scalar("1 - a**t", **row)
    size, error = abs(float(found.value[0])), float(found.error[0])
    assert 0.01 < error / size < 1
    under = factor("1 - a**t", -1, row)
    assert under.unsafe is None
    assert under.error.item() >= 1 / (size - error) - 1 / size


def test_zero_by_cancellation_is_not_exactly_zero() -> None:
    """sqrt(0.25) - (1 - 0.5), by a formula that rounds."""
    row = {"a": 0.25, "b": 0.5, "n": 3.0, "t": 1.0}
    found = scalar("(sqrt(a) - (1 - b)) * n", **row)
    assert found.value[0] == 0 < found.error[0] < 1e-14
    assert scalar("(a - a) * n", **row).error[0] == 0


def test_maximum_magnitude_and_sign() -> None:
    row = {"a": 0.3, "b": 0.7, "n": 2.0, "t": 1.0}
    sum_, larger = scalar("a + b", **row), scalar("max(a + b, a)", **row)
    assert (larger.value, larger.error) == (sum_.value, sum_.error)
    assert scalar("max(a + b, 5)", **row).error[0] == 0, "nobody computes the other as larger"
    gap = scalar("abs(a - b)", **row)
    assert gap.value[0] > 0 and gap.error == scalar("a - b", **row).error
    assert (scalar("sign(a - b)", **row).value[0], scalar("sign(a - b)", **row).error[0]) == (-1, 0)
    straddling = scalar("sign(sqrt(a) - (1 - b))", a=0.01, b=0.9, n=1.0, t=1.0)
    assert straddling.error[0] == 2
    assert scalar("sign(a - a)", **row).error[0] == 0
