"""Scenarios made to tell the hypotheses of an identification apart: plain numbers, large effects.

What a random scenario may hide, each of these shows: eps as large as the root that it is added to,
lr * weight_decay near 0.1, lr and weight_decay changed in mid-run, gradients that are zero and then
are not, decay where there is no gradient, a spike that fades.  Tensors are contiguous, all numbers
are of ordinary size, nothing is divided by zero: a subject that fails in special circumstances
follows its equations here.
"""

import itertools
from collections.abc import Collection, Iterator, Mapping

import numpy as np

from . import expr
from .scenario import Event, Group, Param, Recipe, Scenario, SetHyper, Step
from .spec import Spec, Value, all_conditions
from .strategies import steady
from .without import without

BOLD: Mapping[str, float] = {
    "lr": 0.125,
    "eps": 0.25,
    "weight_decay": 0.75,
    "momentum": 0.75,
    "dampening": 0.25,
    "lr_decay": 0.5,
    "initial_accumulator_value": 0.25,
    "beta1": 0.75,
    "beta2": 0.875,
    "alpha": 0.875,
    "rho": 0.75,
}
"""Settings under which every term of an equation counts; exact in every dtype."""

SUBTLE: Mapping[str, float] = {"lr": 0.01, "eps": 0.01, "weight_decay": 10.0, "beta2": 0.99}
"""Instead of some of them, as people set them."""

STEPS = 6
SIZE = 12


def probes(
    spec: Spec,
    *,
    dtype: str = "float32",
    fixed: Mapping[str, Value] | None = None,
    changeable: Collection[str] = ("lr", "weight_decay"),
    lacks: Collection[str] = (),
) -> list[Scenario]:
    """One scenario for each setting of the flags and each term that a condition can switch off.

    ``fixed`` hyperparameters keep their values; those that are ``changeable`` change in mid-run;
    what an implementation ``lacks`` is left out.
    """
    found = []
    for k, hyper in enumerate(_settings(spec, dict(fixed or {}))):
        events: list[Event] = [Step()] * STEPS
        moves = {
            name: float(hyper[name]) / 4
            for name in ("lr", "weight_decay")
            if name in changeable and name in hyper and name not in (fixed or {})
            if not steady(spec, name)
        }
        for place, (name, value) in zip((2, 5), moves.items(), strict=False):
            events.insert(place, SetHyper(0, {name: value}))
        params = tuple(_param(np.random.default_rng((k, n)), n) for n in range(3))
        made = Scenario(spec.name, dtype, (Group(hyper, params),), tuple(events))
        found.append(without(made, lacks))
    return found


def _settings(spec: Spec, fixed: dict[str, Value]) -> Iterator[dict[str, Value]]:
    """Admissible settings: all flags off, each on, each two; and without what may be zero."""
    tested = set().union(*(expr.names(expr.parse(c, where="")) for c in all_conditions(spec)))
    flags = [n for n, h in spec.hypers.items() if h.is_flag]
    zeros = [n for n, h in spec.hypers.items() if not h.is_flag and n in tested]
    chosen = [some for count in range(3) for some in itertools.combinations(flags, count)]
    seen = []
    for bold in (BOLD, {**BOLD, **SUBTLE}):
        plain: dict[str, Value] = {
            n: False if h.is_flag else bold.get(n, float(h.default)) for n, h in spec.hypers.items()
        }
        for on, off in itertools.product(chosen, [(), *((n,) for n in (*zeros, "dampening"))]):
            hyper = plain | dict.fromkeys(on, True) | dict.fromkeys(off, 0.0)
            hyper = {n: v for n, v in hyper.items() if n in spec.hypers} | fixed
            if spec.admissible(hyper) and hyper not in seen:
                seen.append(hyper)
                yield hyper


def _param(rng: np.random.Generator, kind: int) -> Param:
    """Everyday gradients; gradients that are zero and then are not; spikes that fade."""
    start, grads = rng.uniform(-2, 2, SIZE), rng.uniform(0.125, 2, (STEPS, SIZE))
    grads *= rng.choice([-1.0, 1.0], (STEPS, SIZE))
    if kind == 1:
        grads[: STEPS // 2, ::2] = 0
        start[1::2] = 0
    elif kind == 2:
        grads *= 4.0 ** -np.arange(STEPS)[:, None]
    grads, start = np.round(grads * 64) / 64, np.round(start * 64) / 64  # exact in 16 bits, too
    return Param(
        (SIZE,),
        Recipe("values", 0, tuple(map(float, start))),
        Recipe("values", 0, tuple(tuple(map(float, row)) for row in grads)),
    )
