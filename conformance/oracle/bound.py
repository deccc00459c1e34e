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
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..expr import (
    Absolute,
    Index,
    Input,
    Let,
    Maximum,
    Product,
    Root,
    Sign,
    Sum,
)
from .factors import Factors
from .majorant import (
    Floats,
    Majorant,
    Mask,
    Reciprocal,
    added,
    both,
    either,
    larger,
    several,
    somewhere,
    times,
    widest,
)
from .structure import Folds, divides


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an output element may be: within ``error`` of ``value``; or NaN where ``must_nan``; or,
    where ``undecided``, anything.  Arrays of shape (rows, elements)."""

    value: Floats
    error: Floats
    undecided: NDArray[np.bool_]
    must_nan: NDArray[np.bool_]


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

    def rounded(self, i: Index, folds: Folds) -> Floats:
        """How far the roundings of this step can move node ``i``."""
        with np.errstate(all="ignore"):
            return self.close(_Walk(self, folds).node(i))[0]

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
        self.inverses: dict[Index, Reciprocal] = {}

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
                return added([(sign, self.node(j)) for sign, j in terms], b.amounts, b.u)
            case Product(factors):
                return self.product(factors)
            case Root(argument):
                return self.root(argument)
            case Maximum(left, right):
                x, y = self.node(left), self.node(right)
                roots = x.root or y.root
                return larger(self.opaque(x), self.opaque(y), roots)
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
        if len(fs) == 1 and folded is None and not divisions and not isinstance(fs[0], Reciprocal):
            return fs[0]
        poles = [f.pole for f in fs if isinstance(f, Reciprocal) and f.pole is not None]
        relative = several(rounds + divisions, b.u)
        *others, last = fs if folded is None else [*fs, folded]
        if others:
            x = times(functools.reduce(times, others), last, relative)
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

    def reciprocal(self, i: Index) -> Reciprocal:
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
        self.inverses[i] = Reciprocal(
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
