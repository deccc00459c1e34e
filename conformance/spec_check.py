"""Whether a spec can be run: every name is known where it is used, in the equations and in each
single deviation from them, and nothing that a value of an axis says goes unheard."""

import ast
import math
from collections.abc import Iterable, Iterator, Mapping

from . import expr
from .errors import SpecError
from .spec import Axis, Choice, Spec, State, equations_of, program, states_of


def check(spec: Spec) -> None:
    """Raise SpecError, with the place, for what would fail once a step is judged."""
    _check_parts(spec, f"spec {spec.name}", spec.states.values(), spec.equations)
    for axis in spec.axes.values():
        own = axis.choices[axis.default]
        if own.equations or own.states or own.needs:
            raise SpecError(
                f"spec {spec.name}, axis {axis.name}: the default {axis.default!r} replaces "
                "nothing; its equations, states and needs belong in [step] and [state]"
            )
        for value, choice in _choices(axis):
            where = f"spec {spec.name}, {axis.name}={value}"
            _check_parts(spec, where, choice.states.values(), choice.equations)
            for other, allowed in choice.needs.items():
                others = [a for a in spec.axes if a != axis.name]
                if other not in others:
                    raise SpecError(
                        f"{where}: needs names {other!r}, which is no other axis; "
                        f"the others are: {', '.join(others) or 'none'}"
                    )
                known = spec.axes[other].choices
                if unknown := [v for v in allowed if v not in known]:
                    raise SpecError(
                        f"{where}: needs {other} to be {unknown[0]!r}, which is no value of that "
                        f"axis; choose from {', '.join(known)}"
                    )
    for variant in _deviations(spec):
        _check_names(spec, variant)
        _check_shown(spec, variant)
        _check_programs(spec, variant)
    _check_depth(spec)
    for condition in spec.requires:
        if not expr.holds(condition, spec.defaults):
            raise SpecError(f"spec {spec.name}: its defaults are not what it requires, {condition}")


def _choices(axis: Axis) -> Iterator[tuple[str, Choice]]:
    yield from axis.choices.items()
    if axis.number is not None:
        yield "1", axis.number


def _deviations(spec: Spec) -> Iterator[dict[str, str]]:
    """The spec itself, and every value of every axis with what it needs."""
    yield {}
    for axis in spec.axes.values():
        for value, choice in _choices(axis):
            if value != axis.default:
                yield {axis.name: value, **{k: v[0] for k, v in choice.needs.items()}}


def _check_parts(
    spec: Spec, where: str, states: Iterable[State], equations: Mapping[str, tuple[str, ...]]
) -> None:
    """Names, initial values and conditions, which are settled before any tensor is there."""
    states = list(states)
    for name in (*(s.name for s in states), *equations):
        if name in spec.hypers:
            raise SpecError(f"{where}: {name} is a hyperparameter, and nothing else")
    for s in states:
        at = f"{where}, state {s.name}"
        if s.init not in spec.hypers and not _is_finite(s.init):
            raise SpecError(f"{at}: init {s.init!r} is neither a number nor a hyperparameter")
        if s.when is not None:
            _check_condition(s.when, spec.hypers, f"{at}: when")
    for name, forms in equations.items():
        at = f"{where}, equation {name}"
        for form in forms:
            for condition in expr.conditions(expr.parse(form, where=at)):
                _check_condition(condition, {*spec.hypers, "t", "lr0"}, f"{at}: the condition")


def _is_finite(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _check_condition(text: str, known: Iterable[str], where: str) -> None:
    tree = ast.parse(text, mode="eval").body
    if unknown := expr.names(tree) - set(known):
        raise SpecError(f"{where} {text!r} uses {min(unknown)!r}, which is not a hyperparameter")
    if any(isinstance(n, ast.BinOp | ast.IfExp | ast.Call) for n in ast.walk(tree)):
        raise SpecError(f"{where} {text!r} is not a condition over hyperparameters")


def _check_names(spec: Spec, variant: Mapping[str, str]) -> None:
    """Each name is computed before it is used, and each state at all."""
    states = states_of(spec, variant)
    known = {*spec.hypers, "t", "lr0", "p", "grad", *states}
    equations = equations_of(spec, variant)
    for name, forms in equations.items():
        where = f"spec {spec.name}, equation {name}"
        used = set().union(*(expr.names(expr.parse(f, where=where)) for f in forms))
        for missing in sorted(used - known):
            if missing in equations:
                raise SpecError(f"{where}: {_too_early(name, missing, equations, known)}")
            raise SpecError(f"{where}: unknown name {missing!r}")
        known.add(name)
    if idle := sorted(set(states) - set(equations)):
        at = ", ".join(f"{a}={v}" for a, v in variant.items())
        raise SpecError(f"spec {spec.name}, {at}: the state {idle[0]} is never assigned")


def _check_shown(spec: Spec, variant: Mapping[str, str]) -> None:
    """Two states of one torch_name would be read from one tensor."""
    found: dict[str, str] = {}
    for state in states_of(spec, variant).values():
        if (other := found.setdefault(state.torch_name, state.name)) != state.name:
            raise SpecError(
                f"spec {spec.name}: the states {other} and {state.name} are both called "
                f"{state.torch_name} by torch_name"
            )


def _check_programs(spec: Spec, variant: Mapping[str, str]) -> None:
    """Steps with the defaults; and with every state there and with none, so that the graph is
    complete: no bound depends on what was built before."""
    settings = [spec.defaults]
    for flag in (False, True):
        settings.append(
            {
                h.name: flag if h.domain is None else 0.5 if 0.5 in h.domain else h.default
                for h in spec.hypers.values()
            }
        )
    for hypers in settings:
        program(spec, variant, hypers, 1)
        program(spec, variant, hypers, 2)


def _check_depth(spec: Spec) -> None:
    depth: list[int] = []
    for node in spec.graph.nodes:  # children come first
        depth.append(1 + max((depth[i] for i in expr.children(node)), default=0))
    if max(depth) > expr.DEEPEST:
        raise SpecError(
            f"spec {spec.name}: the equations put into each other are {max(depth)} levels deep; "
            f"at most {expr.DEEPEST} are possible"
        )


def _too_early(
    name: str, missing: str, equations: Mapping[str, tuple[str, ...]], known: set[str]
) -> str:
    """What is wrong with an equation that uses what is not yet computed."""
    if missing == name:
        return f"it uses its own result {name!r}, a cycle; only p and a state have an old value"
    if cycle := _cycle(name, equations, known):
        return f"it is part of a cycle, {cycle}, in which each needs the next to be computed before"
    return f"it uses {missing!r} before that is computed, in an equation below"


def _cycle(start: str, equations: Mapping[str, tuple[str, ...]], known: set[str]) -> str:
    """``a -> b -> a`` when ``start`` depends on itself through equations not yet computed."""
    stack: list[tuple[str, tuple[str, ...]]] = [(start, (start,))]
    while stack:
        name, path = stack.pop()
        for form in equations[name]:
            for used in sorted(expr.names(ast.parse(form.strip(), mode="eval"))):
                if used == start:
                    return " -> ".join((*path, start))
                if used in equations and used not in known and used not in path:
                    stack.append((used, (*path, used)))
    return ""
