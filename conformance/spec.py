"""Specs: what an algorithm is.  A *program* is a spec with its variant chosen and its conditions
settled, ready for the oracle.

:mod:`optconform.spec_file` reads them; docs/write-a-spec.md describes the format.
"""

import ast
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from . import expr
from .errors import RequestError, SpecError
from .expr import Graph, Index

Value = float | bool
Hypers = Mapping[str, Value]
Variant = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Domain:
    """An interval of admissible values."""

    low: float
    high: float
    low_closed: bool
    high_closed: bool

    def __contains__(self, x: float) -> bool:
        above = x >= self.low if self.low_closed else x > self.low
        below = x <= self.high if self.high_closed else x < self.high
        return above and below

    def __str__(self) -> str:
        left, right = "(["[self.low_closed], ")]"[self.high_closed]
        return f"{left}{self.low:g}, {self.high:g}{right}"


@dataclass(frozen=True, slots=True)
class HyperSpec:
    """A hyperparameter: its default and its domain (``None`` for a flag)."""

    name: str
    default: Value
    domain: Domain | None
    symbol: str

    @property
    def is_flag(self) -> bool:
        return self.domain is None


@dataclass(frozen=True, slots=True)
class State:
    """A state tensor, element by element as large as the parameter.

    ``init`` is a number or the name of a hyperparameter.  ``nonneg`` says that every faithful
    computation keeps it at zero or above.  ``when`` tells whether it exists.
    """

    name: str
    init: str
    torch_name: str
    symbol: str
    nonneg: bool
    when: str | None


@dataclass(frozen=True, slots=True)
class Choice:
    """One value of a variant axis: what it does, and the equations and states it replaces."""

    effect: str
    links: tuple[str, ...]
    equations: Mapping[str, tuple[str, ...]]
    states: Mapping[str, State]
    needs: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Axis:
    name: str
    default: str
    choices: Mapping[str, Choice]
    number: Choice | None = None  # a template whose `value` is any number


@dataclass(frozen=True, slots=True, eq=False)
class Spec:
    """An algorithm: hyperparameters, state, ordered equations and variant axes.

    Equal to itself alone, as a key of what is computed from it once.
    """

    name: str
    title: str
    cite: str
    notes: tuple[str, ...]
    hypers: Mapping[str, HyperSpec]
    states: Mapping[str, State]
    equations: Mapping[str, tuple[str, ...]]
    symbols: Mapping[str, str]
    requires: tuple[str, ...]  # conditions that hold for every admissible setting
    axes: Mapping[str, Axis]
    graph: Graph = field(default_factory=Graph, repr=False)

    @property
    def defaults(self) -> dict[str, Value]:
        return {h.name: h.default for h in self.hypers.values()}

    def choice(self, axis: str, value: str) -> Choice:
        """The choice ``value`` on ``axis``; SpecError with the possible ones otherwise."""
        if axis not in self.axes:
            known = ", ".join(self.axes) or "none"
            raise SpecError(f"spec {self.name} has no axis {axis!r}; its axes are: {known}")
        a = self.axes[axis]
        if value in a.choices:
            return a.choices[value]
        if a.number is not None and _is_number(value):
            if float(value) < 0 and any(s.nonneg for s in a.number.states.values()):
                raise SpecError(f"{axis}={value} of spec {self.name}: it never turns negative")
            return _numbered(a.number, value)
        raise SpecError(
            f"axis {axis} of spec {self.name} has no value {value!r}; "
            f"choose from {', '.join(a.choices)}" + (" or a number" if a.number else "")
        )

    def variant(self, wanted: Variant) -> dict[str, str]:
        """``wanted`` checked and reduced to its differences from the default, in axis order."""
        for axis, value in wanted.items():
            self.choice(axis, value)
        chosen = {a: wanted.get(a, self.axes[a].default) for a in self.axes}
        for axis, value in chosen.items():
            if value == self.axes[axis].default:
                continue
            for other, allowed in self.choice(axis, value).needs.items():
                if chosen[other] not in allowed:
                    raise SpecError(
                        f"{axis}={value} of spec {self.name} needs {other} to be "
                        f"{' or '.join(allowed)}, not {chosen[other]}"
                    )
        return {a: v for a, v in chosen.items() if v != self.axes[a].default}

    def check_hypers(self, hypers: Hypers) -> None:
        """Raise RequestError for an unknown name or a value outside its domain."""
        for name, value in hypers.items():
            if name not in self.hypers:
                raise RequestError(
                    f"spec {self.name} has no hyperparameter {name!r}; "
                    f"it has {', '.join(self.hypers)}"
                )
            domain = self.hypers[name].domain
            if domain is None:
                if not isinstance(value, bool):
                    raise RequestError(
                        f"{name} of spec {self.name} is True or False, not {value!r}"
                    )
            elif isinstance(value, bool) or not isinstance(value, int | float):
                raise RequestError(f"{name} of spec {self.name} is a number, not {value!r}")
            elif value not in domain:
                raise RequestError(f"{name} = {value!r} is outside its domain {domain}")

    def admissible(self, hypers: Hypers) -> bool:
        """Whether the settings, all given, satisfy what the spec requires of them together."""
        return all(expr.holds(condition, hypers) for condition in self.requires)


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """A spec with its variant chosen and its conditions settled: a straight line of equations.

    ``outputs`` maps ``p`` and each state to its node in ``graph``, in the order of the equations;
    ``lets`` every equation.
    """

    spec: Spec
    variant: tuple[tuple[str, str], ...]
    graph: Graph = field(repr=False)
    states: tuple[State, ...]
    lets: Mapping[str, Index]
    outputs: Mapping[str, Index]


