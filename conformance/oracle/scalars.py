"""Scalars of a step: hyperparameters, the step counter and whatever is computed from them alone.

Every scalar is computed for many rows (steps, groups) at once in extended precision, with a bound
on the error of *any* usual formula for it in the scalar precision of the profile: powers by pow,
by exp and log or by repeated products, 1 - b**t by expm1.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..expr import (
    Absolute,
    Const,
    Graph,
    Hyper,
    Index,
    Let,
    Maximum,
    Power,
    Product,
    Root,
    Sign,
    Sum,
)
from ..formats import FORMATS

Real = np.longdouble
Array = NDArray[np.longdouble]

OWN = float(np.finfo(np.longdouble).eps)  # our own rounding, per operation


@dataclass(frozen=True, slots=True)
class Profile:
    """The precision profile of an implementation, apart from the formula it follows.

    ``scalars``: the precision in which bias corrections and the like are computed (float64 or
    float32); ``hypers``: the precision that hyperparameters are rounded to before anything is
    computed from them (exact: not at all, or float32); ``memory``: whether the tensors that can be
    seen are all that is remembered (shown), or their low-order bits are kept elsewhere, as master
    weights and compensated sums do (wider); ``subnormals``: kept or flushed to zero; ``rounding``:
    every operation to the nearest number, or to one of the two neighbours (faithful), as truncation
    and stochastic rounding do.
    """

    scalars: str = "float64"
    hypers: str = "exact"
    memory: str = "shown"
    subnormals: str = "kept"
    rounding: str = "nearest"

    def as_dict(self) -> dict[str, str]:
        return asdict(self)

    def deviations(self) -> dict[str, str]:
        """What differs from the profile that a subject is expected to have."""
        usual = Profile().as_dict()
        return {k: v for k, v in self.as_dict().items() if v != usual[k]}

    def harmless(self, dtype: str) -> bool:
        """Whether nothing is computed below the precision of tensors of this dtype."""
        return not ("float32" in (self.scalars, self.hypers) and dtype == "float64")


_UNUSUAL = {
    "scalars": "float32",
    "hypers": "float32",
    "memory": "wider",
    "subnormals": "flushed",
    "rounding": "faithful",
}

PROFILES = tuple(
    sorted(
        (
            Profile(**{name: _UNUSUAL[name] for name in names})
            for names in (
                *(names for count in range(3) for names in itertools.combinations(_UNUSUAL, count)),
                ("scalars", "hypers", "subnormals"),
            )
        ),
        key=lambda p: p.rounding == "faithful",
    )
)
"""The known profiles, the plainest first: at most two deviations each, and those of a framework
that keeps every scalar in a float32 tensor and flushes subnormals, as TensorFlow does."""


@dataclass(frozen=True, slots=True)
class Scalar:
    """A scalar over all rows: exact value and absolute error, each of shape (rows,).

    The error is infinite, or NaN, where nothing is known of what is computed.
    """

    value: Array
    error: Array

    @property
    def slack(self) -> Array:
        """The least size that may be computed; at most zero where the sign is open."""
        return np.abs(self.value) - self.error


class Scalars:
    """The scalar nodes of a graph for a list of rows; computed when asked for.

    ``rows`` gives for each row the hyperparameters, with ``t`` and ``lr0`` among them.
    """

    def __init__(self, graph: Graph, rows: Sequence[Mapping[str, float]], profile: Profile) -> None:
        self.graph, self.rows, self.profile = graph, rows, profile
        self.unit = Real(FORMATS[profile.scalars].unit + OWN)
        self.hypers = None if profile.hypers == "exact" else FORMATS[profile.hypers]
        self._memo: dict[Index, Scalar] = {}

    def __getitem__(self, i: Index) -> Scalar:
        if i not in self._memo:
            with np.errstate(all="ignore"):
                self._memo[i] = self._compute(i)
        return self._memo[i]

    def _compute(self, i: Index) -> Scalar:
        u = self.unit
        value: Array
        error: Array
        match self.graph.nodes[i]:
            case Hyper(name):
                given: Any = np.array([float(row[name]) for row in self.rows])
                if self.hypers is not None and name != "t":
                    given = self.hypers.round(given)
                value = given.astype(np.longdouble)
                error = np.zeros_like(value)
            case Const(exact):
                quotient = _longdouble(exact.numerator) / _longdouble(exact.denominator)
                value = np.full(len(self.rows), quotient, Real)
                dyadic = exact.denominator & (exact.denominator - 1) == 0
                error = np.zeros_like(value) if dyadic else Real(u) * np.abs(value)
            case Let(_, forms):
                return self[forms[0]]
            case Sum(terms):
                parts = [(sign, self[j]) for sign, j in terms]
                value = sum((sign * x.value for sign, x in parts), np.zeros(len(self.rows), Real))
                error = sum((x.error for _, x in parts), np.zeros(len(self.rows), Real))
                if len(parts) == 2:
                    # a term that is exactly zero costs nothing: 1 - 0 is 1
                    a, b = (x for _, x in parts)
                    rounds = ((a.value != 0) | (a.error > 0)) & ((b.value != 0) | (b.error > 0))
                    error = error + rounds * u * (np.abs(value) + error)
                    error = error + OWN * (np.abs(a.value) + np.abs(b.value)) * (
                        rounds & (value != 0)
                    )
                elif len(parts) > 2:
                    total = sum((np.abs(x.value) + x.error for _, x in parts), np.zeros_like(value))
                    error = error + (len(parts) - 1) * u * total
            case Product(factors):
                value = np.ones(len(self.rows), Real)
                relative, most = np.zeros_like(value), np.ones_like(value)
                known = np.ones(len(self.rows), np.bool_)
                for exponent, j in factors:
                    x = self[j]
                    value = value * x.value if exponent > 0 else value / x.value
                    relative = relative + np.where(x.error == 0, 0, x.error / x.slack) + u
                    # one over what may be computed as zero may be anything
                    least = np.where((x.error > 0) & ~(x.slack > 0), 0, x.slack)
                    most = most * (np.abs(x.value) + x.error) if exponent > 0 else most / least
                    known = known & ((x.error == 0) | (x.slack > 0))
                apart = np.abs(value) + most * (1 + 2 * len(factors) * u)
                error = np.where(known, np.abs(value) * relative * (1 + relative), apart)
            case Power(base, exponent):
                b, n = self[base], self[exponent]
                value = b.value**n.value
                slope = np.where(b.value > 0, np.abs(n.value * np.log(b.value)), 0)
                relative = u * (2 + np.abs(n.value) + 3 * slope)
                error = np.abs(value) * (relative + _moved(b, n) * (1 + relative))
            case Root(argument):
                x = self[argument]
                value = np.sqrt(x.value)
                error = u * value + np.where(x.error == 0, 0, x.error / value)
                error = np.where((x.error > 0) & ~(x.slack >= 0), np.inf, error)  # or NaN
            case Maximum(left, right):
                x, y = self[left], self[right]
                value = np.maximum(x.value, y.value)
                error = np.maximum(x.error, y.error)
                for larger, other in ((x, y), (y, x)):
                    wins = larger.value - larger.error > other.value + other.error
                    error = np.where(wins, larger.error, error)
            case Absolute(argument):
                x = self[argument]
                value, error = np.abs(x.value), x.error
            case Sign(argument):
                x = self[argument]
                value = np.sign(x.value)
                error = np.where((x.error == 0) | (x.slack > 0), 0, Real(2))  # either sign, or none
            case node:
                raise TypeError(f"{type(node).__name__} is no scalar operation")
        return Scalar(value, error)


def _moved(b: Scalar, n: Scalar) -> Array:
    """How far the errors of base and exponent can move ``b**n``, relative to it."""
    logarithm = np.where(b.value > 0, np.abs(np.log(b.value)), 0)
    off = np.where(b.error == 0, 0, b.error / b.slack)  # of the logarithm of the base
    shift = np.where(n.error == 0, 0, n.error * (logarithm + off)) + np.abs(n.value) * off
    sure = ((b.error == 0) | (b.slack > 0)) & ((n.error == 0) | (b.value > 0))
    return np.where(sure, np.expm1(shift), np.inf)


def _longdouble(n: int) -> np.longdouble:
    """An integer as a long double, rounded once."""
    return np.longdouble(str(n))
