"""Free-running: the oracle beside a subject whose state cannot be seen.

Plain intervals explode within a few steps, because each step forgets that the errors of its inputs
are the same in every place where they occur.  So every local error keeps its identity: it is moved
through the later steps by the Jacobian of the exact step map, and the bound is the sum of the moved
errors' absolute values.

First-order propagation is exact up to curvature.  Curvature enters through roots, denominators and
products, whose relative change is at most rho when their arguments are off by a relative rho: each
of ``BENDS`` nestings magnifies by 1/(1 - rho).  Where rho is no longer small the element is
undecided.

A subject rounds what it has, which is off by the errors so far: its roundings are relative to each
monomial at its own place and not at the exact one, which may be zero there.  So the errors so far
are moved once more, by the sum of the monomials' absolute slopes, and cost a rounding each.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..expr import Absolute, Graph, Index, Input, Let, Maximum, Product, Root, Sign, Sum
from ..formats import Format
from ..spec import Program
from .bound import Bound, Outcome
from .factors import Factors
from .majorant import Floats, several
from .scalars import Profile, Scalars
from .structure import Folds, folds

BENDS = 6  # nested non-linear operations in a step, products of two inexact factors included
RHO = 0.25  # largest relative error of an argument under which the linearisation is used


def free_running(
    programs: Sequence[Program],
    scalars: Sequence[Mapping[str, float]],
    start: Mapping[str, NDArray[np.float64]],
    grads: Sequence[NDArray[np.float64]],
    *,
    fmt: Format,
    profile: Profile,
) -> list[Outcome]:
    """The outcome of ``p`` after each step of a run.

    ``programs``, ``scalars`` and ``grads`` have one entry a step; ``start`` maps ``p`` and the
    states to initial values, flat.  Outcomes have shape (1, elements).
    """
    real: type[np.floating[Any]] = np.longdouble if fmt.name == "float64" else np.float64
    exact = {n: x.astype(real)[None, :] for n, x in start.items()}
    width = exact["p"].shape
    # errors[k][name]: how far the k-th local error has moved each quantity
    errors: list[dict[str, Floats]] = [
        {n: np.where(fmt.round(x.astype(np.float64)) != x, np.abs(x) * fmt.unit, 0)}
        for n, x in exact.items()
    ]
    errors = [e for e in errors if any(np.any(x) for x in e.values())]
    undecided = np.zeros(width, np.bool_)
    out: list[Outcome] = []
    for p, row, grad in zip(programs, scalars, grads, strict=True):
        total = {n: _total(errors, n, width, real) for n in exact}
        inputs = {n: (x, None) for n, x in exact.items()}
        inputs["grad"] = (grad.astype(real)[None, :], None)
        nonneg = frozenset(s.name for s in p.states if s.nonneg)
        bound = Bound(_factors(p.graph, tuple(row.items()), fmt, profile), inputs, nonneg)
        fold = folds(p.graph, tuple(p.outputs.values()))
        local = {n: bound.outcome(i, fold) for n, i in p.outputs.items()}
        with np.errstate(all="ignore"):
            slopes = _Slopes(p.graph, bound, fold, {n: x for n, (x, _) in inputs.items()}, total)
            tangents = {n: slopes.of(i) for n, i in p.outputs.items()}
            rho = np.broadcast_to(slopes.rho, width)
            bend = (1 - np.minimum(rho, RHO)) ** -BENDS
            moved: list[dict[str, Floats]] = []
            for e in errors:
                moved.append(
                    {
                        n: sum(
                            (d * e[m] for m, d in tangents[n].items() if m in e),
                            np.zeros(width, real),
                        )
                        * bend
                        for n in tangents
                    }
                )
            for n, o in local.items():
                rounded = several(bound.roundings[p.outputs[n]], bound.u)
                moved.append({n: (o.error + rounded * slopes.shaken(p.outputs[n])) * bend})
                undecided = undecided | o.undecided | o.must_nan
            for n in exact:
                if n not in local:
                    for before, after in zip(errors, moved, strict=False):
                        if n in before:
                            after[n] = before[n]
        undecided = undecided | (rho > RHO) | ~np.isfinite(rho)
        errors = moved
        exact = {n: local[n].value if n in local else exact[n] for n in exact}
        error = _total(errors, "p", width, real)
        undecided = undecided | ~np.isfinite(error) | ~np.isfinite(exact["p"])
        must_nan = np.zeros(width, np.bool_)
        out.append(Outcome(exact["p"], error, undecided.copy(), must_nan))
    return out


@functools.lru_cache(maxsize=256)
def _factors(
    graph: Graph, row: tuple[tuple[str, float], ...], fmt: Format, profile: Profile
) -> Factors:
    """The scalars of a step, kept: runs that are made smaller have the same ones again and again,
    and so have the hypotheses for one run."""
    return Factors(graph, fmt, Scalars(graph, [dict(row)], profile), np.arange(1))


def _total(
    errors: Sequence[Mapping[str, Floats]], name: str, shape: tuple[int, ...], real: Any
) -> Floats:
    return sum((np.abs(e[name]) for e in errors if name in e), np.zeros(shape, real))


@dataclass(frozen=True, slots=True)
class _Node:
    """A node's value and its slopes by the inputs; and the sums of absolute monomials of both."""

    value: Floats
    size: Floats
    slope: dict[str, Floats]
    steep: dict[str, Floats]