def equations_of(spec: Spec, variant: Variant) -> dict[str, tuple[str, ...]]:
    """The ordered equations with the variant's replacements in place."""
    equations = dict(spec.equations)
    for axis, value in spec.variant(variant).items():
        equations = inserted(equations, spec.choice(axis, value).equations)
    return equations


def states_of(spec: Spec, variant: Variant) -> dict[str, State]:
    """The states with the variant's replacements in place, those that may not exist included."""
    states = dict(spec.states)
    for axis, value in spec.variant(variant).items():
        states.update(spec.choice(axis, value).states)
    return states


@functools.cache
def _trees(
    spec: Spec, variant: tuple[tuple[str, str], ...]
) -> tuple[dict[str, list[ast.expr]], list[str]]:
    """The parsed equations of a variant and the conditions that occur in it."""
    trees = {
        name: [expr.parse(f, where=f"spec {spec.name}, equation {name}") for f in forms]
        for name, forms in equations_of(spec, dict(variant)).items()
    }
    found = [c for forms in trees.values() for tree in forms for c in expr.conditions(tree)]
    found += [s.when for s in states_of(spec, dict(variant)).values() if s.when]
    return trees, list(dict.fromkeys(found))


@functools.cache
def all_conditions(spec: Spec) -> tuple[str, ...]:
    """Every condition that occurs in the spec or in one of its variants.

    Steps in which the same ones hold run the same program, whatever the variant.
    """
    found = dict.fromkeys(_trees(spec, ())[1])
    for axis in spec.axes.values():
        for choice in axis.choices.values():
            for name, forms in choice.equations.items():
                for f in forms:
                    tree = expr.parse(f, where=f"spec {spec.name}, equation {name}")
                    found |= dict.fromkeys(expr.conditions(tree))
            found |= dict.fromkeys(s.when for s in choice.states.values() if s.when)
    return tuple(found)


def initial_state(text: str, scalars: Mapping[str, float]) -> float:
    """An initial value: a number or the name of a hyperparameter."""
    try:
        return float(text)
    except ValueError:
        return float(scalars[text])


def program(spec: Spec, variant: Variant, hypers: Hypers, t: int) -> Program:
    """The straight-line program that step ``t`` (from 1) with these hyperparameters runs.

    ``lr0``, the first lr, may be among them; without it the lr has never changed.
    """
    key = _key(spec, tuple(variant.items()))
    values = {"lr0": hypers.get("lr", 0.0), **hypers, "t": t}
    truths = frozenset(c for c in _trees(spec, key)[1] if expr.holds(c, values))
    return _program(spec, key, truths)


@functools.lru_cache(maxsize=8192)
def _key(spec: Spec, variant: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(spec.variant(dict(variant)).items()))


@functools.cache
def _program(spec: Spec, variant: tuple[tuple[str, str], ...], truths: frozenset[str]) -> Program:
    graph = spec.graph
    env = {name: graph.add(expr.Hyper(name)) for name in (*spec.hypers, "t", "lr0")}
    env |= {name: graph.add(expr.Input(name)) for name in ("p", "grad")}
    states = [
        s for s in states_of(spec, dict(variant)).values() if s.when is None or s.when in truths
    ]
    env |= {s.name: graph.add(expr.Input(s.name)) for s in states}
    absent = set(states_of(spec, dict(variant))) - {s.name for s in states}
    lets: dict[str, Index] = {}
    for name, trees in _trees(spec, variant)[0].items():
        if name in absent:
            continue
        forms: list[Index] = []
        for tree in trees:
            where = f"spec {spec.name}, equation {name}"
            forms += expr.build(tree, graph, env, truths.__contains__, where=where)
        lets[name] = graph.add(expr.Let(name, tuple(dict.fromkeys(forms))))
        # a scalar is inlined, so that a product with it stays one flat product of all its factors
        env[name] = forms[0] if graph.scalar[forms[0]] else lets[name]
    kept = {"p", *(s.name for s in states)}
    outputs = {name: i for name, i in lets.items() if name in kept}
    return Program(spec, variant, graph, tuple(states), lets, outputs)


def inserted(
    equations: Mapping[str, tuple[str, ...]], new: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """``equations`` with those of ``new`` in place; a name that is new goes right before the next
    one of ``new`` that is not."""
    ordered: dict[str, tuple[str, ...]] = {}
    anchors: dict[str, list[tuple[str, tuple[str, ...]]]] = {}
    pending: list[tuple[str, tuple[str, ...]]] = []
    for name, forms in new.items():
        pending.append((name, forms))
        if name in equations:
            anchors[name], pending = pending, []
    for name, forms in equations.items():
        for added, added_forms in anchors.get(name, [(name, forms)]):
            ordered[added] = added_forms
    ordered.update(pending)
    return ordered


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _numbered(template: Choice, value: str) -> Choice:
    states = {n: replace(s, init=repr(float(value))) for n, s in template.states.items()}
    return replace(template, states=states, effect=template.effect.replace("{value}", value))
