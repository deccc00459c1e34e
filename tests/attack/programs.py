"""Random faithful programs: exact rewritings of a spec's equations, drawn once and then run.

They attack the bound and share nothing with it but the expression graph.  A program is drawn in
two passes.  *Expansion* turns equations into sums of terms: random forms, distribution, inlining,
openings, factoring, shared roots, scaled denominators.  *Compilation* turns every sum and product
into a random tree: order, fused multiply-adds, reciprocals, groups of scalars, wider inner
precision.  What is drawn and what is not follows the class that the bound documents.

Overflow which appears only because a denominator was scaled is outside that class; a run reports
the elements where it met one as *excused*.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optconform.expr import (
    Absolute,
    Const,
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
from optconform.formats import Format
from optconform.spec import Program

Array = NDArray[Any]
Row = Mapping[str, float]

HALF = Fraction(1, 2)
CONDITION = 3.0 * (1 - 1e-9)  # scalar sums that are worse conditioned stay closed
MANY = 24  # terms above which nothing more is distributed


# ---- terms -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Tensor:
    """An input of the step."""

    name: str


@dataclass(frozen=True)
class Kept:
    """An equation computed once and stored in the tensor's format."""

    node: Index


@dataclass(frozen=True)
class Poly:
    """A sum of terms.  ``scaled``: a denominator that was multiplied by scalars."""

    terms: tuple[Term, ...]
    scaled: bool = False


@dataclass(frozen=True)
class Rooted:
    """A square root; ``node`` tells roots apart, None for one that is already shared."""

    inside: Poly
    node: Index | None


@dataclass(frozen=True)
class Larger:
    left: Poly
    right: Poly


@dataclass(frozen=True)
class Shape:
    """|x| or the sign of x."""

    of: Poly
    kind: str


Expression = Tensor | Kept | Poly | Rooted | Larger | Shape


@dataclass(frozen=True)
class Folded:
    """A sum of scalars that factoring has left behind, such as 1 + momentum."""

    terms: tuple[Term, ...]


Atom = Index | Folded
Scalar = tuple[Fraction, Atom]  # exponent, scalar
Factor = tuple[int, Expression]  # exponent +1 or -1


@dataclass(frozen=True)
class Term:
    """``sign * scalars * tensors``."""

    sign: int = 1
    scalars: tuple[Scalar, ...] = ()
    tensors: tuple[Factor, ...] = ()
    scaled: bool = False  # has a denominator that was multiplied by scalars

    def times(self, other: Term) -> Term:
        scaled = self.scaled or other.scaled
        term = Term(self.sign * other.sign, self.scalars, self.tensors + other.tensors, scaled)
        for s in other.scalars:
            term = term.by(s)
        return term

    def by(self, by: Scalar) -> Term:
        """Multiplied by a scalar; what stands above and below goes away."""
        exponent, atom = by
        opposite = (-exponent, atom)
        if opposite in self.scalars:
            at = self.scalars.index(opposite)
            return replace(self, scalars=self.scalars[:at] + self.scalars[at + 1 :])
        return replace(self, scalars=(*self.scalars, by))

    def without(self, part: Scalar | Factor) -> Term:
        scalars, tensors = list(self.scalars), list(self.tensors)
        if part in scalars:
            scalars.remove(part)  # type: ignore[arg-type]
        else:
            tensors.remove(part)  # type: ignore[arg-type]
        return Term(self.sign, tuple(scalars), tuple(tensors), self.scaled)


# ---- running ---------------------------------------------------------------------------------


@dataclass
class Run:
    """One step under way: what the compiled operations read and write."""

    inputs: Mapping[str, Array]
    number: Callable[[Atom], float]
    round: Callable[[Array], Array]  # after every operation
    real: type[np.floating[Any]]
    kept: dict[Index, Array]
    excused: Array
    wider: tuple[Run, ...] = ()
    base: Run | None = None

    def excuse(self, where: Array) -> None:
        self.excused |= where


Op = Callable[[Run], Any]  # an array, or None for a term that was left out
Pair = Callable[[Run], "tuple[Array, Array] | None"]


