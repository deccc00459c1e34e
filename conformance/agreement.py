"""Two machines side by side along random runs, in Arb balls: agreement is no proof, and shows where
there is none to be had."""

import math
from collections.abc import Mapping

import numpy as np
from flint import arb

from . import expr
from .brinks import near, signed, turning
from .errors import SpecError
from .interpreter import FIRST, Machine
from .oracle.exact import BITS, evaluate
from .spec import HyperSpec, Program, Spec, Value
from .strategies import changes

RUNS, STEPS = 60, 5
DIGITS = 12  # at the brink of a sign, gradients are as close as this


def agreement(original: Machine, mutant: Machine) -> str | None:
    """That two machines agree along random runs, or None where they do not."""
    steps = 0
    for k in range(RUNS):
        taken = _agreeing_steps(original, mutant, np.random.default_rng((k, 5)))
        if taken is None:
            return None
        steps += taken
    return f"equal on {RUNS} random runs ({steps} steps) in balls of {BITS} bits"


def _agreeing_steps(original: Machine, mutant: Machine, rng: np.random.Generator) -> int | None:
    """How many steps of a random run are well defined; None when an output differs."""
    spec = original.spec
    hyper = _setting(spec, rng)
    first = {n: float(v) for n, v in hyper.items()}
    p: float | arb = _value(rng)
    held: list[dict[str, float | arb]] = [{"p": p}, {"p": p}]
    grad = _value(rng)
    for t in range(1, STEPS + 1):
        if t > 1:
            grad = grad if rng.random() < 0.2 else _value(rng)
            for name in spec.hypers:
                others = changes(spec, name, hyper)
                if others and rng.random() < 0.3:
                    hyper[name] = others[int(rng.integers(len(others)))]
        scalars = {
            **{n: float(v) for n, v in hyper.items()},
            **{FIRST + n: v for n, v in first.items()},
            "t": float(t),
            "lr0": first.get("lr", 0.0),
        }
        if t > 1 and (root := _turning(original, scalars, held[0])) and rng.random() < 0.5:
            grad = near(root, rng, DIGITS)
        seen = []
        for m, start in zip((original, mutant), held, strict=True):
            truths = frozenset(c for c in m.conditions if expr.holds(c, scalars))
            if t == 1:
                begin = Program(spec, (), m.graph, (), {}, m.inits)
                start |= evaluate(begin, scalars, {})
            out = evaluate(m.program(truths), scalars, {**start, "grad": grad})
            start |= out
            seen.append({n: out[n] for n in ("p", *m.visible(truths))})
        for name, x in seen[0].items():
            y = seen[1][name]
            if x.is_finite() != y.is_finite() or (x.is_finite() and not x.overlaps(y)):
                return None
        if not all(x.is_finite() for x in seen[0].values()):
            return t - 1
    return STEPS


def _turning(
    m: Machine, scalars: Mapping[str, float], start: Mapping[str, float | arb]
) -> float | None:
    """The gradient at which the first sign of a machine turns, where it has one."""
    made = m.program(frozenset(c for c in m.conditions if expr.holds(c, scalars)))
    arguments = signed(made.graph, list(made.outputs.values()))
    return turning(made, arguments[0], scalars, start) if arguments else None


def _setting(spec: Spec, rng: np.random.Generator) -> dict[str, Value]:
    for _ in range(1000):
        drawn = {h.name: _hyper(h, rng) for h in spec.hypers.values()}
        if spec.admissible(drawn):
            return drawn
    raise SpecError(f"spec {spec.name}: no admissible setting was found")


def _hyper(hyper: HyperSpec, rng: np.random.Generator) -> Value:
    domain = hyper.domain
    if domain is None:
        return bool(rng.random() < 0.5)
    if rng.random() < 0.4:
        special = [x for x in (float(hyper.default), 0.0, 1.0) if x in domain]
        return float(rng.choice(special))
    if math.isfinite(domain.high - domain.low):
        return float(domain.low + (domain.high - domain.low) * rng.uniform(0.01, 0.99))
    return float(10.0 ** rng.uniform(-5, 1))


def _value(rng: np.random.Generator) -> float:
    if rng.random() < 0.1:
        return 0.0
    return float(rng.standard_normal() * 10.0 ** rng.uniform(-3, 3))
