"""Whether a changed program is the same function after all.

Settings fall into *cases*: in each, the same conditions hold, and a hyperparameter on which they
depend is either one number or anywhere in an open interval.  Two machines are proved equal where in
every case their outputs are one node of the graph, or one rational function of inputs, scalars and
opaque factors.  What no proof reaches is run in Arb balls, on random inputs, along random runs:
agreement there is told as what it is.
"""

import ast
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from . import expr
from .agreement import agreement
from .expr import (
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
from .interpreter import FIRST, Machine, rebuilt
from .spec import HyperSpec, Spec, Value
from .strategies import steady


def reason(original: Machine, mutant: Machine) -> str | None:
    """Why a mutant is the same function as its original, or None where it is not.

    A proof says nothing of where a formula is 0/0, so the runs must agree as well.
    """
    seen = agreement(original, mutant)
    return None if seen is None else proof(original, mutant) or seen


# ---- cases -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """Settings in which exactly ``truths`` hold; ``constants`` can have no other value there."""

    truths: frozenset[str]
    constants: Mapping[str, Fraction]


def cases(spec: Spec, conditions: Sequence[str]) -> list[Case] | None:
    """Every admissible case, the first step apart from the others; None where conditions compare
    more than one name with numbers."""
    numbers: dict[str, set[float]] = {"t": {1.0}}
    flags: dict[str, None] = {}
    for text in (*conditions, *spec.requires):
        tree = ast.parse(text, mode="eval")
        compared = [n for n in ast.walk(tree) if isinstance(n, ast.Compare)]
        for node in compared:
            parts = [node.left, *node.comparators]
            named = [p for p in parts if isinstance(p, ast.Name)]
            constants = [p.value for p in parts if isinstance(p, ast.Constant)]
            if len(named) != 1 or len(named) + len(constants) != len(parts):
                return None
            values = [float(c) for c in constants if isinstance(c, int | float)]
            numbers.setdefault(named[0].id, set()).update(values)
        for name in sorted(expr.names(tree)):
            if name in spec.hypers and spec.hypers[name].is_flag:
                flags[name] = None
            elif name not in numbers:
                return None
    axes: list[list[tuple[str, Value, bool]]] = [
        [(name, False, True), (name, True, True)] for name in flags
    ]
    axes += [_cells(name, sorted(at), spec.hypers.get(name)) for name, at in numbers.items()]
    found = []
    for cell in itertools.product(*axes):
        setting = {name: value for name, value, _ in cell}
        if not all(expr.holds(c, setting) for c in spec.requires):
            continue
        truths = frozenset(c for c in conditions if expr.holds(c, setting))
        fixed = {n: Fraction(v) for n, v, point in cell if point and not isinstance(v, bool)}
        found.append(Case(truths, fixed))
    return found


def _cells(
    name: str, at: Sequence[float], hyper: HyperSpec | None
) -> list[tuple[str, Value, bool]]:
    """Points and open intervals, each by a number in it, and whether it is a point."""
    if hyper is None or hyper.domain is None:  # the step counter
        points = {int(c) for c in at if c >= 1 and c == int(c)}
        after = {c + 1 for c in points} - points
        return [(name, float(c), c in points) for c in sorted(points | after)]
    domain = hyper.domain
    edges = sorted({*at, domain.low, domain.high})
    cells = [(name, c, True) for c in edges if math.isfinite(c) and c in domain]
    for low, high in itertools.pairwise(edges):
        inside = (low + high) / 2 if math.isfinite(high) else low + 1
        if low < inside < high and inside in domain:
            cells.append((name, inside, False))
    return cells


# ---- proofs ----------------------------------------------------------------------------------


def proof(original: Machine, mutant: Machine) -> str | None:
    """Why two machines on one graph are the same function; None where that is not shown.

    By induction over the steps: the first starts both from their initial states; every later one
    from the same states, since what they computed until then was the same.
    """
    spec = original.spec
    conditions = tuple(dict.fromkeys([*original.conditions, *mutant.conditions]))
    found = cases(spec, conditions)
    if found is None:
        return None
    try:
        constant = _constant_states(original, found)
        identical = True
        for case in found:
            sides = [_outputs(m, case, constant) for m in (original, mutant)]
            if sides[0] != sides[1]:
                identical = False
                forms = Forms(original.graph)
                if not all(forms.same(i, sides[1][n]) for n, i in sides[0].items()):
                    return None
    except Unwieldy:
        return None
    what = "expression" if identical else "rational function"
    out = f"the same {what} in each of {len(found)} cases"
    read = {n.name for n in map(original.graph.nodes.__getitem__, mutant.reachable())
            if isinstance(n, Hyper)}  # fmt: skip
    kept = [n for n in spec.hypers if FIRST + n in read and steady(spec, n)]
    if kept:
        out += f", {' and '.join(kept)} keeping one value in a run"
    if constant and not identical:
        out += f", where {' and '.join(constant)} never {'change' if constant[1:] else 'changes'}"
    return out


def _outputs(m: Machine, case: Case, constant: Sequence[str]) -> dict[str, Index]:
    """What can be seen after a step, with everything in place that the case settles."""
    graph = m.graph
    known = {graph.add(Hyper(n)): graph.const(v) for n, v in case.constants.items()}
    started = constant
    if case.constants.get("t") == 1:
        started = tuple(m.inits)
        lr = graph.add(Hyper("lr"))
        known[graph.add(Hyper("lr0"))] = rebuilt(graph, lr, dict(known))
    for n in m.spec.hypers:
        if case.constants.get("t") == 1 or steady(m.spec, n):
            known[graph.add(Hyper(FIRST + n))] = rebuilt(graph, graph.add(Hyper(n)), dict(known))
    known |= {graph.add(Input(n)): rebuilt(graph, m.inits[n], dict(known)) for n in started}
    outputs = m.settled(case.truths)
    return {n: rebuilt(graph, outputs[n], known) for n in ("p", *m.visible(case.truths))}


def _constant_states(m: Machine, found: Sequence[Case]) -> tuple[str, ...]:
    """The states that start from a number and, in whatever case, never leave it."""
    left = tuple(n for n, i in m.inits.items() if isinstance(m.graph.nodes[i], Const))
    while left:
        forms = Forms(m.graph)
        sides = [_outputs(m, case, left) for case in found]
        kept = tuple(
            n for n in left if all(forms.same(m.inits[n], out[n]) for out in sides if n in out)
        )
        if kept == left:
            break
        left = kept
    return left


class Unwieldy(Exception):
    """A form has a zero denominator or too many terms."""


Monomial = tuple[tuple[int, int], ...]  # (atom, exponent), sorted
Poly = dict[Monomial, Fraction]
Rational = tuple[Poly, Poly]

LARGEST = 1500  # terms


class Forms:
    """Nodes as rational functions of atoms: inputs, hyperparameters and opaque factors."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.atoms: list[tuple[str, tuple[Rational, ...]]] = []
        self.memo: dict[Index, Rational] = {}

    def same(self, i: Index, j: Index) -> bool:
        return i == j or _equal(self.of(i), self.of(j))

    def of(self, i: Index) -> Rational:
        if i not in self.memo:
            self.memo[i] = self._of(i)
        return self.memo[i]

    def _of(self, i: Index) -> Rational:
        match self.graph.nodes[i]:
            case Hyper(name):
                return self.atom(f"scalar {name}")
            case Input(name):
                return self.atom(f"tensor {name}")
            case Const(value):
                return _constant(value)
            case Let(_, forms):
                return self.of(forms[0])
            case Sum(terms):
                total = _constant(Fraction(0))
                for sign, j in terms:
                    total = _added(total, self.of(j), sign)
                return total
            case Product(factors):
                product = _constant(Fraction(1))
                for exponent, j in factors:
                    num, den = self.of(j)
                    if exponent < 0:
                        num, den = den, num
                    if not den:
                        raise Unwieldy
                    product = _times(product[0], num), _times(product[1], den)
                return product
            case Power(base, exponent):
                b, e = self.of(base), self.of(exponent)
                n = _number(e)
                if n is not None and n == int(n) and 0 < n < 9:
                    out = _constant(Fraction(1))
                    for _ in range(int(n)):
                        out = _times(out[0], b[0]), _times(out[1], b[1])
                    return out
                if _number(b) == 1 or (
                    _number(b) == 0 and self.graph.nodes[exponent] == Hyper("t")
                ):
                    return b  # t is at least 1
                return self.atom("power", b, e)
            case Root(j):
                x = self.of(j)
                return x if _number(x) in (0, 1) else self.atom("root", x)
            case Maximum(a, b):
                x, y = self.of(a), self.of(b)
                if _equal(x, y) or (_number(y) == 0 and self.nonneg(a)):
                    return x
                return y if _number(x) == 0 and self.nonneg(b) else self.atom("max", x, y)
            case Absolute(j):
                return self.atom("abs", self.of(j))
            case Sign(j):
                return self.atom("sign", self.of(j))
        raise Unwieldy

    def nonneg(self, i: Index) -> bool:
        """Whether a node is a root or an absolute value."""
        node = self.graph.nodes[i]
        return (
            self.nonneg(node.forms[0])
            if isinstance(node, Let)
            else isinstance(node, Root | Absolute)
        )

    def atom(self, kind: str, *arguments: Rational) -> Rational:
        for k, (other, parts) in enumerate(self.atoms):
            if other == kind and all(map(_equal, parts, arguments)):
                return _atom(k)
        self.atoms.append((kind, arguments))
        return _atom(len(self.atoms) - 1)


def _atom(k: int) -> Rational:
    return {((k, 1),): Fraction(1)}, {(): Fraction(1)}


def _constant(value: Fraction) -> Rational:
    return ({(): value} if value else {}), {(): Fraction(1)}


def _number(x: Rational) -> Fraction | None:
    num, den = x
    if not num:
        return Fraction(0)
    return num[()] / den[()] if set(num) == set(den) == {()} else None


def _equal(x: Rational, y: Rational) -> bool:
    if x == y:
        return True
    return _times(x[0], y[1]) == _times(y[0], x[1])


def _added(x: Rational, y: Rational, sign: int) -> Rational:
    (a, b), (c, d) = x, y
    if b != d:
        a, c, b = _times(a, d), _times(c, b), _times(b, d)
    out = dict(a)
    for monomial, value in c.items():
        total = out.pop(monomial, Fraction(0)) + sign * value
        if total:
            out[monomial] = total
    return out, b


def _times(x: Poly, y: Poly) -> Poly:
    if len(x) * len(y) > LARGEST * 20:
        raise Unwieldy
    out: Poly = {}
    for m, a in x.items():
        for n, b in y.items():
            powers = dict(m)
            for atom, e in n:
                powers[atom] = powers.get(atom, 0) + e
            key = tuple(sorted(powers.items()))
            total = out.pop(key, Fraction(0)) + a * b
            if total:
                out[key] = total
    if len(out) > LARGEST:
        raise Unwieldy
    return out
