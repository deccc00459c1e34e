"""The bound that accuses: closed under exact rewriting of the equations.

Every output of a step is, after distributing all products, a sum of monomials in state, gradient,
scalars and opaque factors (a root, or one over a denominator).  Any evaluation by a rewriting of
the class below computes

    sum over monomials of   monomial * (1 + d1)(1 + d2)...      |di| <= u

because a rounding of a product touches the monomials below it and a rounding of a partial sum the
monomials in that partial sum.  So its error is at most

    sum over monomials of  |monomial| * ((1 + u)**n - 1),   n = the most roundings that touch it.

Nothing has to be expanded: the sum of |monomials| is the same equations evaluated on absolute
values (``size``), and errors ride along like the second half of a dual number (``error``).
Additions are paid once, when a polynomial is closed: a tree over N monomials puts at most N - 1
additions above any of them.

What a faithful implementation may do (the class)
  1  any order and association of sums and products; fused multiply-add; x/y as x*(1/y); any wider
     inner precision
  2  distribute, factor out, expand one equation inside another or keep it as a stored tensor
  3  two roots of one product share a root; sqrt(a)*sqrt(a) = a; scalars may leave a root
  4  scale a denominator by scalars around or inside it
  5  scalars by any formula, folded in any grouping in the scalar precision, each group rounded to
     the tensor precision when it meets a tensor; a scalar has one computed value in a step
  6  open a scalar sum onto a tensor, (1-a)*x = x - a*x and b*x = x - (1-b)*x, when its condition
     number is at most 3; forms that the spec writes side by side are always allowed
  7  leave out a term whose scalar factor is zero, or compute it as it is written

Outside the class: terms that cancel on paper, ill-conditioned openings, a common tensor
denominator, scalars computed below the precision of the profile.

Outcomes are sets.  An element is *undecided* where a member of the class may overflow, divide by
zero or leave a root's domain, and overflow counts over every sub-product of the equations but not
through rules 3 and 4: to scale a denominator, or what it divides, until it overflows is not
faithful.  It *must be NaN* where
every member gives NaN (0/0, a NaN input).
"""

import functools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..expr import (
    Absolute,
    Graph,
    Index,
    Input,
    Let,
    Maximum,
    Product,
    Root,
    Sign,
    Sum,
)
from ..formats import Format
from .scalars import Scalars
from .structure import OPEN, Folds, Scaled, divides, opened

Floats = NDArray[Any]  # float64, or long double for float64 subjects
Mask = NDArray[np.bool_] | None  # None: nowhere

