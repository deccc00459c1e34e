"""An independent evaluation of a step in Arb balls, element by element.

It shares nothing with the bound but the graph: values are rigorous enclosures of the written
equations in exact arithmetic, at a precision where the enclosure is far narrower than any bound.
"""

import math
from collections.abc import Mapping

from flint import arb, ctx, fmpq

from ..expr import (
    Absolute,
    Const,
    Graph,
    Hyper,
    Index,
    Input,
    Let,
    Maximum,
    Power,
    Product,
    Root,
    Sign,
    Sum,
)
from ..spec import Program

BITS = 1200  # float64 squares span 4000 binary orders; balls this narrow keep 1e-300 beside 1


def evaluate(
    program: Program, scalars: Mapping[str, float], start: Mapping[str, "float | arb"]
) -> dict[str, arb]:
    """The exact outputs of one step for one element, as balls (not finite for 0/0)."""
    before = ctx.prec
    ctx.prec = BITS
    try:
        memo: dict[Index, arb] = {}
        return {
            name: _node(program.graph, i, scalars, start, memo)
            for name, i in program.outputs.items()
        }
    finally:
        ctx.prec = before


def confirms(value: arb, observed: float, bound: float, *, must_nan: bool = False) -> bool:
    """Whether the exact value proves that ``observed`` is farther away than ``bound``."""
    if must_nan:
        return not value.is_finite() and not math.isnan(observed)
    if not value.is_finite():
        return False
    if not math.isfinite(observed):
        return True
    return bool(abs(value - arb(observed)) > arb(bound))


def _node(
    graph: Graph,
    i: Index,
    scalars: Mapping[str, float],
    start: Mapping[str, "float | arb"],
    memo: dict[Index, arb],
) -> arb:
    if i in memo:
        return memo[i]

    def go(j: Index) -> arb:
        return _node(graph, j, scalars, start, memo)

    match graph.nodes[i]:
        case Hyper(name):
            value = arb(float(scalars[name]))
        case Const(x):
            value = arb(fmpq(x.numerator, x.denominator))
        case Input(name):
            value = arb(start[name])
        case Let(_, forms):
            value = go(forms[0])
        case Sum(terms):
            value = arb(0)
            for sign, j in terms:
                value = value + go(j) if sign > 0 else value - go(j)
        case Product(factors):
            value = arb(1)
            for exponent, j in factors:
                value = value * go(j) if exponent > 0 else value / go(j)
        case Power(base, exponent):
            value = _power(go(base), go(exponent))
        case Root(j):
            value = go(j).sqrt()
        case Maximum(a, b):
            value = go(a).max(go(b))
        case Absolute(j):
            value = abs(go(j))
        case Sign(j):
            value = go(j).sgn()
    memo[i] = value
    return value


def _power(base: arb, exponent: arb) -> arb:
    n = float(exponent)
    if n == int(n) and abs(n) < 2**53:
        return base ** int(n)
    return base**exponent
