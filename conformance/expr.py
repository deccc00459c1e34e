"""The language of the equations: text in, hash-consed expression graph out.

Expressions are parsed with :mod:`ast` against a whitelist; nothing is ever evaluated as code.
Sums and products stay n-ary, so that a bound can range over every association order; forms of one
equation that are equal on paper are kept side by side in a :class:`Let`.

Whatever depends on hyperparameters and the step ``t`` alone is a *scalar*; whatever depends on the
parameter ``p``, the gradient ``grad`` or a state tensor is a *tensor*.
"""

import ast
import functools
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from .errors import SpecError

Index = int


@dataclass(frozen=True, slots=True)
class Hyper:
    """A hyperparameter, or the step counter ``t`` (from 1), or ``lr0``, the first lr of a group."""

    name: str


@dataclass(frozen=True, slots=True)
class Const:
    value: Fraction


@dataclass(frozen=True, slots=True)
class Input:
    """A tensor at the start of the step: ``p``, ``grad`` or a state."""

    name: str


@dataclass(frozen=True, slots=True)
class Sum:
    terms: tuple[tuple[int, Index], ...]  # (sign, node)


@dataclass(frozen=True, slots=True)
class Product:
    factors: tuple[tuple[int, Index], ...]  # (exponent +1 or -1, node)


@dataclass(frozen=True, slots=True)
class Power:
    """``base ** exponent`` of two scalars, such as beta1**t."""

    base: Index
    exponent: Index


@dataclass(frozen=True, slots=True)
class Root:
    argument: Index


@dataclass(frozen=True, slots=True)
class Maximum:
    left: Index
    right: Index


@dataclass(frozen=True, slots=True)
class Absolute:
    argument: Index


@dataclass(frozen=True, slots=True)
class Sign:
    argument: Index


@dataclass(frozen=True, slots=True)
class Branch:
    """``yes if condition else no`` with the condition left open; the oracle never meets one."""

    condition: str
    yes: Index
    no: Index


@dataclass(frozen=True, slots=True)
class Let:
    """A named equation.  Every form is equal on paper; the value comes from the first."""

    name: str
    forms: tuple[Index, ...]


Node = (
    Hyper | Const | Input | Sum | Product | Power | Root | Maximum | Absolute | Sign | Branch | Let
)


def children(node: Node) -> tuple[Index, ...]:
    """The nodes that ``node`` is computed from."""
    match node:
        case Sum(terms):
            return tuple(i for _, i in terms)
        case Product(factors):
            return tuple(i for _, i in factors)
        case Power(base, exponent):
            return (base, exponent)
        case Root(x) | Absolute(x) | Sign(x):
            return (x,)
        case Maximum(a, b) | Branch(_, a, b):
            return (a, b)
        case Let(_, forms):
            return forms
        case _:
            return ()


@dataclass(eq=False)
class Graph:
    """Interned nodes: equal expressions are one index.  ``scalar[i]`` tells scalar from tensor."""

    nodes: list[Node] = field(default_factory=list)
    scalar: list[bool] = field(default_factory=list)
    _index: dict[Node, Index] = field(default_factory=dict)

    def add(self, node: Node) -> Index:
        if node not in self._index:
            self._index[node] = len(self.nodes)
            self.nodes.append(node)
            inner = children(node)
            self.scalar.append(not isinstance(node, Input) and all(self.scalar[i] for i in inner))
        return self._index[node]

    def const(self, value: Fraction | int) -> Index:
        return self.add(Const(Fraction(value)))

    def is_const(self, i: Index, value: int) -> bool:
        return self.nodes[i] == Const(Fraction(value))

    def sum(self, terms: list[tuple[int, Index]]) -> Index:
        """A flat sum; zeros are dropped and a lone positive term is itself."""
        flat: list[tuple[int, Index]] = []
        for sign, i in terms:
            node = self.nodes[i]
            if isinstance(node, Sum):
                flat += [(sign * s, j) for s, j in node.terms]
            elif not self.is_const(i, 0):
                flat.append((sign, i))
        if not flat:
            return self.const(0)
        if len(flat) == 1 and flat[0][0] > 0:
            return flat[0][1]
        return self.add(Sum(tuple(flat)))

    def product(self, factors: list[tuple[int, Index]]) -> Index:
        """A flat product; ones are dropped and a lone factor is itself."""
        flat: list[tuple[int, Index]] = []
        for exponent, i in factors:
            node = self.nodes[i]
            if isinstance(node, Product):
                flat += [(exponent * e, j) for e, j in node.factors]
            elif not self.is_const(i, 1):
                flat.append((exponent, i))
        if any(e > 0 and self.is_const(i, 0) for e, i in flat) and all(e > 0 for e, _ in flat):
            return self.const(0)
        if not flat:
            return self.const(1)
        if len(flat) == 1 and flat[0][0] > 0:
            return flat[0][1]
        # numerators first: a reader, and a sequential evaluation, want x / y and not 1/y * x
        return self.add(Product(tuple(sorted(flat, key=lambda f: -f[0]))))