SLACK = 5  # scalar roundings allowed for formulas other than the written one (rule 5)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an output element may be: within ``error`` of ``value``; or NaN where ``must_nan``; or,
    where ``undecided``, anything.  Arrays of shape (rows, elements)."""

    value: Floats
    error: Floats
    undecided: NDArray[np.bool_]
    must_nan: NDArray[np.bool_]


@dataclass(slots=True)
class Majorant:
    """A polynomial in opaque factors, seen through the sum of its |monomials|."""

    value: Floats  # the exact value
    size: Floats  # sum of |monomials|
    error: Floats  # what roundings of products, casts and opaque factors can add to the value
    reach: Floats  # sum over monomials of the largest product of a subset of the factors
    terms: int  # number of monomials: terms - 1 additions are to be paid; 0: zero by a scalar
    steps: int  # most product roundings in one monomial; each may also underflow
    nonneg: bool  # every computed version is >= 0
    unsafe: Mask = None  # an intermediate may overflow, divide by zero or leave a root's domain
    nan: Mask = None  # NaN in every member of the class
    zero: Mask = None  # exactly zero in every member of the class
    root: bool = False
    swell: Floats | float = 1.0  # by how much rule 4 may magnify an underflow
    names: frozenset[str] = frozenset()  # inputs that are explicit factors somewhere
    bare: dict[str, Floats] = field(default_factory=dict)  # inputs as monomials: times what


def either(a: Mask, b: Mask) -> Mask:
    return b if a is None else a if b is None else a | b


def both(a: Mask, b: Mask) -> Mask:
    return None if a is None or b is None else a & b


def several(count: int, u: Any) -> Any:
    """(1 + u)**count - 1 from above, for count * u < 1."""
    return count * u * (1 + count * u)


def somewhere(mask: NDArray[np.bool_]) -> Mask:
    return mask if mask.any() else None


class Factors:
    """The scalars of a graph as factors of tensor expressions, for a block of rows.

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

    def factor(self, exponent: int, i: Index) -> "Majorant | None":
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

    def product(self, factors: tuple[tuple[int, Index], ...]) -> "tuple[Majorant | None, int]":
        """Several scalars folded together, without the roundings of their products; and how many
        of them are not exactly one."""
        if factors not in self._products:
            found = [f for f in (self.factor(e, i) for e, i in factors) if f is not None]
            with np.errstate(all="ignore"):
                folded = functools.reduce(_times, found) if found else None
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

    def _plain(self, exponent: int, i: Index) -> "Majorant | None":
        if self._exactly(i, 1):
            return None
        value, error = self.number(i)
        if self._exactly(i, 0) and exponent > 0:
            zero = np.zeros((1, 1), self.real)
            every = np.ones((1, 1), np.bool_)
            return Majorant(zero, zero, zero, self.one, 0, 0, True, zero=every)
        relative = np.where(value == 0, 0, error / np.abs(value)) + SLACK * self.us
        v = value if exponent > 0 else 1 / value
        size = np.abs(v)
        unsafe = somewhere(~(size <= self.largest))
        vanishing = np.where(value == 0, 2 * error, 0)  # inexact, and zero by cancellation
        return Majorant(
            v,
            size,
            size * (self.u + relative + self.own) + vanishing,
            np.maximum(self.one, size),
            1,
            1,
            bool((v >= 0).all()),
            unsafe,
        )

    def _opened(self, i: Index) -> "Majorant | None":
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


class Bound:
    """Values and bounds of nodes of one graph for a block of rows that share a structure.

    ``start`` maps ``p``, ``grad`` and each state to (value, error) at the start of the step, of
    shape (rows, elements), error ``None`` for exactly known; ``given`` maps Let nodes to observed
    values that downstream equations use instead of their own (conditional mode).
    """

    def __init__(
        self,
        factors: Factors,
        start: Mapping[str, tuple[Floats, Floats | None]],
        nonneg: frozenset[str],
        given: Mapping[Index, Floats] | None = None,
    ) -> None:
        self.factors, self.graph, self.real = factors, factors.graph, factors.real
        self.u, self.eta, self.own = factors.u, factors.eta, factors.own
        self.largest, self.one = factors.largest, factors.one
        self.start, self.nonneg, self.given = start, nonneg, given or {}
        self.shape = next(iter(start.values()))[0].shape
        self.memo: dict[Index, Majorant] = {}
        self.amounts: dict[str, Floats] = {}  # |input| and its error
        self.roundings: dict[Index, int] = {}  # the most that can touch a monomial of an outcome

    # ---- outputs -----------------------------------------------------------------------------

    def outcome(self, output: Index, folds: Folds) -> Outcome:
        """The outcome of the equation at node ``output``."""
        with np.errstate(all="ignore"):
            x = _Walk(self, folds).equation(output)
            error, unsafe = self.close(x)
            self.roundings[output] = x.steps + x.terms
            # the bound's own rounding: a few hundred operations on the error itself
            error = error * (1 + self.real(1e-9))
        full = self.shape
        no = np.zeros((1, 1), np.bool_)
        nan = no if x.nan is None else x.nan
        undecided = (no if unsafe is None else unsafe) & ~nan
        return Outcome(
            np.broadcast_to(x.value, full),
            np.broadcast_to(error, full),
            np.broadcast_to(undecided, full),
            np.broadcast_to(nan, full),
        )

    def close(self, x: Majorant) -> tuple[Floats, Mask]:
        """The error of a finished polynomial: products, additions, underflows, our own rounding."""
        adds = max(x.terms - 1, 0)
        error = x.error
        if adds:
            error = error + (x.size + x.error) * several(adds, self.u)
        rounds = x.steps + x.terms
        # sums underflow without error, unless they are flushed
        lossy = rounds if self.factors.flushed else x.steps
        if lossy:
            error = error + lossy * self.eta * x.reach * x.swell
        error = error + rounds * self.own * x.size
        if x.zero is not None:
            error = np.where(x.zero, 0, error)
        # roundings can lift every product and partial sum a little above its exact size
        lifted = x.reach * (1 + 2 * rounds * self.u) + error
        bad = ~(lifted <= self.largest)
        return error, either(x.unsafe, somewhere(bad))