@dataclass(frozen=True)
class Habits:
    """How often a program does what; each probability is drawn once a program."""

    distribute: float
    inline: float
    factor: float
    open: float
    fuse: float
    reciprocal: float
    wide: float
    leave_out: float
    roots: float
    scale: float

    @staticmethod
    def draw(rng: np.random.Generator) -> Habits:
        def one_of(*values: float) -> float:
            return float(rng.choice(values))

        return Habits(
            distribute=one_of(0, 0.3, 0.7, 1),
            inline=one_of(0, 0.3, 0.7, 1),
            factor=one_of(0, 0.5, 0.9),
            open=one_of(0, 0.5),
            fuse=one_of(0, 0.5, 1),
            reciprocal=one_of(0, 0.5, 1),
            wide=one_of(0, 0, 0.2),
            leave_out=one_of(0, 0.5, 1),
            roots=one_of(0, 0.6),
            scale=one_of(0, 0.6),
        )


class Faithful:
    """A faithful implementation of ``program`` for the scalars of ``rows``.

    ``rounding`` is to nearest, by chance up or down, or one way: up, down, zero.  ``bold``
    programs also multiply a term with a zero scalar by further tensors before it vanishes.
    """

    def __init__(
        self,
        program: Program,
        rows: Sequence[Row],
        fmt: Format,
        rng: np.random.Generator,
        *,
        habits: Habits | None = None,
        rounding: str = "nearest",
        bold: bool = False,
    ) -> None:
        self.program, self.graph, self.fmt, self.rng = program, program.graph, fmt, rng
        self.rounding, self.bold = rounding, bold
        self.habits = habits or Habits.draw(rng)
        self.formulas = int(rng.integers(1 << 30))
        self.tables: list[dict[Index, float]] = [{} for _ in rows]
        self.rows = list(rows)
        self.kept: dict[Index, Op] = {}
        self.drawn: dict[Index, Poly] = {}  # what the kept equations were expanded to
        self.open: set[Index] = set()  # scalars that the program opens
        for node in program.outputs.values():
            self.keep(node)

    def step(self, row: int, start: Mapping[str, Array]) -> tuple[dict[str, Array], Array]:
        """The outputs of one step (doubles) and where the run is excused."""
        width = start["p"].shape
        excused = np.zeros(width, np.bool_)
        kept: dict[Index, Array] = {}

        def run(rounding: Callable[[Array], Array], real: Any, wider: tuple[Run, ...]) -> Run:
            inputs = {n: x.astype(real) for n, x in start.items()}
            return Run(inputs, lambda a: self.number(a, row), rounding, real, kept, excused, wider)

        if self.fmt.name == "float64":
            base = run(_to_double, np.float64, (run(_as_it_is, np.longdouble, ()),))
        else:
            wider = [run(_as_it_is, np.float64, ())]
            if self.fmt.digits < 24:
                wider.append(run(_to_single, np.float64, ()))
            rounding = self.fmt.round if self.rounding == "nearest" else self._neighbour
            base = run(rounding, np.float64, tuple(wider))
        for wide in base.wider:
            wide.base = base
        with np.errstate(all="ignore"):
            out = {
                name: np.broadcast_to(self._stored(base, node), width).astype(np.float64)
                for name, node in self.program.outputs.items()
            }
        return out, excused

    def fits(self, rows: Sequence[Row]) -> bool:
        """Use other scalars for the same program; False, and no change, where it may not."""
        before = self.rows, self.tables
        self.rows, self.tables = list(rows), [{} for _ in rows]
        if all(self.opened(i) for i in list(self.open)):
            return True
        self.rows, self.tables = before
        return False

    def __str__(self) -> str:
        name = {i: n for n, i in self.program.lets.items()}
        return "\n".join(f"{name[i]} = {self._told(y)}" for i, y in self.drawn.items())

    def _told(self, y: Expression | Folded) -> str:
        match y:
            case Tensor(name):
                return name
            case Kept(node):
                return "<" + next(n for n, i in self.program.lets.items() if i == node) + ">"
            case Poly(terms) | Folded(terms):
                told = []
                for x in terms:
                    parts = [f"{self._scalar_told(a)}^{e}" for e, a in x.scalars]
                    parts += [f"{self._told(z)}^{e}" for e, z in x.tensors]
                    told.append("+-"[x.sign < 0] + " " + (" * ".join(parts) or "1"))
                return "(" + " ".join(told) + ")"
            case Rooted(inside, _):
                return "sqrt" + self._told(inside)
            case Larger(left, right):
                return f"max{self._told(left), self._told(right)}"
            case Shape(of, kind):
                return kind + self._told(of)

    def _scalar_told(self, a: Atom) -> str:
        if isinstance(a, Folded):
            return self._told(a)
        node = self.graph.nodes[a]
        return node.name if isinstance(node, Hyper) else f"#{a}[{self.number(a, 0):.6g}]"

    def _neighbour(self, x: Array) -> Array:
        """One of the two numbers beside ``x``."""
        x = np.asarray(x, np.float64)
        near = self.fmt.round(x)
        exponent = np.where(near == 0, self.fmt.emin, np.frexp(near)[1] - 1)
        ulp = np.ldexp(1.0, np.maximum(exponent, self.fmt.emin) - self.fmt.digits + 1)
        other = self.fmt.round(near + np.sign(x - near) * ulp)
        match self.rounding:
            case "chance":
                swap = self.rng.random(x.shape) < 0.5
            case "up":
                swap = near < x
            case "down":
                swap = near > x
            case _:
                swap = np.abs(near) > np.abs(x)
        return np.where(swap & (near != x) & np.isfinite(near), other, near)

    def chance(self, p: float) -> bool:
        return bool(self.rng.random() < p)

    def pick(self, items: Sequence[Any]) -> Any:
        return items[int(self.rng.integers(len(items)))]

    # ---- scalars: one random formula for each, the same one throughout the program ----------

    def number(self, atom: Atom, row: int) -> float:
        if isinstance(atom, Folded):
            total = 0.0
            for term in atom.terms:
                total += term.sign * self.folded(term.scalars, row)
            return total
        table = self.tables[row]
        if atom not in table:
            with np.errstate(all="ignore"):
                table[atom] = float(self._formula(atom, row))
        return table[atom]

    def folded(self, scalars: Sequence[Scalar], row: int) -> float:
        with np.errstate(all="ignore"):
            return float(_product(scalars, lambda a: self.number(a, row)))

    def _formula(self, i: Index, row: int) -> float:
        rng = np.random.default_rng((self.formulas, i))
        match self.graph.nodes[i]:
            case Hyper(name):
                return float(self.rows[row][name])
            case Const(x):
                return x.numerator / x.denominator
            case Let(_, forms):
                return self.number(forms[0], row)
            case Root(j):
                return math.sqrt(self.number(j, row))
            case Product(factors):
                value = np.float64(1)
                for k in rng.permutation(len(factors)):
                    e, j = factors[k]
                    x = np.float64(self.number(j, row))
                    value = value * x if e > 0 else value / x
                return float(value)
            case Power(base, exponent):
                b, n = self.number(base, row), self.number(exponent, row)
                return _power(b, n, int(rng.integers(3)))
            case Sum(terms):
                if len(terms) == 2 and terms[0][0] == 1 and terms[1][0] == -1:
                    power = self.graph.nodes[terms[1][1]]
                    if isinstance(power, Power) and self.graph.is_const(terms[0][1], 1):
                        b, n = self.number(power.base, row), self.number(power.exponent, row)
                        how = int(rng.integers(3))
                        if how == 1 and b > 0:
                            return -math.expm1(n * math.log(b))
                        if how == 2 and n <= 20:
                            return (1 - b) * sum(b**k for k in range(int(n)))
                return float(sum(s * np.float64(self.number(j, row)) for s, j in terms))
        raise TypeError(f"node {i} is no scalar operation")

    def everywhere(self, atom: Atom, test: Callable[[float], bool]) -> bool:
        return all(test(self.number(atom, row)) for row in range(len(self.rows)))

    def flat(self, i: Index, power: Fraction = Fraction(1)) -> tuple[Scalar, ...]:
        """A scalar as a product of scalars."""
        match self.graph.nodes[i]:
            case Const(x) if x == 1:
                return ()
            case Product(factors):
                return tuple(s for e, j in factors for s in self.flat(j, e * power))
            case Root(j):
                return self.flat(j, power / 2)
            case Let(_, forms):
                return self.flat(forms[0], power)
        return ((power, i),)

    def opened(self, i: Index) -> list[Term] | None:
        """A scalar as a sum of two, where that is well conditioned in every row."""
        node = self.graph.nodes[i]
        if isinstance(node, Sum) and len(node.terms) == 2:
            parts = [(s, j) for s, j in node.terms]
        else:
            one = self.graph.const(1)
            other = [
                j
                for j, n in enumerate(self.graph.nodes)
                if isinstance(n, Sum) and n.terms == ((1, one), (-1, i))
            ]
            if not other:
                return None
            parts = [(1, one), (-1, other[0])]
        for row in range(len(self.rows)):
            sizes = [abs(self.number(j, row)) for _, j in parts]
            if 0 in sizes or not sum(sizes) <= CONDITION * abs(self.number(i, row)):
                return None
        self.open.add(i)
        return [Term(s, self.flat(j)) for s, j in parts]

    # ---- expansion ---------------------------------------------------------------------------

    def keep(self, node: Index) -> None:
        if node not in self.kept:
            self.drawn[node] = Poly(tuple(self.equation(node)))
            self.kept[node] = self.poly(self.drawn[node])

    def equation(self, i: Index) -> list[Term]:
        node = self.graph.nodes[i]
        assert isinstance(node, Let)
        return self.expand(self.pick(node.forms))

    def expand(self, i: Index) -> list[Term]:
        if self.graph.scalar[i]:
            return [Term(1, self.flat(i))]
        match self.graph.nodes[i]:
            case Input(name):
                return [Term(1, (), ((1, Tensor(name)),))]
            case Let():
                if self.chance(self.habits.inline):
                    return self.equation(i)
                self.keep(i)
                return [Term(1, (), ((1, Kept(i)),))]
            case Sum(terms):
                out = [Term(s).times(x) for s, j in terms for x in self.expand(j)]
                return self.factored(out) if self.chance(self.habits.factor) else out
            case Root(j):
                return [self.rooted(self.expand(j), i)]
            case Maximum(a, b):
                sides = (Poly(tuple(self.expand(a))), Poly(tuple(self.expand(b))))
                return [Term(1, (), ((1, Larger(*sides)),))]
            case Absolute(j):
                return [Term(1, (), ((1, Shape(Poly(tuple(self.expand(j))), "abs")),))]
            case Sign(j):
                return [Term(1, (), ((1, Shape(Poly(tuple(self.expand(j))), "sign")),))]
            case Product(factors):
                return self.product(factors)
        raise TypeError(f"node {i} is no tensor operation")

    def product(self, factors: Sequence[tuple[int, Index]]) -> list[Term]:
        terms = [Term()]
        for e, j in factors:
            if self.graph.scalar[j]:
                parts = self.opened(j) if e > 0 and self.chance(self.habits.open) else None
                new = parts or [Term(1, self.flat(j, Fraction(e)))]
            elif e > 0:
                new = self.expand(j)
            else:
                new = [self.over(self.expand(j))]
            many = len(new) * len(terms) > MANY
            if len(new) > 1 and not self.bold:
                # what a zero scalar multiplies is left out or stays as written, see bold
                new = [x for x in new if not self.vanishes(x, every=True)] or new[:1]
                many = many or any(self.vanishes(x, every=False) for x in new)
            if len(new) > 1 and self.graph.scalar[j]:  # opened, which is to distribute it
                new = [Term(1, self.flat(j))] if many else new
            elif len(new) > 1 and (many or not self.chance(self.habits.distribute)):
                new = [Term(1, (), ((1, Poly(tuple(new))),))]
            terms = [x.times(y) for x in terms for y in new]
        return [self.rescaled(self.shared(x)) for x in terms]

    def vanishes(self, x: Term, *, every: bool) -> bool:
        """Whether a scalar above is zero, in every row or in one."""
        above = [a for e, a in x.scalars if e > 0]
        zero = [any(self.number(a, row) == 0 for a in above) for row in range(len(self.rows))]
        return all(zero) if every else any(zero)

    def over(self, terms: list[Term]) -> Term:
        """One over a sum; a single term is inverted factor by factor."""
        if len(terms) == 1:
            x = terms[0]
            return Term(
                x.sign,
                tuple((-e, a) for e, a in x.scalars),
                tuple((-e, y) for e, y in x.tensors),
                x.scaled,
            )
        return Term(1, (), ((-1, Poly(tuple(terms))),))

    def rooted(self, inside: list[Term], node: Index) -> Term:
        """Scalars of a lone term may leave the root."""
        out: list[Scalar] = []
        if len(inside) == 1 and inside[0].sign > 0 and self.chance(self.habits.roots):
            x = inside[0]
            positive = [
                s for s in x.scalars if self.everywhere(s[1], lambda v: v > 0) and self.chance(0.8)
            ]
            for s in positive:
                x = x.without(s)
            out = [(e / 2, a) for e, a in positive]
            inside = [x]
        root = Rooted(Poly(tuple(inside)), node)
        return Term(1, tuple(out), ((1, root),), scaled=bool(out))

    def shared(self, x: Term) -> Term:
        """The square of a root is its inside; two roots of one product may be one."""
        roots = [f for f in x.tensors if isinstance(f[1], Rooted) and f[1].node is not None]
        if len(roots) < 2 or not self.chance(self.habits.roots):
            return x
        for at, first in enumerate(roots):
            for second in roots[at + 1 :]:
                if first == second:
                    inside: Factor = (first[0], first[1].inside)  # type: ignore[union-attr]
                    rest = x.without(first).without(second)
                    return self.shared(replace(rest, tensors=(*rest.tensors, inside)))
        first, second = roots[0], roots[1]
        if first[1].node == second[1].node:  # type: ignore[union-attr]
            return x
        parts = tuple((e, y.inside) for e, y in (first, second))  # type: ignore[union-attr]
        one = Rooted(Poly((Term(1, (), parts),)), None)
        rest = x.without(first).without(second)
        return replace(rest, tensors=(*rest.tensors, (1, one)))

    def rescaled(self, x: Term) -> Term:
        """Multiply a denominator by scalars from around or inside it."""
        for factor in x.tensors:
            e, y = factor
            if e > 0 or not self.chance(self.habits.scale):
                continue
            rest, below = x.without(factor), y
            inside = [
                (p, a)
                for p, a in dict.fromkeys(_scalars_inside(y))
                if (p < 0 or p.denominator > 1) and self.everywhere(a, _positive)
            ]
            if inside and self.chance(0.6):
                p, a = self.pick(inside)
                below = _scaled(below, (-p, a))
                rest = rest.by((-p, a))
            around = [s for s in x.scalars if self.everywhere(s[1], _usable)]
            for p, a in around:
                if (p, a) in rest.scalars and self.chance(0.5):
                    if isinstance(below, Larger) and not self.everywhere(a, _positive):
                        continue
                    below = _scaled(below, (-p, a))
                    rest = rest.without((p, a))
            moved = x.scaled or below != y
            x = replace(rest, tensors=(*rest.tensors, (e, below)), scaled=moved)
        return x

    def factored(self, terms: list[Term]) -> list[Term]:
        """Pull what some terms share out of them."""
        parts = [f for x in terms for f in dict.fromkeys((*x.scalars, *x.tensors))]
        common = [f for f in dict.fromkeys(parts) if parts.count(f) > 1]
        if not common:
            return terms
        f = self.pick(common)
        inside = [x.without(f) for x in terms if f in x.scalars or f in x.tensors]
        outside = [x for x in terms if not (f in x.scalars or f in x.tensors)]
        whole = Term().times(_single(f))
        while self.chance(0.7):  # and whatever else all of them share
            more = [
                g
                for g in (*inside[0].scalars, *inside[0].tensors)
                if all(g in x.scalars or g in x.tensors for x in inside)
            ]
            if not more:
                break
            g = self.pick(more)
            inside = [x.without(g) for x in inside]
            whole = whole.times(_single(g))
        if any(x.tensors for x in inside):
            rest = Term(1, (), ((1, Poly(tuple(inside))),))
        elif whole.tensors:
            rest = Term(1, ((Fraction(1), Folded(tuple(inside))),))
        else:
            return terms
        return [*outside, whole.times(rest)]

    # ---- compilation: everything below draws once and returns what runs ----------------------

    def operation(self, y: Expression) -> Op:
        match y:
            case Tensor(name):
                return lambda run: run.inputs[name]
            case Kept(node):
                return lambda run: self._stored(run.base or run, node).astype(run.real)
            case Poly():
                return self.poly(y)
            case Rooted(inside, _):
                inner = self.poly(inside)
                return lambda run: run.round(np.sqrt(inner(run)))
            case Larger(left, right):
                a, b = self.poly(left), self.poly(right)
                return lambda run: np.maximum(a(run), b(run))
            case Shape(of, kind):
                of_it, function = self.poly(of), np.abs if kind == "abs" else np.sign
                return lambda run: function(of_it(run))

    def _stored(self, run: Run, node: Index) -> Array:
        if node not in run.kept:
            run.kept[node] = np.asarray(self.kept[node](run))
        return run.kept[node]

    def poly(self, y: Poly) -> Op:
        op = self.sum(y.terms)
        if self.chance(self.habits.wide):
            op = self.widened(op)
        if not y.scaled:
            return op

        def scaled(run: Run) -> Array:
            out = op(run)
            run.excuse(~np.isfinite(out))
            return out

        return scaled

    def widened(self, op: Op) -> Op:
        which = int(self.rng.integers(2))

        def wide(run: Run) -> Array:
            if not run.wider:
                return op(run)
            return run.round(op(run.wider[which % len(run.wider)]))

        return wide

    def sum(self, terms: Sequence[Term]) -> Op:
        items = [self.term(x) for x in terms]
        while len(items) > 1:
            (a, _), (b, pair) = (items.pop(int(self.rng.integers(len(items)))) for _ in range(2))
            items.append((self.addition(a, b, pair), None))
        total = items[0][0]

        def whole(run: Run) -> Array:
            out = total(run)
            return run.real(0) if out is None else out

        return whole

    def addition(self, a: Op, b: Op, pair: Pair | None) -> Op:
        fuse = pair if pair is not None and self.chance(self.habits.fuse) else None
        double = self.fmt.name == "float64"

        def add(run: Run) -> Array | None:
            x = a(run)
            if fuse is not None and x is not None:
                operands = fuse(run)
                if operands is None:
                    return x
                y, z = operands
                if double:
                    y = np.asarray(y, np.longdouble)
                return run.round(y * z + x)
            y = b(run)
            if x is None or y is None:
                return y if x is None else x
            return run.round(x + y)

        return add

    def term(self, x: Term) -> tuple[Op, Pair | None]:
        """A product, and the operands of its last multiplication for a fused multiply-add."""
        operands = [(e, self.operation(y)) for e, y in x.tensors] + self.groups(x.scalars)
        leave_out = self.chance(self.habits.leave_out)
        above = [a for e, a in x.scalars if e > 0]
        pair: Pair | None = None
        sign = x.sign
        while len(operands) > 1:
            (e, a), (f, b) = (operands.pop(int(self.rng.integers(len(operands)))) for _ in range(2))
            if e == f:
                op, pair = _multiplied(a, b, e < 0), _pair(a, b, sign) if e > 0 else None
            else:
                e, (a, b) = 1, (a, b) if e > 0 else (b, a)
                if self.chance(self.habits.reciprocal):
                    b = _inverse(b)
                    op, pair = _multiplied(a, b, False), _pair(a, b, sign)
                else:
                    op, pair = _divided(a, b), None
            operands.append((e, op))
        if operands:
            e, op = operands[0]
            op = op if e > 0 else _inverse(op)
        else:
            op = _one

        def signed(run: Run) -> Array | None:
            if leave_out and any(run.number(a) == 0 for a in above):
                return None
            out = sign * op(run)
            if x.scaled:
                run.excuse(~np.isfinite(out))
            return out

        def operands_of(run: Run) -> tuple[Array, Array] | None:
            if leave_out and any(run.number(a) == 0 for a in above):
                return None
            assert pair is not None
            return pair(run)

        return signed, None if pair is None else operands_of

    def groups(self, scalars: Sequence[Scalar]) -> list[tuple[int, Op]]:
        """Scalars folded in random groups, each rounded once where it meets the tensors."""
        if not scalars:
            return []
        spread = int(self.rng.integers(1, len(scalars) + 1))
        parts: dict[int, list[Scalar]] = {}
        for k in self.rng.permutation(len(scalars)):
            parts.setdefault(int(self.rng.integers(spread)), []).append(scalars[k])
        out: list[tuple[int, Op]] = []
        for part in parts.values():
            below = all(e < 0 for e, _ in part) and not self.chance(self.habits.reciprocal / 2)
            group = [(-e, a) for e, a in part] if below else part
            out.append((-1 if below else 1, _scalar(tuple(group))))
        return out


