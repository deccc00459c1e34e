"""The scalars of a body: straight-line double precision from hyperparameters to constants.

Python computes them for every row of a step, and the program for the device does where
hyperparameters and counters are tensors; both follow the one list of operations made here.
"""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from optconform import expr
from optconform.expr import Const, Graph, Hyper, Index, Let, Power, Product, Root, Sum

Register = int


def _quotient(a: float, b: float) -> float:
    if b == 0:
        return (
            math.nan
            if a == 0 or math.isnan(a)
            else math.copysign(math.inf, a) * math.copysign(1, b)
        )
    return a / b


def _root(a: float, _: float) -> float:
    return math.sqrt(a)


IN_PYTHON: Mapping[str, Callable[[float, float], float]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": _quotient,
    "power": math.pow, "root": _root,
}  # fmt: skip

IN_C = {
    "add": "{} + {}", "sub": "{} - {}", "mul": "{} * {}", "div": "{} / {}",
    "power": "power({}, {})", "root": "root({})",
}  # fmt: skip


@dataclass(frozen=True)
class Constants:
    """What ``k0``, ``k1``, ... of a body are computed from.

    Registers hold the hyperparameters ``names`` (``t`` among them), then ``numbers``, then the
    result of each of ``ops`` (a kind and two registers; a root looks at the first); ``results``
    are the registers of the constants.
    """

    names: tuple[str, ...]
    numbers: tuple[float, ...]
    ops: tuple[tuple[str, Register, Register], ...]
    results: tuple[Register, ...]

    def __len__(self) -> int:
        return len(self.results)

    @functools.cached_property
    def _calls(self) -> tuple[tuple[Callable[[float, float], float], Register, Register], ...]:
        return tuple((IN_PYTHON[kind], a, b) for kind, a, b in self.ops)

    @functools.cached_property
    def counts(self) -> bool:
        """Whether any constant hangs on the step's number."""
        t = self.names.index("t")
        return t in self.results or any(t in registers for _, *registers in self.ops)

    def values(self, hypers: Mapping[str, float]) -> list[float]:
        """The constants for these hyperparameters (``t`` and ``lr0`` among them), not rounded."""
        x = [float(hypers[name]) for name in self.names]
        x += self.numbers
        for f, a, b in self._calls:
            x.append(f(x[a], x[b]))
        return [x[i] for i in self.results]

    def source(self, given: str) -> list[str]:
        """The same in C: a double ``r...`` for each register, of the hyperparameters ``given``."""
        first = len(self.names)
        lines = [f"const double r{i} = {given}[{i}];" for i in range(first)]
        lines += [f"const double r{first + i} = {x.hex()};" for i, x in enumerate(self.numbers)]
        first += len(self.numbers)
        for i, (kind, a, b) in enumerate(self.ops):
            lines.append(f"const double r{first + i} = {IN_C[kind].format(f'r{a}', f'r{b}')};")
        return lines


def constants(graph: Graph, nodes: Sequence[Index]) -> Constants:
    """The straight line that computes scalar nodes of a graph."""
    order = expr.reachable(graph, nodes)
    names = sorted({"t", *(n.name for i in order if isinstance(n := graph.nodes[i], Hyper))})
    needed = dict.fromkeys(x for i in order if (x := _number(graph.nodes[i])) is not None)
    numbers = {x: len(names) + k for k, x in enumerate(needed)}
    first = len(names) + len(numbers)
    ops: dict[tuple[str, Register, Register], Register] = {}

    def op(kind: str, a: Register, b: Register) -> Register:
        return ops.setdefault((kind, a, b), first + len(ops))

    at: dict[Index, Register] = {}

    def chain(
        operands: Sequence[tuple[int, Index]], plain: str, inverse: str, unit: float
    ) -> Register:
        """From left to right; ``unit`` comes first where the first is taken away or divided by."""
        total = at[operands[0][1]] if operands[0][0] > 0 else numbers[unit]
        for sign, j in operands[operands[0][0] > 0 :]:
            total = op(plain if sign > 0 else inverse, total, at[j])
        return total

    for i in order:
        match graph.nodes[i]:
            case Hyper(name):
                at[i] = names.index(name)
            case Const() as node:
                at[i] = numbers[node.value.numerator / node.value.denominator]
            case Sum(terms):
                at[i] = chain(terms, "add", "sub", 0.0)
            case Product(factors):
                at[i] = chain(factors, "mul", "div", 1.0)
            case Power(base, exponent):
                at[i] = op("power", at[base], at[exponent])
            case Root(j):
                at[i] = op("root", at[j], at[j])
            case Let(_, forms):
                at[i] = at[forms[0]]
            case node:
                raise TypeError(f"{type(node).__name__} is no scalar operation")
    return Constants(tuple(names), tuple(numbers), tuple(ops), tuple(at[i] for i in nodes))


def _number(node: expr.Node) -> float | None:
    """The number that a node is or begins with, if any."""
    match node:
        case Const(value):
            return value.numerator / value.denominator
        case Sum(((sign, _), *_)) if sign < 0:
            return 0.0
        case Product(((exponent, _), *_)) if exponent < 0:
            return 1.0
    return None
