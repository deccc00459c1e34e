"""Small faults, made from the equations themselves.

A *mutant* is the expression graph of a spec with one thing changed: a term dropped, a sign turned,
a hyperparameter read in place of another, a state that is stale, a constant off by one part in ten
million.  Operators know nodes and nothing of algorithms, so they work on any spec.  Nodes are
hash-consed: two changes with the same result are one mutant, and a change without a result is none.
"""

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

from .expr import (
    Absolute,
    Branch,
    Const,
    Graph,
    Hyper,
    Index,
    Input,
    Let,
    Maximum,
    Node,
    Power,
    Product,
    Root,
    Sign,
    Sum,
    children,
)
from .interpreter import FIRST, Machine, rebuilt

DELTAS = ("1e-3", "1e-4", "1e-5", "1e-6", "1e-7")
"""The relative perturbations of constants, hyperparameters and values."""

OPERATORS = {
    "drop": "a term or a factor is left out (a square, a bias correction, a learning rate)",
    "sign": "a term, or what an equation computes, has the wrong sign",
    "invert": "a factor divides where it should multiply, or the other way round",
    "square": "a factor is there twice",
    "scope": "a factor reaches the whole sum, or one term of it (the order of decay and update)",
    "root": "a root is dropped, or something moves into it or out of it (the place of eps)",
    "maximum": "a maximum is one of its arguments, or their sum",
    "magnitude": "an absolute value or a sign is left out",
    "power": "an exponent is ignored, or multiplies",
    "condition": "a condition is ignored, turned round, or holds elsewhere",
    "t": "the step counter is off by one",
    "hyper-swapped": "two hyperparameters change places",
    "hyper-wrong": "a hyperparameter is read in place of another",
    "hyper-ignored": "a hyperparameter has its default, 0 or 1, whatever is asked for",
    "hyper-stale": "a hyperparameter keeps the value of the first step",
    "wrong-tensor": "a tensor or a state is read in place of another, new, old or stale",
    "previous-step": "a value of the step before is used",
    "not-written": "the parameter or a state keeps its old value",
    "wrong-written": "a state receives what belongs to another",
    "initial": "a state starts from another value",
    "perturbed": "a constant, a hyperparameter or a value is off by 1e-3 to 1e-7 of itself",
}
"""What can be wrong, one sentence each."""


@dataclass(frozen=True, slots=True)
class Mutant:
    """One fault: the operator, the equation it is in, the change as text, and the result."""

    operator: str
    where: str
    change: str
    machine: Machine

    def __str__(self) -> str:
        return f"{self.operator} in {self.where}: {self.change}"


def mutants(machine: Machine) -> list[Mutant]:
    """Every mutant of a machine, always in the same order."""
    seen = {_key(machine)}
    found = []
    for mutant in _all(machine):
        key = _key(mutant.machine)
        if key not in seen:
            seen.add(key)
            found.append(mutant)
    return found


def _key(machine: Machine) -> tuple[tuple[tuple[str, Index], ...], ...]:
    return tuple(machine.memory.items()), tuple(machine.inits.items())


def _all(machine: Machine) -> Iterator[Mutant]:
    yield from _nodes(machine)
    yield from _uses(machine)
    yield from _hypers(machine)
    yield from _values(machine)
    yield from _states(machine)


def substituted(machine: Machine, swaps: Mapping[Index, Index]) -> Machine:
    """The machine with nodes replaced wherever they occur."""
    graph, memo = machine.graph, dict(swaps)
    memory = {n: rebuilt(graph, i, memo) for n, i in machine.memory.items()}
    hypers = {i: j for i, j in swaps.items() if isinstance(graph.nodes[i], Hyper)}
    inits = {n: rebuilt(graph, i, dict(hypers)) for n, i in machine.inits.items()}
    return _with(machine, memory, inits)


def _with(machine: Machine, memory: Mapping[str, Index], inits: Mapping[str, Index]) -> Machine:
    return replace(machine, memory=memory, inits=inits, _settled={})


def perturbed(graph: Graph, i: Index, delta: str) -> Index:
    """A node times 1 + delta."""
    return graph.product([(1, graph.const(1 + Fraction(delta))), (1, i)])


# ---- nodes -----------------------------------------------------------------------------------