def _single(part: Scalar | Factor) -> Term:
    if isinstance(part[0], Fraction):
        return Term(1, (part,))  # type: ignore[arg-type]
    return Term(1, (), (part,))  # type: ignore[arg-type]


def _positive(x: float) -> bool:
    return 0 < x < math.inf


def _usable(x: float) -> bool:
    return x != 0 and math.isfinite(x)


def _scalars_inside(y: Expression) -> list[Scalar]:
    """Scalars that multiply a term of a denominator, as the power to which they do."""
    match y:
        case Poly(terms):
            return [
                s
                for x in terms
                if x.tensors  # a lone scalar is a term, not a factor
                for s in (*x.scalars, *(s for _, f in x.tensors for s in _under_root(f)))
            ]
        case Larger(left, right):
            return _scalars_inside(left) + _scalars_inside(right)
    return _under_root(y)


def _under_root(y: Expression) -> list[Scalar]:
    if isinstance(y, Rooted) and y.node is not None and len(y.inside.terms) > 1:
        return [(e / 2, a) for x in y.inside.terms if x.tensors for e, a in x.scalars]
    return []


def _scaled(y: Expression, by: Scalar) -> Expression:
    """A denominator times a scalar: on every term or, where it clears one, inside the root."""
    exponent, atom = by
    match y:
        case Poly(terms):
            out = []
            for x in terms:
                clears = [f for f in x.tensors if (-exponent, atom) in _under_root(f[1])]
                if clears and (-exponent, atom) not in x.scalars:
                    e, f = clears[0]
                    rest = x.without(clears[0])
                    out.append(replace(rest, tensors=(*rest.tensors, (e, _into_root(f, by)))))
                else:
                    out.append(x.by(by))
            return Poly(tuple(out), True)
        case Larger(left, right):
            a, b = _scaled(left, by), _scaled(right, by)
            assert isinstance(a, Poly) and isinstance(b, Poly)
            return Larger(a, b)
        case Rooted() if (-exponent, atom) in _under_root(y):
            return _into_root(y, by)
    return Poly((Term(1, (by,), ((1, y),)),), True)


