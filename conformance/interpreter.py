"""An optimizer made of equations alone: the expression graph of a spec, run in numpy.

It computes what is written, one rounding for every operation, scalars in double precision: a plain
faithful implementation.  Run on the equations of a spec it conforms; run on equations that were
changed (:mod:`optconform.mutants`) it is an optimizer with exactly that fault.
"""

import ast
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from . import __version__, expr
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
    Power,
    Product,
    Root,
    Sign,
    Sum,
)
from .formats import FORMATS, Format
from .implementation import Floats
from .scenario import Group, Scenario, initial
from .spec import Program, Spec, Value, Variant, equations_of, states_of

FIRST = "first "
"""``Hyper("first lr")`` is the lr of a parameter's first step."""


@dataclass(frozen=True, eq=False)
class Machine:
    """Equations whose conditions are still open, and what they remember from step to step.

    ``memory`` maps ``p`` and every state to its new value; names that are no state of the spec are
    remembered too, and nobody sees them.  ``inits`` maps all but ``p`` to their first value;
    ``shown`` the states to the condition under which they exist, or None for always.
    """

    spec: Spec
    variant: Mapping[str, str]
    graph: Graph = field(repr=False)
    lets: Mapping[str, Index]
    memory: Mapping[str, Index]
    inits: Mapping[str, Index]
    shown: Mapping[str, str | None]
    _settled: dict[frozenset[str], dict[str, Index]] = field(default_factory=dict, repr=False)

    @property
    def conditions(self) -> tuple[str, ...]:
        """Every condition that decides what a step computes or what exists."""
        found = [n.condition for n in map(self.graph.nodes.__getitem__, self.reachable())
                 if isinstance(n, Branch)]  # fmt: skip
        return tuple(dict.fromkeys([*found, *(w for w in self.shown.values() if w)]))

    def reachable(self) -> list[Index]:
        """Every node that the new values are computed from, children first."""
        seen: dict[Index, None] = {}

        def visit(i: Index) -> None:
            if i not in seen:
                for j in expr.children(self.graph.nodes[i]):
                    visit(j)
                seen[i] = None

        for i in self.memory.values():
            visit(i)
        return list(seen)

    def visible(self, truths: frozenset[str]) -> list[str]:
        """The states that exist where ``truths`` hold."""
        return [n for n, when in self.shown.items() if when is None or when in truths]

    def settled(self, truths: frozenset[str]) -> dict[str, Index]:
        """The straight line that runs where exactly ``truths`` hold: what is visible, and whatever
        else must be remembered for it."""
        if truths not in self._settled:
            memo: dict[Index, Index] = {}
            out: dict[str, Index] = {}
            wanted = ["p", *self.visible(truths)]
            while wanted:
                name = wanted.pop()
                if name not in out:
                    out[name] = rebuilt(self.graph, self.memory[name], memo, truths)
                    wanted += [n for n in self.reads(self.memory[name], truths) if n in self.inits]
            self._settled[truths] = {n: out[n] for n in self.memory if n in out}
        return self._settled[truths]

    def reads(self, root: Index, truths: frozenset[str]) -> list[str]:
        """The tensors that a node reads at some step where, but for t, ``truths`` hold."""
        graph = self.graph
        seen: set[Index] = set()
        stack, found = [root], []
        while stack:
            i = stack.pop()
            if i in seen or graph.scalar[i]:
                continue
            seen.add(i)
            match graph.nodes[i]:
                case Input(name):
                    found.append(name)
                case Branch(condition, yes, no) if "t" not in expr.names(ast.parse(condition)):
                    stack.append(yes if condition in truths else no)
                case node:
                    stack += expr.children(node)
        return found

    def program(self, truths: frozenset[str]) -> Program:
        """The same, as the oracle's exact evaluation takes it."""
        variant = tuple(self.variant.items())
        return Program(self.spec, variant, self.graph, (), {}, self.settled(truths))


def machine(spec: Spec, variant: Variant, graph: Graph | None = None) -> Machine:
    """The equations of a spec, in ``graph`` or one of their own: the oracle's must not grow."""
    graph = Graph() if graph is None else graph
    chosen = spec.variant(variant)
    env = {name: graph.add(Hyper(name)) for name in (*spec.hypers, "t", "lr0")}
    states = states_of(spec, chosen)
    env |= {name: graph.add(Input(name)) for name in ("p", "grad", *states)}
    lets: dict[str, Index] = {}
    for name, forms in equations_of(spec, chosen).items():
        where = f"spec {spec.name}, equation {name}"
        tree = expr.parse(forms[0], where=where)
        body = expr.build(tree, graph, env, lambda _: None, where=where)[0]
        lets[name] = body if graph.scalar[body] else graph.add(Let(name, (body,)))
        env[name] = lets[name]
    inits = {}
    for s in states.values():
        tree = expr.parse(s.init, where=f"spec {spec.name}, state {s.name}")
        settled = {name: graph.add(Hyper(name)) for name in spec.hypers}
        inits[s.name] = expr.build(tree, graph, settled, lambda _: None, where=s.name)[0]
    memory = {name: i for name, i in lets.items() if name == "p" or name in states}
    shown = {s.name: None if s.when is None else _normal(s.when) for s in states.values()}
    return Machine(spec, chosen, graph, lets, memory, inits, shown)


