"""Settings under which every difference between two sides matters.

Defaults hide most differences: without momentum, SGD's L2 and decoupled decay are one formula.
"""

import ast
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .. import expr
from ..interpreter import machine
from ..spec import HyperSpec, Value, equations_of
from .march import march
from .pair import Pair, Side, lines, single_deviations

HALVINGS = (5, 50, 500)
"""The steps after which lr is halved, where the sides differ only while lr changes."""

AWAKE: Mapping[str, float] = {
    "weight_decay": 0.01,
    "momentum": 0.9,
    "dampening": 0.5,
    "lr_decay": 0.01,
    "initial_accumulator_value": 0.1,
}
"""What a hyperparameter becomes that its default leaves without effect; 0.5 if not listed."""

MOST_MOVES = 3


@dataclass(frozen=True, slots=True)
class Setting:
    """Hyperparameters for both sides, and the steps after which lr is halved."""

    hypers: Mapping[str, Value]
    halvings: tuple[int, ...] = ()


def lively(p: Pair, *, fixed: Mapping[str, Value]) -> Setting | None:
    """The setting nearest to the defaults in which each axis that differs has an effect, or as many
    as possible; None where the sides are the same in all that was tried.

    ``fixed`` keeps hyperparameters at a value.
    """
    base = {**p.both.defaults, **fixed}
    moves = [{n: v} for n, v in _moves(p, fixed).items()]
    pairs = single_deviations(p)
    best: tuple[int, Setting] | None = None
    for halvings in ((), HALVINGS) if "lr" in p.both.hypers else ((),):
        for count in range(MOST_MOVES + 1):
            for some in itertools.combinations(moves, count):
                hypers = dict(base)
                for move in some:
                    hypers |= move
                if not p.admissible(hypers):
                    continue
                setting = Setting(hypers, halvings)
                score = sum(_differ(a, b, setting) for a, b in pairs)
                if score > (best[0] if best else 0):
                    best = (score, setting)
                if score == len(pairs):
                    return setting
    return best[1] if best else None


def _moves(p: Pair, fixed: Mapping[str, Value]) -> dict[str, Value]:
    """What may be moved away from a default that leaves it without effect."""
    found: dict[str, Value] = {}
    for name, hyper in p.both.hypers.items():
        if name in fixed or name == "lr":
            continue
        if hyper.domain is None:
            found[name] = True
        elif hyper.default == 0:
            theirs = [s.spec.defaults.get(name) for s in p.sides]
            awake = next((x for x in theirs if x), AWAKE.get(name, 0.5))
            if awake in hyper.domain:
                found[name] = awake
    return found


def _differ(a: Side, b: Side, setting: Setting) -> bool:
    """Whether parameters of two sides part in a few steps, beyond all doubt of our rounding."""
    rng = np.random.default_rng(1)
    steps, width = 6, 8  # lr is halved after the fifth
    start = rng.standard_normal(width)
    gradients = rng.standard_normal((steps, width)) * np.where(np.arange(width) % 2, 1.0, 1e-2)
    x, y = (
        march(
            machine(s.spec, s.variant), [s.own(setting.hypers)], start,
            lambda t: gradients[t - 1], at=(2, steps), halvings=setting.halvings,
        )
        for s in (a, b)
    )  # fmt: skip
    with np.errstate(all="ignore"):
        return bool((np.abs(x - y) > 1e-12 * (np.abs(x - start) + np.abs(y - start))).any())


# ---- what to turn ----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Knob:
    """A hyperparameter that the differing equations read: a few values of it, and a grid."""

    name: str
    few: tuple[float, ...]
    grid: tuple[float, ...]


def _half_decades(low: int, high: int) -> tuple[float, ...]:
    """1e-4, 3e-4, 1e-3, …: numbers that print short."""
    ones = [float(f"{m}e{e}") for e in range(low, high) for m in (1, 3)]
    return (*ones, float(f"1e{high}"))


KNOBS = {
    "weight_decay": Knob("weight_decay", (1e-3, 1e-2, 1e-1), _half_decades(-4, 0)),
    "eps": Knob("eps", (1e-8, 1e-5, 1e-2), tuple(float(f"1e{e}") for e in range(-9, 0))),
}


def knob(p: Pair, setting: Setting, *, fixed: Mapping[str, Value]) -> Knob | None:
    """What to turn beside lr: weight_decay or eps where differing equations read them, else the
    first number that they read, or that had to be moved from its default."""
    read = _read_by_differing(p)
    moved = [n for n, v in setting.hypers.items() if v != p.both.defaults[n]]
    order = [n for n in KNOBS if n in read]
    for name in (*order, *(n for n in p.both.hypers if n in read), *moved):
        hyper = p.both.hypers[name]
        if hyper.domain is None or name in ("lr", *fixed):
            continue
        found = KNOBS.get(name) or _unit_knob(hyper)
        values = [v for v in found.few if v in hyper.domain]
        if len(values) == len(found.few):
            return found
    return None


def _unit_knob(hyper: HyperSpec) -> Knob:
    return Knob(hyper.name, (0.5, 0.9, 0.99), (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99, 0.999))


def _read_by_differing(p: Pair) -> set[str]:
    """The hyperparameters in the equations and starts that differ, through equations that hold
    nothing but hyperparameters."""
    differing = [line.name for line in lines(p) if line.differs]
    read: set[str] = set()
    for s in p.sides:
        texts = equations_of(s.spec, s.variant)
        stack = [n for n in differing if n in texts]
        seen: set[str] = set()
        while stack:
            name = stack.pop()
            seen.add(name)
            used = _names(texts[name])
            read |= used & set(p.both.hypers)
            stack += [n for n in used if n in texts and n not in seen and _scalar(texts, n)]
    return read


def _names(forms: Sequence[str]) -> set[str]:
    return set().union(*(expr.names(ast.parse(f.strip(), mode="eval")) for f in forms))


def _scalar(texts: Mapping[str, Sequence[str]], name: str) -> bool:
    return not _names(texts[name]) & ({"p", "grad"} | set(texts))
