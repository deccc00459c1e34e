"""Scenarios: what is done to an optimizer, as plain data.

A scenario is parameter groups and a list of events.  Tensors are recipes (a kind and a seed) or
explicit values, so a scenario is small, prints well, and draws the same numbers everywhere.
JSON in and out is exact.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import RequestError
from .formats import FORMATS, Format
from .spec import Value

Floats = NDArray[np.float64]

INIT_KINDS = ("zeros", "mostly-zero", "normal", "wide", "ones", "tiled")
GRAD_KINDS = (
    "normal", "mixture", "spike", "late", "flip", "constant", "zeros", "subnormal", "huge", "tiled",
)  # fmt: skip
TILE = 11  # numbers in what is tiled: they repeat, so that a large tensor is written in one line
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
        case "tiled":
            x = np.resize(np.random.default_rng((recipe.seed, 1)).standard_normal(TILE), n)
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
        case "tiled":
            fresh = np.random.default_rng((recipe.seed, 3, step))
            x = np.resize(fresh.standard_normal(TILE), n)
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


def as_source(values: Sequence[float]) -> str:
    """The numbers as a list in Python, in which those that are tiled are written once."""
    once = values[:TILE]
    signed = [(x, math.copysign(1.0, x)) for x in values]  # -0.0 is another number
    tiled = len(values) > 2 * TILE and all(x == signed[k % TILE] for k, x in enumerate(signed))
    text = ", ".join(
        repr(v) if v - v == 0 else f"float({str(v)!r})" for v in (once if tiled else values)
    )
    if not tiled:
        return f"[{text}]"
    return f"([{text}] * {-(-len(values) // TILE)})[:{len(values)}]"


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