def _normal(condition: str) -> str:
    return ast.unparse(ast.parse(condition, mode="eval"))


def rebuilt(
    graph: Graph, i: Index, memo: dict[Index, Index], truths: frozenset[str] | None = None
) -> Index:
    """Node ``i`` with the replacements in ``memo`` in place, and with conditions settled where
    ``truths`` says which hold."""
    if i in memo:
        return memo[i]

    def go(j: Index) -> Index:
        return rebuilt(graph, j, memo, truths)

    match graph.nodes[i]:
        case Branch(condition, yes, no) if truths is not None:
            made = go(yes if condition in truths else no)
        case Branch(condition, yes, no):
            a, b = go(yes), go(no)
            made = a if a == b else graph.add(Branch(condition, a, b))
        case Sum(terms):
            made = graph.sum([(s, go(j)) for s, j in terms])
        case Product(factors):
            made = graph.product([(e, go(j)) for e, j in factors])
        case Power(a, b):
            made = graph.add(Power(go(a), go(b)))
        case Root(j):
            made = graph.add(Root(go(j)))
        case Maximum(a, b):
            made = graph.add(Maximum(go(a), go(b)))
        case Absolute(j):
            made = graph.add(Absolute(go(j)))
        case Sign(j):
            made = graph.add(Sign(go(j)))
        case Let(name, forms):
            body = go(forms[0])
            made = body if graph.scalar[body] else graph.add(Let(name, (body,)))
        case _:
            made = i
    memo[i] = made
    return made


# ---- running ---------------------------------------------------------------------------------


class Step:
    """One step of parameters that have the same hyperparameters and the same t."""

    def __init__(
        self, graph: Graph, fmt: Format, scalars: Mapping[str, float], tensors: Mapping[str, Floats]
    ) -> None:
        self.graph, self.fmt, self.scalars, self.tensors = graph, fmt, scalars, tensors
        self.numbers: dict[Index, np.float64] = {}
        self.memo: dict[Index, Floats] = {}

    def number(self, i: Index) -> np.float64:
        """A scalar, in double precision."""
        if i not in self.numbers:
            self.numbers[i] = self._number(i)
        return self.numbers[i]

    def _number(self, i: Index) -> np.float64:
        number = self.number
        match self.graph.nodes[i]:
            case Hyper(name):
                return np.float64(self.scalars[name])
            case Const(value):
                return np.float64(value.numerator) / np.float64(value.denominator)
            case Sum(terms):
                total = np.float64(0)
                for sign, j in terms:
                    total = total + number(j) if sign > 0 else total - number(j)
                return total
            case Product(factors):
                return self._folded(factors)
            case Power(a, b):
                return np.float64(number(a) ** number(b))
            case Root(j):
                return np.float64(np.sqrt(number(j)))
            case Maximum(a, b):
                return np.float64(np.maximum(number(a), number(b)))
            case Absolute(j):
                return np.float64(abs(number(j)))
            case Sign(j):
                return np.float64(np.sign(number(j)))
            case node:
                raise TypeError(f"{type(node).__name__} is no scalar operation")

    def _folded(self, factors: Sequence[tuple[int, Index]]) -> np.float64:
        x = np.float64(1)
        for exponent, j in factors:
            x = x * self.number(j) if exponent > 0 else x / self.number(j)
        return x

    def tensor(self, i: Index) -> Floats:
        """A node as a tensor, every operation rounded; a scalar is cast when it meets one."""
        if i not in self.memo:
            if self.graph.scalar[i]:
                self.memo[i] = self.fmt.round(np.atleast_1d(self.number(i)))
            else:
                self.memo[i] = self._tensor(i)
        return self.memo[i]

    def _tensor(self, i: Index) -> Floats:
        scalar, tensor, rounded = self.graph.scalar, self.tensor, self.fmt.round
        match self.graph.nodes[i]:
            case Input(name):
                return self.tensors[name]
            case Let(_, forms):
                return tensor(forms[0])
            case Sum(terms):
                (sign, first), *rest = terms
                x = tensor(first) if sign > 0 else -tensor(first)
                for sign, j in rest:
                    x = rounded(x + tensor(j) if sign > 0 else x - tensor(j))
                return x
            case Product(factors):
                parts = [(e, tensor(j)) for e, j in factors if not scalar[j]]
                constants = [(e, j) for e, j in factors if scalar[j]]
                if constants:  # right after the first factor: lr * m_hat / denom
                    folded = rounded(np.atleast_1d(self._folded(constants)))
                    parts.insert(1 if parts[0][0] > 0 else 0, (1, folded))
                exponent, x = parts[0]
                if exponent < 0:
                    x = rounded(1.0 / x)
                for exponent, y in parts[1:]:
                    x = rounded(x * y if exponent > 0 else x / y)
                return x
            case Root(j):
                return rounded(np.sqrt(tensor(j)))
            case Maximum(a, b):
                return np.maximum(tensor(a), tensor(b))
            case Absolute(j):
                return np.abs(tensor(j))
            case Sign(j):
                return np.sign(tensor(j))
            case node:
                raise TypeError(f"{type(node).__name__} is no tensor operation")