class _Walk:
    """One pass over the graph for one output: ``folds`` belong to the program of that output."""

    def __init__(self, bound: Bound, folds: Folds) -> None:
        self.b, self.folds = bound, folds
        self.nodes = bound.graph.nodes
        self.own_memo: dict[Index, Majorant] = {}
        self.inverses: dict[Index, _Reciprocal] = {}

    def equation(self, i: Index) -> Majorant:
        node = self.nodes[i]
        assert isinstance(node, Let)
        return widest([self.node(j) for j in node.forms])

    def node(self, i: Index) -> Majorant:
        # what divides depends on the program's folds; the rest is shared between programs
        memo = self.own_memo if divides(self.b.graph, i) else self.b.memo
        if i not in memo:
            memo[i] = self.build(i)
        return memo[i]

    def build(self, i: Index) -> Majorant:
        b = self.b
        if b.graph.scalar[i]:
            s = b.factors.factor(1, i)
            return s or Majorant(b.one, b.one, 0 * b.one, b.one, 1, 0, True)
        match self.nodes[i]:
            case Input(name):
                value, error = b.start[name]
                return self.known(name, value, error)
            case Let(_, forms):
                if i in b.given:
                    return self.known("", b.given[i], None)
                return widest([self.node(j) for j in forms])
            case Sum(terms):
                return self.sum([(sign, self.node(j)) for sign, j in terms])
            case Product(factors):
                return self.product(factors)
            case Root(argument):
                return self.root(argument)
            case Maximum(left, right):
                return self.maximum(self.node(left), self.node(right))
            case Absolute(argument):
                x = self.opaque(self.node(argument))
                x.value, x.nonneg = np.abs(x.value), True
                return x
            case Sign(argument):
                x = self.opaque(self.node(argument))
                straddle = np.abs(x.value) <= x.error
                error = np.where(straddle & (x.error > 0), 2.0, 0.0).astype(b.real)
                sign = np.sign(x.value)
                return Majorant(
                    sign, np.abs(sign), error, b.one, 1, 0, x.nonneg, x.unsafe, x.nan, x.zero
                )
        raise TypeError(f"node {i} is no tensor operation")

    def known(self, name: str, value: Floats, error: Floats | None) -> Majorant:
        """An input or an observed state."""
        b = self.b
        value = value.astype(b.real, copy=False)
        nan = somewhere(np.isnan(value))
        nonneg = name in b.nonneg
        infinite = somewhere(np.isinf(value))
        unsafe = infinite
        if nonneg:
            unsafe = either(unsafe, somewhere(value < 0))  # not a mean of squares any more
        size = value if nonneg and unsafe is None else np.abs(value)
        off = np.zeros((1, 1), b.real) if error is None else error.astype(b.real, copy=False)
        zero = somewhere(value == 0 if error is None else (value == 0) & (error == 0))
        reach = np.maximum(size if error is None else size + off, 1)
        names = frozenset([name]) if name else frozenset()
        b.amounts[name] = size + off
        return Majorant(
            value,
            size,
            off,
            reach,
            1,
            0,
            nonneg,
            unsafe,
            nan,
            zero,
            names=names,
            bare={name: b.one} if name else {},
        )

    def sum(self, terms: list[tuple[int, Majorant]]) -> Majorant:
        """Errors and sizes add; a term that is zero by its scalar adds nothing (rule 7)."""
        b = self.b
        unsafe: Mask = None
        nan: Mask = None
        kept: list[tuple[int, Majorant]] = []
        for sign, x in terms:
            unsafe = either(unsafe, x.unsafe)
            if x.terms == 0:
                unsafe = either(unsafe, x.nan)  # 0 * NaN, or left out
            else:
                nan = either(nan, x.nan)
                kept.append((sign, x))
        if not kept:
            x = terms[0][1]
            return Majorant(x.value, x.size, x.error, b.one, 0, 0, True, unsafe, None, x.zero)
        if len(kept) == 1:
            sign, x = kept[0]
            return Majorant(
                sign * x.value,
                x.size,
                x.error,
                x.reach,
                x.terms,
                x.steps,
                sign > 0 and x.nonneg,
                unsafe,
                nan,
                x.zero,
                False,
                x.swell,
                x.names,
                dict(x.bare),
            )
        sign, x = kept[0]
        value = x.value if sign > 0 else -x.value
        size, error, reach, zero = x.size, x.error, x.reach, x.zero
        for sign, x in kept[1:]:
            value = value + x.value if sign > 0 else value - x.value
            size, error, reach = size + x.size, error + x.error, reach + x.reach
            zero = both(zero, x.zero)
        bare: dict[str, Floats] = {}
        for _, x in kept:
            for name, times in x.bare.items():
                if any(name in y.names for _, y in kept if y is not x):
                    error = error + b.u * times * b.amounts[name]  # x + x*y as x*(1 + y)
                else:
                    bare[name] = times
        return Majorant(
            value,
            size,
            error,
            reach,
            sum(x.terms for _, x in kept),
            max(x.steps for _, x in kept),
            all(s > 0 and x.nonneg for s, x in kept),
            unsafe,
            nan,
            zero,
            swell=_largest(x for _, x in kept),
            names=frozenset().union(*(x.names for _, x in kept)),
            bare=bare,
        )

    def product(self, factors: tuple[tuple[int, Index], ...]) -> Majorant:
        """Every multiplication, also inside nested products, is one rounding; a scalar divisor is
        cast and may be inverted first, which is one more."""
        b = self.b
        scalar = b.graph.scalar
        constants = tuple((e, j) for e, j in factors if scalar[j])
        folded, count = b.factors.product(constants)
        fs = [self.node(j) if e > 0 else self.reciprocal(j) for e, j in factors if not scalar[j]]
        divisions = sum(1 for e, _ in constants if e < 0)
        rounds = count + len(fs) - 1
        if len(fs) == 1 and folded is None and not divisions and not isinstance(fs[0], _Reciprocal):
            return fs[0]
        poles = [f.pole for f in fs if isinstance(f, _Reciprocal) and f.pole is not None]
        relative = several(rounds + divisions, b.u)
        *others, last = fs if folded is None else [*fs, folded]
        if others:
            x = _times(functools.reduce(_times, others), last, relative)
            error = x.error
        else:
            x, error = last, last.error * (1 + relative) + last.size * relative
        unsafe, nan = x.unsafe, x.nan
        roots = [f for f in fs if f.root]
        if len(roots) > 1:  # rule 3: one root of the quotient, whose inside may underflow
            inside = math.prod((f.size for f in roots), start=b.one)
            plain = [f.size + f.error for f in (*fs, folded) if f is not None and not f.root]
            rest = math.prod(plain, start=b.one)
            widest_inside = math.prod((f.reach for f in roots), start=b.one) ** 2
            lost = 2 * b.eta * widest_inside
            least = np.where(inside > 0, lost / np.where(inside > 0, inside, 1), np.inf)
            error = error + np.minimum(np.sqrt(lost), least) * rest
            unsafe = either(unsafe, somewhere(~(widest_inside <= b.largest)))
        for at in poles:
            nan = either(nan, both(at, x.zero))  # 0/0
            unsafe = either(unsafe, at)  # x/0: an infinity, of a sign we do not follow
        if x.zero is not None:
            error = np.where(x.zero, 0, error)
            unsafe = either(unsafe, somewhere(x.zero & ~(x.reach <= b.largest)))
        if x.terms == 0:  # a zero scalar: left out, or computed (rule 7)
            zero = np.zeros_like(b.one)
            every = np.ones((1, 1), np.bool_)
            return Majorant(zero, zero, zero, b.one, 0, 0, True, either(unsafe, nan), None, every)
        counted = [*factors]
        nonneg = all(f.nonneg or f.terms <= 1 for f in fs) and (folded is None or folded.nonneg)
        for e, j in dict.fromkeys(counted):
            if not scalar[j] and counted.count((e, j)) % 2:
                nonneg = nonneg and self.nonneg_of(e, j)
        return Majorant(
            x.value,
            x.size,
            error,
            x.reach,
            x.terms,
            x.steps + rounds + divisions,
            nonneg,
            unsafe,
            nan,
            x.zero,
            swell=x.swell,
            names=x.names,
            bare=self.scaled(fs[0].bare, folded, relative) if len(fs) == 1 else {},
        )

    def scaled(
        self, bare: dict[str, Floats], by: Majorant | None, relative: float
    ) -> dict[str, Floats]:
        """Bare inputs times a scalar can be factored out like the inputs themselves."""
        if by is None:
            return dict(bare)
        grown = (by.size + by.error) * (1 + relative)
        return {name: times * grown for name, times in bare.items()}

    def nonneg_of(self, exponent: int, i: Index) -> bool:
        return (self.node(i) if exponent > 0 else self.reciprocal(i)).nonneg

    def opaque(self, x: Majorant) -> Majorant:
        """A closed polynomial as one factor of its own."""
        error, unsafe = self.b.close(x)
        size = np.abs(x.value)
        return Majorant(
            x.value, size, error, np.maximum(1, size + error), 1, 0, x.nonneg, unsafe, x.nan, x.zero
        )

    def maximum(self, x: Majorant, y: Majorant) -> Majorant:
        """No rounding; which operand wins may be open, and whether NaN does is."""
        roots = x.root or y.root
        x, y = self.opaque(x), self.opaque(y)
        value = np.maximum(x.value, y.value)
        high = np.maximum(x.value + x.error, y.value + y.error)
        low = np.maximum(x.value - x.error, y.value - y.error)
        error = np.maximum(high - value, value - low)
        size = np.abs(value)
        nan = both(x.nan, y.nan)
        unsafe = either(either(x.unsafe, y.unsafe), either(x.nan, y.nan))
        return Majorant(
            value,
            size,
            error,
            np.maximum(x.reach, y.reach),
            1,
            0,
            x.nonneg or y.nonneg,
            unsafe,
            nan,
            both(x.zero, y.zero),
            roots,
        )

    def root(self, argument: Index) -> Majorant:
        b = self.b
        x = self.node(argument)
        error, unsafe = b.close(x)
        value = np.sqrt(np.maximum(x.value, 0))
        if not x.nonneg:
            unsafe = either(unsafe, somewhere(x.value - error < 0))
        low, high = np.sqrt(np.maximum(x.value - error, 0)), np.sqrt(np.maximum(x.value + error, 0))
        apart = low + value
        off = np.where(
            low > 0, error / np.where(apart > 0, apart, 1), np.maximum(high - value, value)
        )
        outside = 2 * self.scalar_factors(argument)  # rule 3: scalars outside the root
        off = off + (value + off) * (several(1 + outside, b.u) + 2 * b.own)
        if x.zero is not None:
            off = np.where(x.zero, 0, off)
        return Majorant(
            value,
            value,
            off,
            np.maximum(1, high),
            1,
            1 + outside,
            True,
            unsafe,
            x.nan,
            x.zero,
            True,
        )

    def scalar_factors(self, i: Index) -> int:
        node = self.nodes[i]
        if isinstance(node, Let):
            return max(self.scalar_factors(j) for j in node.forms)
        if isinstance(node, Product):
            return sum(
                1 if self.b.graph.scalar[j] else self.scalar_factors(j) for _, j in node.factors
            )
        return 0

    def reciprocal(self, i: Index) -> "_Reciprocal":
        """One over a denominator: opaque, known to the relative error of its closed polynomial."""
        if i in self.inverses:
            return self.inverses[i]
        b = self.b
        x = self.node(i)
        around, inside = self.folds.get(i, (frozenset(), frozenset()))
        least, inner_least = b.factors.scaling(i, around, inside)
        error, unsafe = b.close(x)
        lost = (x.steps + 2) * b.eta * x.reach / least
        error = error + (lost if x.zero is None else np.where(x.zero, 0, lost))
        low = np.abs(x.value) - error
        vanishing = ~(low > 0)
        pole = x.zero
        if pole is not None:
            vanishing = vanishing & ~pole
        unsafe = either(unsafe, somewhere(vanishing))
        if x.nan is not None and unsafe is not None:
            unsafe = unsafe & ~x.nan
        positive = low > 0
        low = np.where(positive, low, 1)
        value = 1 / np.where(x.value == 0, 1, x.value)
        # k is cast and multiplied, above and below; out of a lone root or maximum, once
        # nobody scales by a scalar that is zero
        live = sum(1 for _, j in inside if (b.factors.number(j)[0] != 0).any())
        scaling = (4 if x.terms > 1 else 2) * live
        rounding = several(scaling + 1, b.u) + b.own
        relative = error / low * (1 + rounding) + rounding
        size = value if x.nonneg else np.abs(value)
        self.inverses[i] = _Reciprocal(
            value,
            size,
            np.where(positive, size * relative, 0),
            np.maximum(1, 1 / low),
            1,
            1 + scaling // 2,
            x.nonneg,
            unsafe,
            x.nan,
            None,
            x.root,
            1 / inner_least,
            pole=pole,
        )
        return self.inverses[i]


