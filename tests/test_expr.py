"""The language of the equations: what it refuses, and the graph it makes."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

import pytest

from optconform import expr
from optconform.errors import SpecError
from optconform.expr import (
    Const,
    Graph,
    Hyper,
    Input,
    Let,
    Maximum,
    Power,
    Product,
    Root,
    Sum,
    children,
)

SCALARS = ("a", "b", "t")
TENSORS = ("p", "q", "grad")


class Made:
    """A graph with some inputs, and expressions put into it."""

    def __init__(self) -> None:
        self.graph = Graph()
        self.env = {n: self.graph.add(Hyper(n)) for n in SCALARS}
        self.env |= {n: self.graph.add(Input(n)) for n in TENSORS}

    def forms(self, source: str, *, true: tuple[str, ...] = ()) -> tuple[int, ...]:
        tree = expr.parse(source, where="here")
        return expr.build(tree, self.graph, self.env, true.__contains__, where="here")

    def one(self, source: str, *, true: tuple[str, ...] = ()) -> int:
        (made,) = self.forms(source, true=true)
        return made

    def terms(self, source: str) -> list[tuple[int, str]]:
        """The signed or exponentiated parts of a sum or product of inputs, by name."""
        node = self.graph.nodes[self.one(source)]
        assert isinstance(node, Sum | Product)
        parts = node.terms if isinstance(node, Sum) else node.factors
        names = {i: n for n, i in self.env.items()}
        return [(k, names[i]) for k, i in parts]


# ---- the graph -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("p + q", "p + q"),
        ("(p + q) + grad", "p + (q + grad)"),
        ("p - (q - grad)", "p - q + grad"),
        ("(p * q) * grad", "p * (q * grad)"),
        ("p / (q / grad)", "p * grad / q"),
        ("p**3", "p * p * p"),
        ("-(-p)", "p"),
        ("p + 0", "p"),
        ("p * 1", "p"),
        ("0.5", "5e-1"),
        ("sqrt(a * p)", "sqrt((a * p))"),
        ("0 * p", "0"),
    ],
)
def test_equal_structure_is_one_node(left: str, right: str) -> None:
    made = Made()
    first = made.one(left)
    size = len(made.graph.nodes)
    again = made.one(left)
    assert again == first
    assert len(made.graph.nodes) == size, "the same text twice adds nothing"
    assert made.one(right) == first


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("p - q", "q - p"),
        ("p / q", "q / p"),
        ("p + q", "p * q"),
        ("a * p + a * q", "a * (p + q)"),  # equal on paper, not the same arithmetic
        ("0.1", "0.1000001"),
        ("sqrt(p)", "abs(p)"),
        ("max(p, q)", "max(q, p)"),
        ("0 / p", "0"),  # NaN where p is zero
    ],
)
def test_different_structure_is_not_one_node(left: str, right: str) -> None:
    made = Made()
    assert made.one(left) != made.one(right)


def test_sums_and_products_are_flat() -> None:
    made = Made()
    assert made.terms("p - (q + (grad - a))") == [(1, "p"), (-1, "q"), (-1, "grad"), (1, "a")]
    assert made.terms("1 / q * p * (a / b)") == [(1, "p"), (1, "a"), (-1, "q"), (-1, "b")]
    assert made.terms("-p") == [(-1, "p")]


def test_what_is_a_scalar() -> None:
    made = Made()
    for source, expected in {
        "a * b + t": True,
        "a**t": True,
        "sqrt(1 - a**t)": True,
        "0.5": True,
        "a * p": False,
        "sqrt(q)": False,
        "max(a, grad)": False,
    }.items():
        assert made.graph.scalar[made.one(source)] is expected, source


def test_constants_are_exact_and_powers_are_products_or_scalar() -> None:
    made = Made()
    assert made.graph.nodes[made.one("0.1")] == Const(Fraction(1, 10))
    assert made.graph.nodes[made.one("a**t")] == Power(made.env["a"], made.env["t"])
    squared = made.graph.nodes[made.one("p**2")]
    assert squared == Product(((1, made.env["p"]), (1, made.env["p"])))
    assert children(made.graph.nodes[made.one("max(p, q)")]) == (made.env["p"], made.env["q"])
    assert isinstance(made.graph.nodes[made.one("max(p, q)")], Maximum)
    assert isinstance(made.graph.nodes[made.one("sqrt(p)")], Root)
    assert children(Let("x", (4, 5))) == (4, 5)
    assert children(Input("p")) == ()


def test_an_average_at_the_top_keeps_its_forms() -> None:
    made = Made()
    forms = made.forms("ema(q, grad, a)")
    assert len(set(forms)) == len(forms) >= 2
    assert made.one("a * q + (1 - a) * grad") == forms[0]
    assert made.one("q + (1 - a) * (grad - q)") in forms
    assert made.one("ema(q, grad, a) + 0") == forms[0], "inside an equation it is as written"
    chosen = made.forms("ema(q, grad, a) if a > 0 else q", true=("a > 0",))
    assert chosen == forms, "a settled condition does not hide the forms"


# ---- conditions ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "values", "expected"),
    [
        ("a > 0", {"a": 0.0}, False),
        ("a >= 0", {"a": 0.0}, True),
        ("a != 0 and not b", {"a": 0.5, "b": False}, True),
        ("a != 0 and not b", {"a": 0.5, "b": True}, False),
        ("not b or (a > 0 and t == 1)", {"a": 0.5, "b": True, "t": 2}, False),
        ("0 < a < 1", {"a": 0.5}, True),
        ("0 < a < 1", {"a": 1.0}, False),
        ("a > -1", {"a": -0.5}, True),
        ("b", {"b": True}, True),
        ("t <= 1", {"t": 1}, True),
    ],
)
def test_conditions(condition: str, values: Mapping[str, float], expected: bool) -> None:
    assert expr.holds(condition, values) is expected


def test_conditions_are_settled_and_found() -> None:
    made = Made()
    source = "(p if a>0 else q) + (grad if not b else 0)"
    tree = expr.parse(source, where="here")
    assert expr.conditions(tree) == ["a > 0", "not b"]
    assert made.one(source, true=("a > 0",)) == made.env["p"]
    assert made.one(source, true=("not b",)) == made.one("q + grad")
    assert expr.names(tree) == {"p", "q", "a", "b", "grad"}
    assert expr.names(expr.parse("sqrt(max(p, abs(a)))", where="")) == {"p", "a"}


@pytest.mark.parametrize("condition", ["sqrt(a) > 0", "a + 1 > 0", "a ** 2"])
def test_a_condition_is_no_arithmetic(condition: str) -> None:
    with pytest.raises(SpecError, match="is not a condition"):
        expr.holds(condition, {"a": 1.0})


# ---- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        "__import__('os').system('true')",
        "p.grad",
        "p[0]",
        "lambda: p",
        "'p'",
        "f'{p}'",
        "None",
        "1j",
        "...",
        "[p for p in q]",
        "(p, q)",
        "{p}",
        "(p := 1)",
        "p // 2",
        "p % 2",
        "p @ q",
        "p << 1",
        "+p",
        "~p",
        "open(p)",
        "eval(p)",
        "sqrt.__call__(p)",
        "(sqrt)(p)(p)",
        "sqrt()",
        "sqrt(p, q)",
        "max(p)",
        "max(*p, q)",
        "sqrt(p, **q)",
        "ema(m=p, x=q, beta=a)",
        "await p",
        "p;q",
        "p\nq",
        "p = 1",
        "",
        "p +",
        "p\0",
        "(" * 500 + "p" + ")" * 500,
        "-" * 1900 + "p",
        "-" * 950 + "p",
        "p" + " + p" * 600,
        "p if a in (0, 1) else q",
    ],
)
def test_the_whitelist_refuses(source: str) -> None:
    with pytest.raises(SpecError) as refused:
        expr.parse(source, where="spec x, equation y")
    assert str(refused.value).startswith("spec x, equation y: ")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("operator", ["in", "not in", "is", "is not"])
def test_conditions_compare_numbers(operator: str) -> None:
    """Whatever is accepted can also be decided."""
    with pytest.raises(SpecError):
        tree = expr.parse(f"p if a {operator} b else q", where="here")
        expr.holds(expr.conditions(tree)[0], {"a": 1.0, "b": 1.0})


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("p + unknown", "unknown name 'unknown'"),
        ("p ** t", "powers of scalars"),
        ("a ** p", "powers of scalars"),
        ("p ** 9", "powers of scalars"),
        ("p ** 0", "powers of scalars"),
        ("p ** -1", "powers of scalars"),
        ("p ** 0.5", "powers of scalars"),
        ("True", "is not allowed"),
        ("p + 1e999", "beyond the largest double"),
        ("p < q", "is not allowed"),
        ("p and q", "is not allowed"),
        ("not p", "is not allowed"),
    ],
)
def test_an_equation_is_arithmetic(source: str, says: str) -> None:
    with pytest.raises(SpecError, match=says) as refused:
        Made().forms(source)
    assert str(refused.value).startswith("here: ")
