"""Scenarios: what is done to an optimizer, as plain data.

A scenario is parameter groups and a list of events.  Tensors are recipes (a kind and a seed) or
explicit values, so a scenario is small, prints well, and draws the same numbers everywhere.
JSON in and out is exact.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import RequestError
from .formats import FORMATS, Format
from .spec import Value

Floats = NDArray[np.float64]

INIT_KINDS = ("zeros", "mostly-zero", "normal", "wide", "ones")
GRAD_KINDS = (
    "normal", "mixture", "spike", "late", "flip", "constant", "zeros", "subnormal", "huge",
)  # fmt: skip
LAYOUTS = ("contiguous", "transposed", "strided", "grad-strided")


@dataclass(frozen=True, slots=True)
class Recipe:
    """A tensor, or for gradients one tensor a step: a kind and a seed, or the values themselves.

    ``values`` of an initial tensor is flat; of a gradient it is one flat tuple a step.
    """

    kind: str
    seed: int = 0
    values: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter: shape, memory layout, initial value and its gradients."""

    shape: tuple[int, ...]
    init: Recipe
    grad: Recipe
    layout: str = "contiguous"

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Group:
    hyper: Mapping[str, Value]
    params: tuple[Param, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One optimizer step.  ``skipped`` lists (group, param) whose gradient is None."""

    skipped: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class SetHyper:
    """Change hyperparameters of a group between steps."""

    group: int
    hyper: Mapping[str, Value]


@dataclass(frozen=True, slots=True)
class AddGroup:
    """A parameter group joins in mid-training."""

    group: Group


@dataclass(frozen=True, slots=True)
class Reload:
    """Save the optimizer's state, build a new optimizer and load it."""


Event = Step | SetHyper | AddGroup | Reload


@dataclass(frozen=True, slots=True)
class Scenario:
    spec: str
    dtype: str
    groups: tuple[Group, ...]
    events: tuple[Event, ...]

    @property
    def steps(self) -> int:
        return sum(isinstance(e, Step) for e in self.events)

    @property
    def all_groups(self) -> tuple[Group, ...]:
        """The groups, those that join later included, in the order of their index."""
        return self.groups + tuple(e.group for e in self.events if isinstance(e, AddGroup))


# ---- tensors ---------------------------------------------------------------------------------


def initial(param: Param, fmt: Format) -> Floats:
    """The parameter's initial value, flat, representable in ``fmt``."""
    recipe, n = param.init, param.size
    if recipe.kind == "values":
        return fmt.round(np.array([float(x) for x in recipe.values]))
    rng = np.random.default_rng((recipe.seed, 1))
    z = rng.standard_normal(n)
    match recipe.kind:
        case "zeros":
            x = np.zeros(n)
        case "ones":
            x = np.ones(n)
        case "normal":
            x = z
        case "wide":
            x = z * 10.0 ** rng.uniform(*_decades(fmt, wide=True), n)
        case "mostly-zero":
            x = np.where(rng.random(n) < 0.7, 0.0, z * 10.0 ** rng.uniform(-3, 3, n))
        case kind:
            raise RequestError(f"unknown kind of initial value {kind!r}")
    return fmt.round(x)


def gradient(param: Param, step: int, fmt: Format) -> Floats:
    """The parameter's gradient at step event ``step`` (from 0), flat, representable in ``fmt``."""
    recipe, n = param.grad, param.size
    if recipe.kind == "values":
        row = recipe.values[min(step, len(recipe.values) - 1)]
        return fmt.round(np.array([float(x) for x in row]))
    fixed = np.random.default_rng((recipe.seed, 2))  # the same for every step
    fresh = np.random.default_rng((recipe.seed, 3, step))
    size = 10.0 ** fixed.uniform(*_decades(fmt), n)
    base = fixed.standard_normal(n)
    role = fixed.integers(0, 8, n)
    z = fresh.standard_normal(n)
    sign = (-1.0) ** step
    match recipe.kind:
        case "normal":
            x = z
        case "zeros":
            x = np.zeros(n)
        case "constant":
            x = base
        case "flip":
            x = size * base * sign
        case "spike":
            x = size * base if step == 0 else np.zeros(n)
        case "late":
            x = np.zeros(n) if step < 2 else size * z
        case "subnormal":
            x = z * fmt.tiny * fresh.random(n)
        case "huge":
            x = z * math.sqrt(fmt.largest) * 10.0 ** fresh.uniform(-3, 1, n)
        case "mixture":
            x = np.select(
                [role == 0, role == 1, role == 2, role == 3, role == 4, role == 5],
                [
                    size * base * (step == 0),  # spike, then zeros
                    size * base * sign,  # sign flips
                    size * base,  # constant
                    size * base * (step >= 2),  # zeros, then constant
                    size * z * (fresh.random(n) < 0.5),  # sparse
                    z,
                ],
                size * z,
            )
        case kind:
            raise RequestError(f"unknown kind of gradient {kind!r}")
    return fmt.round(x)


def _decades(fmt: Format, *, wide: bool = False) -> tuple[float, float]:
    """The powers of ten that magnitudes range over; float16 has few."""
    if fmt.name == "float16":
        return (-3.0, 3.0) if wide else (-6.0, 1.5)
    return (-6.0, 6.0) if wide else (-14.0, 4.0)


# ---- JSON ------------------------------------------------------------------------------------


def to_json(scenario: Scenario) -> dict[str, Any]:
    """Plain data; ``from_json`` gives the same scenario back."""
    return {
        "spec": scenario.spec,
        "dtype": scenario.dtype,
        "groups": [_group_to_json(g) for g in scenario.groups],
        "events": [_event_to_json(e) for e in scenario.events],
    }


def _group_to_json(group: Group) -> dict[str, Any]:
    return {
        "hyper": dict(group.hyper),
        "params": [
            {
                "shape": list(p.shape), "layout": p.layout,
                "init": _recipe_to_json(p.init), "grad": _recipe_to_json(p.grad),
            }
            for p in group.params
        ],
    }  # fmt: skip


def _recipe_to_json(recipe: Recipe) -> dict[str, Any]:
    if recipe.kind == "values":
        return {"values": _plain(recipe.values)}
    return {"kind": recipe.kind, "seed": recipe.seed}


def _plain(x: Any) -> Any:
    if isinstance(x, tuple):
        return [_plain(y) for y in x]
    return x if not isinstance(x, float) or math.isfinite(x) else str(x)


def _event_to_json(event: Event) -> dict[str, Any]:
    match event:
        case Step(skipped):
            return {"op": "step", "skipped": [list(s) for s in skipped]}
        case SetHyper(group, hyper):
            return {"op": "set", "group": group, "hyper": dict(hyper)}
        case AddGroup(group):
            return {"op": "add_group", "group": _group_to_json(group)}
        case Reload():
            return {"op": "reload"}


def from_json(data: Any) -> Scenario:
    """Read a scenario; RequestError when the data is not one."""
    try:
        if data["dtype"] not in FORMATS:
            raise ValueError(f"unknown dtype {data['dtype']!r}")
        groups = tuple(_group_from_json(g) for g in data["groups"])
        events = tuple(_event_from_json(e) for e in data["events"])
        return Scenario(str(data["spec"]), data["dtype"], groups, events)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as e:
        raise RequestError(f"not a scenario: {type(e).__name__}: {e}") from None


def _group_from_json(data: Any) -> Group:
    params = []
    for p in data["params"]:
        shape = tuple(int(n) for n in p["shape"])
        if p["layout"] not in LAYOUTS or any(n < 0 for n in shape) or math.prod(shape) > 10**8:
            raise ValueError("bad parameter")
        init, grad = _recipe(p["init"], INIT_KINDS), _recipe(p["grad"], GRAD_KINDS)
        made = Param(shape, init, grad, p["layout"])
        if not fits(made):
            raise ValueError("values that do not fit the shape")
        params.append(made)
    return Group(_hyper(data["hyper"]), tuple(params))


def _hyper(data: Any) -> dict[str, Value]:
    return {str(k): v if isinstance(v, bool) else float(v) for k, v in data.items()}


def _recipe(data: Any, kinds: tuple[str, ...]) -> Recipe:
    if "values" in data:
        return Recipe("values", 0, _tuples(data["values"]))
    kind, seed = data["kind"], int(data["seed"])
    if kind not in kinds or seed < 0:
        raise ValueError(f"no recipe {kind!r} with the seed {seed}")
    return Recipe(kind, seed)


def fits(p: Param) -> bool:
    """Whether what is written out has as many numbers as the parameter."""
    rows = [*p.grad.values, *([p.init.values] if p.init.kind == "values" else [])]
    flat = all(isinstance(r, tuple) and {type(v) for v in r} <= {float} for r in rows)
    return flat and all(len(r) == p.size for r in rows)


def _tuples(x: Any) -> tuple[Any, ...]:
    return tuple(_tuples(y) if isinstance(y, list) else float(y) for y in x)


def _event_from_json(data: Any) -> Event:
    match data["op"]:
        case "step":
            return Step(tuple((int(g), int(p)) for g, p in data["skipped"]))
        case "set":
            return SetHyper(int(data["group"]), _hyper(data["hyper"]))
        case "add_group":
            return AddGroup(_group_from_json(data["group"]))
        case "reload":
            return Reload()
    raise ValueError(f"unknown event {data['op']!r}")


def dumps(scenario: Scenario) -> str:
    return json.dumps(to_json(scenario), sort_keys=True, allow_nan=False)


# ---- edits -----------------------------------------------------------------------------------


def with_values(scenario: Scenario) -> Scenario:
    """The same scenario with every recipe written out as values."""
    fmt, steps = FORMATS[scenario.dtype], scenario.steps

    def explicit(p: Param) -> Param:
        if p.size == 0:
            return p
        init = _floats(initial(p, fmt))
        grads = tuple(_floats(gradient(p, k, fmt)) for k in range(max(steps, 1)))
        return replace(p, init=Recipe("values", 0, init), grad=Recipe("values", 0, grads))

    return map_params(scenario, explicit)


def map_params(scenario: Scenario, change: Any) -> Scenario:
    """A scenario with ``change`` applied to every parameter."""

    def mapped(g: Group) -> Group:
        return replace(g, params=tuple(change(p) for p in g.params))

    return replace(
        scenario,
        groups=tuple(mapped(g) for g in scenario.groups),
        events=tuple(
            AddGroup(mapped(e.group)) if isinstance(e, AddGroup) else e for e in scenario.events
        ),
    )


def isolated(scenario: Scenario, group: int, param: int, index: int | None = None) -> Scenario:
    """The scenario reduced to one parameter, or to one element of it, its values written out."""
    events: list[Event] = []
    seen = len(scenario.groups) - 1
    late = group > seen
    kept: list[int] = []
    step = -1
    for e in scenario.events:
        match e:
            case Step(skipped):
                step += 1
                if (late and seen < group) or (group, param) in skipped:
                    continue
                kept.append(step)
                events.append(Step())
            case SetHyper(g, h):
                if g == group:
                    events.append(SetHyper(0, h))
            case AddGroup():
                seen += 1
            case Reload():
                events.append(e)
    fmt = FORMATS[scenario.dtype]
    p = scenario.all_groups[group].params[param]
    if not p.size:
        index = None  # no element to keep of an empty tensor
    pick = slice(None) if index is None else slice(index, index + 1)
    init = _floats(initial(p, fmt)[pick])
    grads = tuple(_floats(gradient(p, k, fmt)[pick]) for k in kept)
    alone = replace(p, init=Recipe("values", 0, init), grad=Recipe("values", 0, grads))
    if index is not None:
        alone = replace(alone, shape=(1,), layout="contiguous")
    hyper = dict(scenario.all_groups[group].hyper)
    return Scenario(scenario.spec, scenario.dtype, (Group(hyper, (alone,)),), tuple(events))


def _floats(x: Floats) -> tuple[float, ...]:
    return tuple(float(v) for v in x)


def with_company(scenario: Scenario) -> Scenario:
    """The scenario with one more parameter, of one element, ahead of those of the first group."""
    first = scenario.groups[0]
    company = Param((1,), Recipe("ones"), Recipe("normal"))
    groups = (replace(first, params=(company, *first.params)), *scenario.groups[1:])
    events = tuple(
        Step(tuple((g, k + (g == 0)) for g, k in e.skipped)) if isinstance(e, Step) else e
        for e in scenario.events
    )
    return replace(scenario, groups=groups, events=events)


def joined_at_start(scenario: Scenario) -> Scenario:
    """The scenario with every group there from the beginning."""
    events = tuple(e for e in scenario.events if not isinstance(e, AddGroup))
    return replace(scenario, groups=scenario.all_groups, events=events)


def trimmed(scenario: Scenario) -> Scenario:
    """The scenario without explicit gradients of steps that it does not take."""
    count = max(scenario.steps, 1)

    def cut(p: Param) -> Param:
        if len(p.grad.values) <= count:
            return p
        return replace(p, grad=replace(p.grad, values=p.grad.values[:count]))

    return map_params(scenario, cut)


def first_steps(scenario: Scenario, count: int) -> Scenario:
    """The scenario up to and including its ``count``-th step."""
    events: list[Event] = []
    for e in scenario.events:
        if isinstance(e, Step):
            if count == 0:
                break
            count -= 1
        events.append(e)
    while events and not isinstance(events[-1], Step):
        events.pop()
    return replace(scenario, events=tuple(events))