@dataclass(slots=True)
class _Reciprocal(Majorant):
    pole: Mask = None  # the denominator is exactly zero in every member of the class


def _times(x: Majorant, y: Majorant, relative: Any = 0) -> Majorant:
    """A product of two factors, with ``relative`` for its roundings."""
    # (s + e)(s' + e')(1 + r) - s s', written so that no product of infinities appears, and so
    # that what belongs to ``y``, often a scalar, comes together before it meets ``x``
    of_error = (y.size + y.error) * (1 + relative)
    of_size = y.error * (1 + relative) + y.size * relative
    error = x.size * of_size
    if x.error.size > 1 or x.error.any():
        error = error + x.error * of_error
    value = x.value * y.value
    same = x.size is x.value and y.size is y.value
    return Majorant(
        value,
        value if same else x.size * y.size,
        error,
        x.reach * y.reach,
        x.terms * y.terms,
        x.steps + y.steps,
        x.nonneg and y.nonneg,
        either(x.unsafe, y.unsafe),
        either(x.nan, y.nan),
        either(x.zero, y.zero),
        swell=x.swell * y.swell,
        names=x.names | y.names,
    )


def widest(versions: list[Majorant]) -> Majorant:
    """Several forms of one tensor: the value of the first, the worst of every bound."""
    if len(versions) == 1:
        return versions[0]
    first, *others = versions
    size, error, reach = first.size, first.error, first.reach
    unsafe, nan, zero = first.unsafe, first.nan, first.zero
    for x in others:
        size, error = np.maximum(size, x.size), np.maximum(error, x.error)
        reach, unsafe = np.maximum(reach, x.reach), either(unsafe, x.unsafe)
        nan, zero = both(nan, x.nan), both(zero, x.zero)
    bare: dict[str, Floats] = {}
    for x in versions:
        for name, times in x.bare.items():
            bare[name] = np.maximum(bare[name], times) if name in bare else times
    return Majorant(
        first.value,
        size,
        error,
        reach,
        max(x.terms for x in versions),
        max(x.steps for x in versions),
        any(x.nonneg for x in versions),
        unsafe,
        nan,
        zero,
        swell=_largest(versions),
        names=frozenset().union(*(x.names for x in versions)),
        bare=bare,
    )


def _largest(xs: Iterable[Majorant]) -> Floats | float:
    swell: Floats | float = 1.0
    for x in xs:
        if x.swell is not swell:
            swell = np.maximum(swell, x.swell)
    return swell