class _Slopes:
    """Forward derivatives of nodes by the inputs of a step, and the largest relative error met."""

    def __init__(
        self,
        graph: Graph,
        bound: Bound,
        fold: Folds,
        values: Mapping[str, Floats],
        total: Mapping[str, Floats],
    ) -> None:
        self.graph, self.bound, self.fold = graph, bound, fold
        self.values, self.total = values, total
        self.rho: Floats = np.zeros((1, 1), bound.real)
        self.memo: dict[Index, _Node] = {}

    def of(self, i: Index) -> dict[str, Floats]:
        return self.node(i).slope

    def shaken(self, i: Index) -> Floats:
        """How far the monomials of a node are off, one by one, summed up."""
        return self.off(self.node(i).steep)

    def node(self, i: Index) -> _Node:
        if i not in self.memo:
            self.memo[i] = self.build(i)
        return self.memo[i]

    def off(self, d: Mapping[str, Floats]) -> Floats:
        """How far a node with slopes ``d`` may be off."""
        return sum(
            (np.abs(v) * self.total[n] for n, v in d.items() if n in self.total),
            np.zeros_like(self.rho),
        )

    def bends(self, x: Floats, d: Mapping[str, Floats]) -> None:
        """Note the relative error of the argument of something non-linear."""
        off = self.off(d)
        relative = np.where(off == 0, 0, off / np.where(x == 0, 1, np.abs(x)))
        relative = np.where((x == 0) & (off > 0), np.inf, relative)
        self.rho = np.maximum(self.rho, relative)

    def turns(self, gap: Floats, *sides: Index) -> None:
        """Where what turns at ``gap`` = 0 may be computed on the other side of it, the slope is
        open and the element undecided; the errors so far and the roundings of this step may take
        it there together.  Where nothing is off so far, the bound of the step says it all."""
        off = sum((self.off(self.node(i).slope) for i in sides), np.zeros_like(self.rho))
        swing = off + sum(self.bound.rounded(i, self.fold) for i in sides)
        self.rho = np.where((off == 0) | (np.abs(gap) > swing), self.rho, np.inf)

    def build(self, i: Index) -> _Node:
        if self.graph.scalar[i]:
            number = self.bound.factors.number(i)[0]
            return _Node(number, np.abs(number), {}, {})
        match self.graph.nodes[i]:
            case Input(name):
                given = self.values[name]
                one = {name: np.ones_like(given)}
                return _Node(given, np.abs(given), one, one)
            case Let(_, forms):
                return self.node(forms[0])
            case Sum(terms):
                return self.sum([(sign, self.node(j)) for sign, j in terms])
            case Product(factors):
                return self.product([(exponent, self.node(j)) for exponent, j in factors])
            case Root(j):
                x = self.node(j)
                self.bends(x.value, x.slope)
                value = np.sqrt(np.maximum(x.value, 0))
                safe = np.where(value > 0, value, 1)
                return _opaque(
                    value, {n: np.where(value > 0, v / (2 * safe), 0) for n, v in x.slope.items()}
                )
            case Maximum(j, k):
                x, y = self.node(j), self.node(k)
                left = x.value >= y.value
                self.turns(x.value - y.value, j, k)
                return _opaque(
                    np.maximum(x.value, y.value),
                    {
                        n: np.where(left, x.slope.get(n, 0), y.slope.get(n, 0))
                        for n in dict.fromkeys((*x.slope, *y.slope))
                    },
                )
            case Absolute(j):
                x = self.node(j)
                self.turns(x.value, j)
                sign = np.sign(x.value)
                return replace(
                    x, value=np.abs(x.value), slope={n: sign * v for n, v in x.slope.items()}
                )
            case Sign(j):
                x = self.node(j)
                self.turns(x.value, j)
                return _opaque(np.sign(x.value), {})
        raise TypeError(f"node {i} is no tensor operation")

    def sum(self, terms: Sequence[tuple[int, _Node]]) -> _Node:
        value = size = np.zeros_like(self.rho)
        slope: dict[str, Floats] = {}
        steep: dict[str, Floats] = {}
        for sign, x in terms:
            value, size = value + sign * x.value, size + x.size
            for n, v in x.slope.items():
                slope[n] = slope.get(n, 0) + sign * v
            for n, v in x.steep.items():
                steep[n] = steep.get(n, 0) + v
        return _Node(value, size, slope, steep)

    def product(self, factors: Sequence[tuple[int, _Node]]) -> _Node:
        value = size = np.ones_like(self.rho)
        slope: dict[str, Floats] = {}
        steep: dict[str, Floats] = {}
        curved = sum(bool(x.slope) for _, x in factors) > 1
        for exponent, x in factors:
            names = dict.fromkeys((*slope, *x.slope))  # in order, which the last bit hangs on
            if x.slope and (curved or exponent < 0):
                self.bends(x.value, x.slope)
            if exponent < 0:  # one over a denominator is opaque, like a root
                over = np.abs(x.value)
                value, size = value / x.value, size / over
                slope = {n: (slope.get(n, 0) - value * x.slope.get(n, 0)) / x.value for n in names}
                steep = {
                    n: (steep.get(n, 0) + size * np.abs(x.slope.get(n, 0))) / over for n in names
                }
            else:
                slope = {n: slope.get(n, 0) * x.value + value * x.slope.get(n, 0) for n in names}
                steep = {n: steep.get(n, 0) * x.size + size * x.steep.get(n, 0) for n in names}
                value, size = value * x.value, size * x.size
        return _Node(value, size, slope, steep)


def _opaque(value: Floats, slope: dict[str, Floats]) -> _Node:
    return _Node(value, np.abs(value), slope, {n: np.abs(v) for n, v in slope.items()})