@dataclass
class _Held:
    """A parameter and what is remembered for it."""

    tensors: dict[str, Floats]
    count: int = 0
    first: dict[str, float] = field(default_factory=dict)
    visible: list[str] = field(default_factory=list)


class Running:
    """A session of an :class:`Interpreted` optimizer."""

    def __init__(self, machine: Machine, scenario: Scenario) -> None:
        self.machine, self.fmt = machine, FORMATS[scenario.dtype]
        self.conditions = machine.conditions
        self.hypers: list[dict[str, Value]] = []
        self.first_lr: list[float] = []  # that each group was made with
        self.held: list[list[_Held]] = []
        for group in scenario.groups:
            self.add_group(group)

    def add_group(self, group: Group) -> None:
        self.hypers.append(dict(group.hyper))
        self.first_lr.append(float(group.hyper.get("lr", 0.0)))
        self.held.append([_Held({"p": initial(p, self.fmt)}) for p in group.params])

    def set_hyper(self, group: int, hyper: Mapping[str, Value]) -> None:
        self.hypers[group].update(hyper)

    def reload(self) -> None:
        """Nothing is lost."""

    def parameters(self) -> list[list[Floats]]:
        return [[h.tensors["p"] for h in group] for group in self.held]

    def state(self) -> list[list[Mapping[str, Floats]]]:
        return [[{n: h.tensors[n] for n in h.visible} for h in group] for group in self.held]

    def gradients(self) -> None:
        """Gradients are read and never written."""

    def step(self, gradients: Sequence[Sequence[Floats | None]]) -> None:
        with np.errstate(all="ignore"):
            groups = zip(self.hypers, self.first_lr, self.held, gradients, strict=True)
            for hyper, first_lr, group, grads in groups:
                now = {n: float(v) for n, v in hyper.items()}
                alike: dict[tuple[int, float], list[tuple[_Held, Floats]]] = {}
                for held, grad in zip(group, grads, strict=True):
                    if grad is None:
                        continue
                    held.count += 1
                    if held.count == 1:
                        held.first = now
                    key = (held.count, held.first.get("lr", 0.0))
                    alike.setdefault(key, []).append((held, grad))
                for members in alike.values():
                    self._step({**now, "lr0": first_lr}, members)

    def _step(self, now: Mapping[str, float], members: Sequence[tuple[_Held, Floats]]) -> None:
        machine, (first, _) = self.machine, members[0]
        scalars = {
            **now,
            **{FIRST + n: v for n, v in first.first.items()},
            "t": float(first.count),
        }
        truths = frozenset(c for c in self.conditions if expr.holds(c, scalars))
        outputs = machine.settled(truths)
        if first.count == 1:
            start = Step(machine.graph, self.fmt, scalars, {})
            for held, grad in members:
                for name in outputs:
                    if name != "p":
                        init = start.tensor(machine.inits[name])
                        held.tensors[name] = np.broadcast_to(init, grad.shape)
                held.visible = machine.visible(truths)
        joined = {n: np.concatenate([h.tensors[n] for h, _ in members]) for n in outputs}
        joined["grad"] = np.concatenate([grad for _, grad in members])
        step = Step(machine.graph, self.fmt, scalars, joined)
        shape = joined["p"].shape
        new = {n: np.broadcast_to(step.tensor(i), shape) for n, i in outputs.items()}
        left = 0
        for held, grad in members:
            span = slice(left, left := left + grad.size)
            held.tensors = {n: x[span] for n, x in new.items()}


@dataclass(frozen=True)
class Interpreted:
    """A machine as an implementation that can be judged."""

    machine: Machine
    name: str
    library: str = "optconform"
    version: str = __version__
    slow: bool = False

    @property
    def spec(self) -> str:
        return self.machine.spec.name

    @property
    def variant(self) -> Mapping[str, str]:
        return self.machine.variant

    def fixed(self, spec: Spec) -> dict[str, Value]:
        return {}

    def changeable(self, spec: Spec) -> Sequence[str]:
        return [h.name for h in spec.hypers.values() if not h.is_flag]

    def start(self, scenario: Scenario, spec: Spec) -> Running:
        return Running(self.machine, scenario)

    def repro(self, scenario: Scenario, spec: Spec) -> str:
        return f"# {self.name} exists only inside optconform\n"