def _into_root(y: Expression, by: Scalar) -> Rooted:
    assert isinstance(y, Rooted)
    square = (2 * by[0], by[1])
    inside = Poly(tuple(x.by(square) for x in y.inside.terms), True)
    return Rooted(inside, None)


def _product(scalars: Sequence[Scalar], number: Callable[[Atom], float]) -> np.float64:
    value = np.float64(1)
    for e, a in scalars:
        x = np.float64(number(a))
        size = abs(e)
        if size.denominator == 2:
            x = np.sqrt(x) if size == HALF else np.sqrt(x) ** size.numerator
        elif size != 1:
            x = x**size.numerator
        value = value * x if e > 0 else value / x
    return value


def _power(b: float, n: float, how: int) -> float:
    if how == 1 and b > 0:
        return math.exp(n * math.log(b))
    if how == 2 and n <= 50:
        return math.prod([b] * int(n), start=1.0)
    return b**n


def _scalar(group: tuple[Scalar, ...]) -> Op:
    return lambda run: run.round(np.asarray(run.real(_product(group, run.number))))


def _one(run: Run) -> Array:
    return np.asarray(run.real(1))


def _multiplied(a: Op, b: Op, below: bool) -> Op:
    def multiply(run: Run) -> Array:
        out = run.round(a(run) * b(run))
        if below:  # a product of denominators scales one by the other
            run.excuse(~np.isfinite(out))
        return out

    return multiply


def _divided(a: Op, b: Op) -> Op:
    return lambda run: run.round(a(run) / b(run))


def _inverse(a: Op) -> Op:
    return lambda run: run.round(1 / a(run))


def _pair(a: Op, b: Op, sign: int) -> Pair:
    return lambda run: (sign * a(run), b(run))


def _as_it_is(x: Array) -> Array:
    return x


def _to_double(x: Array) -> Array:
    return np.asarray(x).astype(np.float64)


def _to_single(x: Array) -> Array:
    return np.asarray(x).astype(np.float32).astype(np.float64)