DEEPEST = 100
"""The most levels in an expression, and in a step whose equations are put into each other: whatever
walks them calls itself a few times a level, and Python stops at 1000 calls."""

FUNCTIONS: dict[str, int] = {"sqrt": 1, "max": 2, "abs": 1, "sign": 1, "ema": 3}
"""The whitelist of calls, with their number of arguments."""

Decide = Callable[[str], bool | None]
"""Whether a condition holds; None leaves it open."""


def parse(source: str, *, where: str) -> ast.expr:
    """Parse ``source`` to a syntax tree and check it against the whitelist.

    ``where`` names the place in error messages.  Raises SpecError.
    """
    if len(source) > 2000:
        raise SpecError(f"{where}: the expression is longer than 2000 characters")
    try:
        tree = ast.parse(source.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise SpecError(f"{where}: {source!r} is not an expression") from None
    if _depth(tree) > DEEPEST:
        raise SpecError(f"{where}: the expression is nested more than {DEEPEST} levels deep")
    _check(tree, where)
    return tree


def _depth(tree: ast.AST) -> int:
    level, depth = [tree], 0
    while level:
        level = [below for node in level for below in ast.iter_child_nodes(node)]
        depth += 1
    return depth


def _check(node: ast.AST, where: str) -> None:
    match node:
        case ast.Name():
            return
        case ast.Constant(value=int() | float() as value):
            if abs(value) > sys.float_info.max:
                raise SpecError(f"{where}: a constant is beyond the largest double")
            return
        case ast.UnaryOp(op=ast.USub() | ast.Not(), operand=x):
            inner: list[ast.AST] = [x]
        case ast.BinOp(
            left=a, op=ast.Add() | ast.Sub() | ast.Mult() | ast.Div() | ast.Pow(), right=b
        ):
            inner = [a, b]
        case ast.IfExp(test=test, body=a, orelse=b):
            inner = [test, a, b]
        case ast.BoolOp(values=values):
            inner = list(values)
        case ast.Compare(left=a, ops=ops, comparators=rest) if all(
            type(o) in _COMPARE for o in ops
        ):
            inner = [a, *rest]
        case ast.Call(func=ast.Name(id=name), args=args, keywords=[]):
            if name not in FUNCTIONS:
                raise SpecError(
                    f"{where}: {name}() is not one of the functions {', '.join(FUNCTIONS)}"
                )
            if len(args) != FUNCTIONS[name]:
                raise SpecError(f"{where}: {name}() takes {FUNCTIONS[name]} argument(s)")
            inner = list(args)
        case _:
            raise SpecError(f"{where}: {ast.unparse(node)!r} is not allowed in an equation")
    for child in inner:
        _check(child, where)


def names(tree: ast.AST) -> set[str]:
    """Every name in ``tree`` but those of functions."""
    called = {id(n.func) for n in ast.walk(tree) if isinstance(n, ast.Call)}
    return {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and id(n) not in called}


def conditions(tree: ast.AST) -> list[str]:
    """The conditions of ``a if condition else b`` inside ``tree``, as normal text."""
    return [ast.unparse(n.test) for n in ast.walk(tree) if isinstance(n, ast.IfExp)]


def holds(condition: str, values: Mapping[str, float | bool]) -> bool:
    """Evaluate a condition over scalars, such as ``momentum != 0 and not nesterov``."""
    return bool(_value(_condition(condition), values))


@functools.lru_cache(maxsize=1024)
def _condition(text: str) -> ast.expr:
    return ast.parse(text, mode="eval").body


_COMPARE: dict[type[ast.cmpop], Callable[[float, float], bool]] = {
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
}


def _value(node: ast.expr, values: Mapping[str, float | bool]) -> float | bool:
    match node:
        case ast.Name(id=name):
            return values[name]
        case ast.Constant(value=bool() | int() | float() as x):
            return x
        case ast.UnaryOp(op=ast.Not(), operand=x):
            return not _value(x, values)
        case ast.UnaryOp(op=ast.USub(), operand=x):
            return -_value(x, values)
        case ast.BoolOp(op=ast.And(), values=parts):
            return all(_value(x, values) for x in parts)
        case ast.BoolOp(op=ast.Or(), values=parts):
            return any(_value(x, values) for x in parts)
        case ast.Compare(left=left, ops=ops, comparators=rest):
            chain = [_value(x, values) for x in (left, *rest)]
            return all(
                _COMPARE[type(op)](a, b) for op, a, b in zip(ops, chain, chain[1:], strict=False)
            )
    raise SpecError(f"{ast.unparse(node)!r} is not a condition over hyperparameters")


def build(
    tree: ast.expr, graph: Graph, env: Mapping[str, Index], decide: Decide, *, where: str
) -> tuple[Index, ...]:
    """Put a checked tree into ``graph``; the result is one node per algebraic form.

    ``env`` maps names to nodes, ``decide`` settles conditions.  An ``ema`` at the top of an
    equation contributes both of its usual forms; the bound opens the third.
    """

    def go(n: ast.expr) -> Index:
        match n:
            case ast.Name(id=name):
                if name not in env:
                    raise SpecError(f"{where}: unknown name {name!r}")
                return env[name]
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return graph.const(Fraction(repr(value)))
            case ast.UnaryOp(op=ast.USub(), operand=x):
                return graph.sum([(-1, go(x))])
            case ast.BinOp(left=a, op=ast.Add(), right=b):
                return graph.sum([(1, go(a)), (1, go(b))])
            case ast.BinOp(left=a, op=ast.Sub(), right=b):
                return graph.sum([(1, go(a)), (-1, go(b))])
            case ast.BinOp(left=a, op=ast.Mult(), right=b):
                return graph.product([(1, go(a)), (1, go(b))])
            case ast.BinOp(left=a, op=ast.Div(), right=b):
                return graph.product([(1, go(a)), (-1, go(b))])
            case ast.BinOp(left=a, op=ast.Pow(), right=ast.Constant(value=int() as k)) if (
                1 <= k <= 8
            ):
                return graph.product([(1, go(a))] * k)
            case ast.BinOp(left=a, op=ast.Pow(), right=b):
                base, exponent = go(a), go(b)
                if not (graph.scalar[base] and graph.scalar[exponent]):
                    raise SpecError(f"{where}: only x**2 to x**8 and powers of scalars are allowed")
                return graph.add(Power(base, exponent))
            case ast.IfExp(test=test, body=a, orelse=b):
                condition = ast.unparse(test)
                truth = decide(condition)
                if truth is None:
                    return graph.add(Branch(condition, go(a), go(b)))
                return go(a) if truth else go(b)
            case ast.Call(func=ast.Name(id="ema"), args=[m, x, beta]):
                return ema(go(m), go(x), go(beta))[0]
            case ast.Call(func=ast.Name(id="sqrt"), args=[x]):
                return graph.add(Root(go(x)))
            case ast.Call(func=ast.Name(id="max"), args=[a, b]):
                return graph.add(Maximum(go(a), go(b)))
            case ast.Call(func=ast.Name(id="abs"), args=[x]):
                return graph.add(Absolute(go(x)))
            case ast.Call(func=ast.Name(id="sign"), args=[x]):
                return graph.add(Sign(go(x)))
        raise SpecError(f"{where}: {ast.unparse(n)!r} is not allowed in an equation")

    def ema(m: Index, x: Index, beta: Index) -> tuple[Index, ...]:
        rest = graph.sum([(1, graph.const(1)), (-1, beta)])
        gap = graph.sum([(1, x), (-1, m)])
        written = graph.sum(
            [(1, graph.product([(1, beta), (1, m)])), (1, graph.product([(1, rest), (1, x)]))]
        )
        lerp = graph.sum([(1, m), (1, graph.product([(1, rest), (1, gap)]))])
        return (written, lerp)

    if isinstance(tree, ast.IfExp) and (truth := decide(ast.unparse(tree.test))) is not None:
        branch = tree.body if truth else tree.orelse
        return build(branch, graph, env, decide, where=where)
    if isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name) and tree.func.id == "ema":
        m, x, beta = (go(a) for a in tree.args)
        return ema(m, x, beta)
    return (go(tree),)


def reachable(graph: Graph, roots: Iterable[Index]) -> list[Index]:
    """Every node below ``roots``, children first."""
    seen: dict[Index, None] = {}
    stack = [(i, False) for i in roots]
    while stack:
        i, done = stack.pop()
        if done:
            seen[i] = None
        elif i not in seen:
            stack.append((i, True))
            stack += [(j, False) for j in children(graph.nodes[i]) if j not in seen]
    return list(seen)
