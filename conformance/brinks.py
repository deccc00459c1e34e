"""Gradients at the brink of a sign: what is under it shows only where it turns.

A sign tells nothing of the size of its argument, so a factor of it that is off by one part in a
million shows in one gradient of a million.  Where the argument is affine in the gradient, as sums
and averages are, the gradient at which it turns is known, and so are those close by.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
from flint import arb

from .expr import Graph, Index, Sign, reachable
from .formats import format_named
from .lattice import deviations
from .oracle.exact import evaluate
from .scenario import Group, Param, Recipe, Scenario, Step
from .spec import Hypers, Program, Spec, Value, initial_state, program, states_of

ELEMENTS, STEPS = 64, 4
NEAREST = 0.5  # units of the dtype: closer than that, a gradient is the brink itself

Variant = Mapping[str, str]


def signed(graph: Graph, outputs: Sequence[Index]) -> list[Index]:
    """The arguments of all signs of tensors below ``outputs``."""
    nodes = [graph.nodes[i] for i in reachable(graph, outputs)]
    return [n.argument for n in nodes if isinstance(n, Sign) and not graph.scalar[n.argument]]


def turning(
    made: Program, argument: Index, scalars: Mapping[str, float], start: Mapping[str, float | arb]
) -> float | None:
    """The gradient at which ``argument`` is zero; None where it is not affine in the gradient."""
    asked = replace(made, outputs={"argument": argument})

    def at(grad: float | arb) -> arb:
        return evaluate(asked, scalars, {**start, "grad": grad})["argument"]

    zero, one = at(0.0), at(1.0)
    root = -zero / (one - zero)
    return float(root) if root.is_finite() and at(root).contains(0) else None


def near(root: float, rng: np.random.Generator, digits: float) -> float:
    """A gradient that is off by one part in ten to the two to ``digits``, either way."""
    part = float(10.0 ** -rng.uniform(2, digits))
    return root * (1 + part) if rng.random() < 0.5 else root * (1 - part)


def brinks(spec: Spec, *, dtype: str, fixed: Hypers, seed: int) -> Iterator[Scenario]:
    """A scenario for every kind of argument that a sign has, in whatever variant."""
    hyper = {**spec.defaults, **fixed}
    if not spec.admissible(hyper):
        return
    seen: set[tuple[Index, ...]] = set()
    for variant in deviations(spec):
        made = program(spec, variant, hyper, 2)
        arguments = tuple(signed(made.graph, list(made.outputs.values())))
        if arguments and arguments not in seen:
            seen.add(arguments)
            yield _brink(spec, variant, dtype, hyper, np.random.default_rng((seed, 11, len(seen))))


def _brink(
    spec: Spec, variant: Variant, dtype: str, hyper: dict[str, Value], rng: np.random.Generator
) -> Scenario:
    fmt = format_named(dtype)
    digits = -math.log10(NEAREST * fmt.unit)
    p = np.where(rng.random(ELEMENTS) < 0.5, 0.0, fmt.round(rng.standard_normal(ELEMENTS)))
    first = {n: float(v) for n, v in hyper.items()}
    held: list[dict[str, float | arb]] = [{"p": float(x)} for x in p]
    rows = []
    for t in range(1, STEPS + 1):
        scalars = {**first, "t": float(t), "lr0": first.get("lr", 0.0)}
        made = program(spec, variant, scalars, t)
        arguments = signed(made.graph, list(made.outputs.values()))
        if t == 1:
            inits = states_of(spec, variant)
            begin = {n: initial_state(s.init, first) for n, s in inits.items()}
            held = [{**begin, **some} for some in held]
        grads = fmt.round(rng.standard_normal(ELEMENTS))
        for k, some in enumerate(held):
            root = turning(made, arguments[k % len(arguments)], scalars, some)
            if root:
                grads[k] = fmt.round(np.array(near(root, rng, digits)))
            some |= evaluate(made, scalars, {**some, "grad": float(grads[k])})
        rows.append(tuple(float(g) for g in grads))
    param = Param(
        (ELEMENTS,), Recipe("values", 0, tuple(map(float, p))), Recipe("values", 0, tuple(rows))
    )
    return Scenario(spec.name, dtype, (Group(hyper, (param,)),), (Step(),) * STEPS)
