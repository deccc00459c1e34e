"""From the equations of a spec to the body of a kernel: a straight line of single roundings.

This is the one place that decides the form of each equation:

- a product keeps its scalars together: they are one constant, computed in double precision and
  rounded once to the precision of the tensors, and so is a scalar that can leave a root;
- a sum starts with its plainest term, and every product that follows is a fused multiply-add;
- a quotient is one division, and a quotient of two roots is one root.

What comes out is a rewriting in the class that :mod:`optconform.oracle.bound` admits, and every
target (CUDA, C++, numpy) evaluates it operation by operation, so that all give the same bits.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from optconform import expr
from optconform.expr import (
    Absolute,
    Graph,
    Hyper,
    Index,
    Input,
    Let,
    Maximum,
    Product,
    Root,
    Sign,
    Sum,
)
from optconform.impls.cuda.constants import Constants, constants
from optconform.interpreter import machine, rebuilt
from optconform.spec import State
from optconform.spec_file import load

Operand = str
"""``p``, ``grad`` or a state: what was read; ``k0``, ``k1``: constants; ``x0``, ``x1``: results."""

KINDS = ("add", "sub", "mul", "fma", "div", "sqrt", "max", "neg", "abs", "sign")
"""Every operation is one IEEE rounding, to nearest; fma(a, b, c) is a*b + c.  A maximum is NaN
where one of the two is, and its first argument where they are equal.  The sign of a zero is that
zero."""


@dataclass(frozen=True, slots=True)
class Op:
    out: Operand
    kind: str
    args: tuple[Operand, ...]

    def __str__(self) -> str:
        return f"{self.out} = {self.kind} {' '.join(self.args)}"


@dataclass(frozen=True, eq=False)
class Body:
    """What one element goes through in a step.

    ``constants`` are what k0, k1, ... stand for; ``reads`` the tensors that are loaded; ``writes``
    maps ``p`` and every state to its new value.
    """

    constants: Constants
    reads: tuple[str, ...]
    ops: tuple[Op, ...]
    writes: Mapping[str, Operand]

    @functools.cached_property
    def arrays(self) -> tuple[str, ...]:
        """Every tensor that is touched, ``p`` first, ``grad`` second."""
        return tuple(dict.fromkeys(("p", "grad", *self.reads, *self.writes)))


@functools.cache
def lowered(
    spec: str,
    truths: frozenset[str],
    *,
    variant: tuple[tuple[str, str], ...] = (),
    zero: frozenset[str] = frozenset(),
) -> Body:
    """The body that a bundled spec runs where exactly the conditions ``truths`` hold.

    ``zero`` names hyperparameters that are 0: terms with them are left out.
    """
    m = machine(load(spec), dict(variant))
    memo = {m.graph.add(Hyper(name)): m.graph.const(0) for name in zero}
    visible = m.visible(truths)
    outputs = {
        name: rebuilt(m.graph, i, memo, truths)
        for name, i in m.memory.items()
        if name == "p" or name in visible
    }
    return _Lowering(m.graph, outputs).body(outputs)


VANISHING = ("weight_decay", "dampening", "lr_decay")
"""Hyperparameters that are usually 0: what they stand in is not computed then."""


def zeros(hypers: Mapping[str, float]) -> frozenset[str]:
    """Those of ``hypers`` that are 0 and make a simpler body."""
    return frozenset(name for name in VANISHING if hypers.get(name) == 0)


@functools.cache
def conditions(spec: str, variant: tuple[tuple[str, str], ...] = ()) -> tuple[str, ...]:
    """The conditions that decide which body runs and which state exists."""
    return machine(load(spec), dict(variant)).conditions


@functools.cache
def states(spec: str, truths: frozenset[str]) -> tuple[State, ...]:
    """The states that exist where ``truths`` hold, in the spec's order."""
    visible = machine(load(spec), {}).visible(truths)
    return tuple(s for s in load(spec).states.values() if s.name in visible)


@dataclass(frozen=True, slots=True)
class _Term:
    """sign * scalars * numerators / denominators, not computed yet."""

    sign: int = 1
    scalars: tuple[tuple[int, Index], ...] = ()
    above: tuple[Operand, ...] = ()
    below: tuple[Operand, ...] = ()

    def __mul__(self, other: _Term) -> _Term:
        return _Term(
            self.sign * other.sign,
            self.scalars + other.scalars,
            self.above + other.above,
            self.below + other.below,
        )

    @property
    def width(self) -> int:
        """How many factors it has once a quotient is one."""
        return bool(self.scalars) + (1 if self.below else len(self.above))

    def inverse(self) -> _Term:
        return _Term(self.sign, tuple((-e, i) for e, i in self.scalars), self.below, self.above)