def _nodes(machine: Machine) -> Iterator[Mutant]:
    """A node is replaced by another that is made of the same children."""
    graph, owner = machine.graph, owners(machine)
    for i in machine.reachable():
        for operator, j in _variations(graph, graph.nodes[i]):
            if j != i:
                change = f"{text(graph, i)} -> {text(graph, j)}"
                yield Mutant(operator, owner[i], change, substituted(machine, {i: j}))


def _variations(graph: Graph, node: Node) -> Iterator[tuple[str, Index]]:
    match node:
        case Sum(terms):
            yield from _sums(graph, terms)
        case Product(factors):
            yield from _products(graph, factors)
        case Root(argument):
            yield "root", argument
            inside = opened(graph, argument)
            match graph.nodes[inside]:
                case Sum(terms):
                    for k, term in enumerate(terms):
                        rest = graph.add(Root(graph.sum(_without(terms, k))))
                        yield "root", graph.sum([(1, rest), term])
                case Product(factors):
                    for k, factor in enumerate(factors):
                        rest = graph.add(Root(graph.product(_without(factors, k))))
                        yield "root", graph.product([(1, rest), factor])
        case Power(base, exponent):
            yield "power", base
            yield "power", graph.product([(1, base), (1, exponent)])
        case Maximum(a, b):
            yield "maximum", a
            yield "maximum", b
            yield "maximum", graph.sum([(1, a), (1, b)])
        case Absolute(x):
            yield "magnitude", x
        case Sign(x):
            yield "magnitude", x
            yield "magnitude", graph.add(Absolute(x))
        case Branch(condition, yes, no):
            yield "condition", yes
            yield "condition", no
            yield "condition", graph.add(Branch(condition, no, yes))
            for other in _conditions(condition):
                yield "condition", graph.add(Branch(other, yes, no))


def _sums(graph: Graph, terms: tuple[tuple[int, Index], ...]) -> Iterator[tuple[str, Index]]:
    for k, (sign, j) in enumerate(terms):
        rest = _without(terms, k)
        yield "drop", graph.sum(rest)
        yield "sign", graph.sum([*terms[:k], (-sign, j), *terms[k + 1 :]])
        for r, (root_sign, root) in enumerate(rest):
            argument = graph.nodes[opened(graph, root)]
            if isinstance(argument, Root) and root_sign > 0:
                moved = graph.add(Root(graph.sum([(1, argument.argument), (sign, j)])))
                yield "root", graph.sum([(1, moved), *_without(tuple(rest), r)])
        inner = graph.nodes[opened(graph, j)]
        if isinstance(inner, Product) and rest:
            for f, (exponent, x) in enumerate(inner.factors):
                if exponent > 0 and not graph.scalar[x]:
                    whole = graph.sum([(1, x), *((sign * s, y) for s, y in rest)])
                    product = graph.product([(1, whole), *_without(inner.factors, f)])
                    yield "scope", graph.sum([(sign, product)])


def _products(graph: Graph, factors: tuple[tuple[int, Index], ...]) -> Iterator[tuple[str, Index]]:
    for k, (exponent, j) in enumerate(factors):
        rest = _without(factors, k)
        yield "drop", graph.product(rest)
        yield "invert", graph.product([*rest, (-exponent, j)])
        yield "square", graph.product([*factors, (exponent, j)])
        inner = graph.nodes[opened(graph, j)]
        if isinstance(inner, Sum) and exponent > 0 and not graph.scalar[j]:
            for n, (sign, x) in enumerate(inner.terms):
                alone = graph.product([(1, x), *rest])
                yield "scope", graph.sum([(sign, alone), *_without(inner.terms, n)])


def _without(parts: tuple[tuple[int, Index], ...], k: int) -> list[tuple[int, Index]]:
    return [*parts[:k], *parts[k + 1 :]]


def opened(graph: Graph, i: Index) -> Index:
    """The node behind names."""
    node = graph.nodes[i]
    while isinstance(node, Let):
        i = node.forms[0]
        node = graph.nodes[i]
    return i


def _conditions(condition: str) -> Iterator[str]:
    """The condition with one of its numbers off by one."""
    count = sum(_is_number(n) for n in ast.walk(ast.parse(condition, mode="eval")))
    for k in range(count):
        tree = ast.parse(condition, mode="eval")
        number = [n for n in ast.walk(tree) if isinstance(n, ast.Constant) and _is_number(n)][k]
        assert isinstance(number.value, int | float)
        number.value += 1
        yield ast.unparse(tree)


