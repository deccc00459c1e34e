"""The scalars of a graph as factors of tensor expressions: cast, inverted, folded and opened."""

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..expr import Graph, Index
from ..formats import Format
from .majorant import Floats, Majorant, somewhere, times, widest
from .scalars import Scalars
from .structure import OPEN, Scaled, opened

SLACK = 5  # scalar roundings allowed for formulas other than the written one (rule 5)


class Factors:
    """The scalars of a graph for a block of rows.

    All rows of a block agree on which scalars are exactly zero or one, so terms and roundings can
    be counted once for the block.  Shared by everything that is bounded over these rows.
    """

    def __init__(self, graph: Graph, fmt: Format, scalars: Scalars, rows: NDArray[np.intp]) -> None:
        self.graph, self.scalars, self.rows, self.fmt = graph, scalars, rows, fmt
        wide = fmt.name == "float64"
        self.real: type[np.floating[Any]] = np.longdouble if wide else np.float64
        # to one of the two neighbours instead of the nearer one: twice as far
        ulps = 2 if scalars.profile.rounding == "faithful" else 1
        self.flushed = scalars.profile.subnormals == "flushed"
        self.u = self.real(fmt.unit) * ulps
        self.eta = self.real(fmt.eta[0]) ** fmt.eta[1] * ulps
        if self.flushed:
            self.eta = self.real(fmt.tiny)
        self.own = self.real(np.finfo(self.real).eps)
        self.largest = self.real(fmt.largest)
        self.us = self.real(scalars.unit)
        self.one = np.ones((1, 1), self.real)
        self._numbers: dict[Index, tuple[Floats, Floats]] = {}
        self._factors: dict[tuple[int, Index], Majorant | None] = {}
        self._products: dict[tuple[tuple[int, Index], ...], tuple[Majorant | None, int]] = {}
        self._scaling: dict[tuple[Index, Scaled, Scaled], tuple[Floats, Floats]] = {}

    def number(self, i: Index) -> tuple[Floats, Floats]:
        """A scalar's exact value and error, of shape (rows, 1)."""
        if i not in self._numbers:
            x = self.scalars[i]
            value = x.value[self.rows].astype(self.real)[:, None]
            error = x.error[self.rows].astype(self.real)[:, None]
            self._numbers[i] = (value, error)
        return self._numbers[i]

    def factor(self, exponent: int, i: Index) -> Majorant | None:
        """A scalar, or one over it, cast to the tensor dtype; None for exactly one, which nobody
        multiplies."""
        key = (exponent, i)
        if key not in self._factors:
            with np.errstate(all="ignore"):
                plain = self._plain(exponent, i)
                split = (
                    self._opened(i) if exponent > 0 and plain is not None and plain.terms else None
                )
            self._factors[key] = plain if split is None or plain is None else widest([plain, split])
        return self._factors[key]

    def product(self, factors: tuple[tuple[int, Index], ...]) -> tuple[Majorant | None, int]:
        """Several scalars folded together, without the roundings of their products; and how many
        of them are not exactly one."""
        if factors not in self._products:
            found = [f for f in (self.factor(e, i) for e, i in factors) if f is not None]
            with np.errstate(all="ignore"):
                folded = functools.reduce(times, found) if found else None
            self._products[factors] = (folded, len(found))
        return self._products[factors]

    def scaling(self, i: Index, around: Scaled, inside: Scaled) -> tuple[Floats, Floats]:
        """Rule 4: how small a denominator may become when scaled by the scalars around and inside
        it, and by those inside alone."""
        key = (i, around, inside)
        if key not in self._scaling:
            least = inner = self.one
            with np.errstate(all="ignore"):
                for group in (around, inside):
                    for exponent, j in group:
                        value = self.number(j)[0]
                        k = np.where(value == 0, 1, np.minimum(np.abs(value**-exponent), 1))
                        least = least * k
                        if group is inside:
                            inner = inner * k
            self._scaling[key] = (least, inner)
        return self._scaling[key]

    def _exactly(self, i: Index, x: int) -> bool:
        value, error = self.number(i)
        return bool(((value == x) & (error == 0)).all())

    def _plain(self, exponent: int, i: Index) -> Majorant | None:
        if self._exactly(i, 1):
            return None
        value, error = self.number(i)
        if self._exactly(i, 0) and exponent > 0:
            zero = np.zeros((1, 1), self.real)
            every = np.ones((1, 1), np.bool_)
            return Majorant(zero, zero, zero, self.one, 0, 0, True, zero=every)
        slack = np.abs(value) - error
        known = (error == 0) | (slack > 0)  # else the sign is open, or zero may be computed
        least = np.abs(value) if exponent > 0 else slack
        relative = np.where(known & (value != 0), error / least, 0) + SLACK * self.us
        v = value if exponent > 0 else 1 / value
        size = np.abs(v)
        unsafe = somewhere(~(size <= self.largest) | (exponent < 0) & ~known)
        vanishing = np.where(known, 0, 2 * error)
        return Majorant(
            v,
            size,
            size * (relative + (self.u + self.own) * (1 + relative)) + vanishing,
            np.maximum(self.one, size),
            1,
            1,
            bool(((v >= 0) & known).all()),
            unsafe,
        )

    def _opened(self, i: Index) -> Majorant | None:
        """Rule 6: the scalar as a sum of two parts, where that is well conditioned."""
        parts = opened(self.graph, i)
        if parts is None:
            return None
        value, _ = self.number(i)
        x, y = (np.abs(self.number(j)[0]) for j in parts)
        size = x + y
        if (x == 0).any() or (y == 0).any() or not (size <= OPEN * np.abs(value)).all():
            return None
        reach = np.maximum(1, x) + np.maximum(1, y)
        error = size * (3 * self.u + SLACK * self.us)
        return Majorant(value, size, error, reach, 2, 3, bool((value >= 0).all()))