class _Lowering:
    def __init__(self, graph: Graph, outputs: Mapping[str, Index]) -> None:
        self.graph = graph
        self.ops: dict[tuple[str, tuple[Operand, ...]], Operand] = {}
        self.slots: dict[Index, Operand] = {}
        self.terms: dict[Index, _Term] = {}
        self.uses = Counter(outputs.values())
        for i in expr.reachable(graph, outputs.values()):
            self.uses.update(expr.children(graph.nodes[i]))

    def body(self, outputs: Mapping[str, Index]) -> Body:
        writes = {name: self.value(self.term(i)) for name, i in outputs.items()}
        ops = tuple(Op(out, kind, args) for (kind, args), out in self.ops.items())
        known = {*self.slots.values(), *self.ops.values()}
        used = [a for op in ops for a in op.args] + list(writes.values())
        reads = tuple(dict.fromkeys(a for a in used if a not in known))
        return Body(constants(self.graph, list(self.slots)), reads, ops, writes)

    def op(self, kind: str, *args: Operand) -> Operand:
        return self.ops.setdefault((kind, args), f"x{len(self.ops)}")

    def constant(self, i: Index) -> Operand:
        return self.slots.setdefault(i, f"k{len(self.slots)}")

    def coefficient(self, term: _Term) -> Operand | None:
        """The scalars of a term as one constant, its sign included; None for 1 or -1."""
        i = self.graph.product(list(term.scalars))
        if self.graph.is_const(i, 1):
            return None
        return self.constant(i if term.sign > 0 else self.graph.sum([(-1, i)]))

    # A node as a term.

    def term(self, i: Index) -> _Term:
        if i not in self.terms:
            self.terms[i] = self._term(i)
        return self.terms[i]

    def _term(self, i: Index) -> _Term:
        if self.graph.scalar[i]:
            return _Term(scalars=((1, i),))
        match self.graph.nodes[i]:
            case Input(name):
                return _Term(above=(name,))
            case Let(_, (form,)):
                term = self.term(form)
                if self.uses[i] > 1 and len(term.above) + len(term.below) > 1:
                    shared = self.value(_Term(above=term.above, below=term.below))
                    return _Term(term.sign, term.scalars, (shared,))
                return term
            case Sum(((sign, j),)):
                return _Term(sign) * self.term(j)
            case Sum(terms):
                return _Term(above=(self.sum(terms),))
            case Product(factors):
                return self.product(factors)
            case Root(j):
                term = self.term(j)
                bare = _Term(term.sign, (), term.above, term.below)
                scale = self.graph.product(list(term.scalars))
                root = _Term(above=(self.op("sqrt", self.value(bare)),))
                if self.graph.is_const(scale, 1):
                    return root
                return _Term(scalars=((1, self.graph.add(Root(scale))),)) * root
            case Maximum(a, b):
                return _Term(above=(self.op("max", self.operand(a), self.operand(b)),))
            case Absolute(j):
                return _Term(above=(self.op("abs", self.operand(j)),))
            case Sign(j):
                return _Term(above=(self.op("sign", self.operand(j)),))
            case node:
                raise TypeError(f"{type(node).__name__} is no tensor operation")

    def product(self, factors: Sequence[tuple[int, Index]]) -> _Term:
        left = list(factors)
        over = next(((f, r) for f in left if f[0] > 0 and (r := self.root(f[1])) is not None), None)
        under = next(
            ((f, r) for f in left if f[0] < 0 and (r := self.root(f[1])) is not None), None
        )
        term = _Term()
        if over and under:  # sqrt(a) / sqrt(b)
            quotient = self.op("div", self.operand(over[1]), self.operand(under[1]))
            term = _Term(above=(self.op("sqrt", quotient),))
            left.remove(over[0])
            left.remove(under[0])
        for exponent, j in left:
            factor = self.term(j)
            term = term * (factor if exponent > 0 else factor.inverse())
        return term

    def root(self, i: Index) -> Index | None:
        """What a tensor node is the root of."""
        match self.graph.nodes[i]:
            case Root(j) if not self.graph.scalar[i]:
                return j
            case Let(_, (form,)):
                return self.root(form)
        return None

    def sum(self, terms: Sequence[tuple[int, Index]]) -> Operand:
        numbers = [(s, i) for s, i in terms if self.graph.scalar[i]]
        parts = [_Term(s) * self.term(i) for s, i in terms if not self.graph.scalar[i]]
        if numbers:
            parts.append(_Term(scalars=((1, self.graph.sum(numbers)),)))
        parts.sort(key=lambda x: (x.width, x.sign < 0))
        total = self.value(parts[0])
        for term in parts[1:]:
            total = self.added(total, term)
        return total

    # A term as an operand.

    def operand(self, i: Index) -> Operand:
        return self.value(self.term(i))

    def factors(self, term: _Term) -> tuple[list[Operand], bool]:
        """What must still be multiplied, and whether a minus is left over."""
        k = self.coefficient(term)
        out = [] if k is None else [k]
        if term.below:
            above = self.chain(term.above) if term.above else self.constant(self.graph.const(1))
            out.append(self.op("div", above, self.chain(term.below)))
        else:
            out += term.above
        return out, k is None and term.sign < 0

    def chain(self, operands: Sequence[Operand]) -> Operand:
        return functools.reduce(lambda a, b: self.op("mul", a, b), operands)

    def value(self, term: _Term) -> Operand:
        factors, minus = self.factors(term)
        x = self.chain(factors or [self.constant(self.graph.const(1))])
        return self.op("neg", x) if minus else x

    def added(self, total: Operand, term: _Term) -> Operand:
        factors, minus = self.factors(term)
        if len(factors) == 1:
            return self.op("sub" if minus else "add", total, factors[0])
        x = self.chain(factors[:-1])
        return self.op("fma", self.op("neg", x) if minus else x, factors[-1], total)