def _is_number(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and not isinstance(node.value, bool | str)


# ---- uses ------------------------------------------------------------------------------------


def _uses(machine: Machine) -> Iterator[Mutant]:
    """In one place something else is read."""
    graph, owner = machine.graph, owners(machine)
    order = list(machine.lets)
    spec = machine.spec
    hypers = [graph.add(Hyper(h.name)) for h in spec.hypers.values() if not h.is_flag]
    tensors = [graph.add(Input(n)) for n in ("p", "grad", *machine.inits)]
    t = graph.add(Hyper("t"))
    for i in machine.reachable():
        if not children(graph.nodes[i]):
            continue
        before = [machine.lets[n] for n in order[: order.index(owner[i])]]
        ready = tensors + [j for j in before if not graph.scalar[j]]
        for k, j in enumerate(children(graph.nodes[i])):
            others: list[tuple[str, Index]] = []
            match graph.nodes[j]:
                case Const(value) if value != 0:
                    others = [("perturbed", graph.const(value * (1 + Fraction(d)))) for d in DELTAS]
                case Hyper("t"):
                    others = [("t", graph.sum([(1, t), (s, graph.const(1))])) for s in (1, -1)]
                case Hyper() if j in hypers:
                    others = [("hyper-wrong", h) for h in hypers]
                case Input() | Let():
                    others = [("wrong-tensor", x) for x in ready]
            for operator, other in others:
                made = with_child(graph, i, k, other)
                if other != j and made != i:
                    change = f"{text(graph, other)} for {text(graph, j)} in {text(graph, i)}"
                    yield Mutant(operator, owner[i], change, substituted(machine, {i: made}))


def with_child(graph: Graph, i: Index, k: int, j: Index) -> Index:
    """Node ``i`` with its ``k``-th child replaced by ``j``."""
    match graph.nodes[i]:
        case Sum(terms):
            return graph.sum([*terms[:k], (terms[k][0], j), *terms[k + 1 :]])
        case Product(factors):
            return graph.product([*factors[:k], (factors[k][0], j), *factors[k + 1 :]])
        case Power(a, b):
            return graph.add(Power(j, b) if k == 0 else Power(a, j))
        case Maximum(a, b):
            return graph.add(Maximum(j, b) if k == 0 else Maximum(a, j))
        case Branch(condition, a, b):
            return graph.add(Branch(condition, j, b) if k == 0 else Branch(condition, a, j))
        case Root():
            return graph.add(Root(j))
        case Absolute():
            return graph.add(Absolute(j))
        case Sign():
            return graph.add(Sign(j))
        case Let(name, _):
            return graph.add(Let(name, (j,)))
    raise TypeError(f"node {i} has no children")


# ---- hyperparameters, values, states ---------------------------------------------------------


def _hypers(machine: Machine) -> Iterator[Mutant]:
    """A hyperparameter is something else wherever it occurs."""
    graph = machine.graph
    numbers = [h for h in machine.spec.hypers.values() if not h.is_flag]
    found = [(h, graph.add(Hyper(h.name))) for h in numbers]
    t = graph.add(Hyper("t"))
    for sign, told in ((1, "t + 1"), (-1, "t - 1")):
        other = graph.sum([(1, t), (sign, graph.const(1))])
        yield Mutant("t", "every equation", f"{told} for t", substituted(machine, {t: other}))
    for n, (h, i) in enumerate(found):
        for g, j in found[n + 1 :]:
            change = f"{h.name} and {g.name}"
            made = substituted(machine, {i: j, j: i})
            yield Mutant("hyper-swapped", "every equation", change, made)
        others = [("hyper-wrong", g.name, j) for g, j in found if j != i]
        for value in dict.fromkeys((float(h.default), 0.0, 1.0)):
            constant = graph.const(Fraction(repr(value)))
            others.append(("hyper-ignored", f"{value:g}", constant))
        others.append(("hyper-stale", f"the first {h.name}", graph.add(Hyper(FIRST + h.name))))
        for d in DELTAS:
            others.append(("perturbed", f"{h.name} * (1 + {d})", perturbed(graph, i, d)))
        for operator, told, j in others:
            made = substituted(machine, {i: j})
            yield Mutant(operator, "every equation", f"{told} for {h.name}", made)


def _values(machine: Machine) -> Iterator[Mutant]:
    """What an equation computes is perturbed, or turned round, or comes too late."""
    graph = machine.graph
    for name, i in machine.lets.items():
        body = i
        if isinstance(graph.nodes[i], Let):
            body = children(graph.nodes[i])[0]
        for d in DELTAS:
            made = substituted(machine, {body: perturbed(graph, body, d)})
            yield Mutant("perturbed", name, f"({text(graph, body)}) * (1 + {d})", made)
        made = substituted(machine, {body: graph.sum([(-1, body)])})
        yield Mutant("sign", name, f"-({text(graph, body)})", made)
    delayed = {n: i for n, i in machine.lets.items() if not graph.scalar[i] and n != "p"}
    for name, i in {"grad": graph.add(Input("grad")), **delayed}.items():
        late = name if name in machine.inits else f"previous {name}"
        swapped = substituted(machine, {i: graph.add(Input(late))})
        memory = {**swapped.memory, late: i}
        inits = {**machine.inits, late: machine.inits.get(late, graph.const(0))}
        made = _with(machine, memory, inits)
        yield Mutant("previous-step", name, f"{name} of the step before, wherever it is used", made)


def _states(machine: Machine) -> Iterator[Mutant]:
    """What is stored, and what it starts from."""
    graph, memory, inits = machine.graph, machine.memory, machine.inits
    for name in memory:
        kept = _with(machine, {**memory, name: graph.add(Input(name))}, inits)
        yield Mutant("not-written", name, f"{name} keeps its old value", kept)
        for other in inits:
            if other != name and name != "p":
                wrong = _with(machine, {**memory, name: memory[other]}, inits)
                yield Mutant("wrong-written", name, f"{name} receives {other}", wrong)
    for name, i in inits.items():
        others = [(repr(x), graph.const(Fraction(repr(x)))) for x in (0.0, 1.0, 1e-3)]
        others += [(f"{text(graph, i)} * (1 + {d})", perturbed(graph, i, d)) for d in DELTAS]
        for told, j in others:
            if j != i and not (graph.is_const(i, 0) and "*" in told):
                made = _with(machine, memory, {**inits, name: j})
                operator = "perturbed" if "*" in told else "initial"
                yield Mutant(operator, name, f"{name} starts at {told}", made)


# ---- text ------------------------------------------------------------------------------------


def owners(machine: Machine) -> dict[Index, str]:
    """Node -> the first equation that it stands in."""
    graph = machine.graph
    out: dict[Index, str] = {}
    for name, root in machine.lets.items():
        stack = [root]
        while stack:
            i = stack.pop()
            if i not in out:
                out[i] = name
                stack += children(graph.nodes[i])
    return out


def text(graph: Graph, i: Index, rank: int = 0) -> str:
    """A node as one line; equations by their names, ``old v`` for a state before the step."""
    node = graph.nodes[i]
    own = 9
    match node:
        case Hyper(name) | Let(name, _):
            out = name
        case Input(name):
            out = name if name in ("p", "grad") or name.startswith("previous") else f"old {name}"
        case Const(value):
            out = repr(float(value)).removesuffix(".0")
        case Sum(terms):
            own = 1
            parts = [("-" if s < 0 else "+", text(graph, j, 2)) for s, j in terms]
            out = " ".join(f"{s} {x}" for s, x in parts).removeprefix("+ ")
        case Product(factors):
            own = 2
            above = [text(graph, j, 3) for e, j in factors if e > 0]
            below = [text(graph, j, 3) for e, j in factors if e < 0]
            out = " / ".join([" * ".join(above) or "1", *below])
        case Power(a, b):
            out = f"{text(graph, a, 9)}**{text(graph, b, 9)}"
        case Root(x):
            out = f"sqrt({text(graph, x)})"
        case Maximum(a, b):
            out = f"max({text(graph, a)}, {text(graph, b)})"
        case Absolute(x):
            out = f"abs({text(graph, x)})"
        case Sign(x):
            out = f"sign({text(graph, x)})"
        case Branch(condition, yes, no):
            own = 0
            out = f"{text(graph, yes, 1)} if {condition} else {text(graph, no, 1)}"
    return f"({out})" if own < rank else out
