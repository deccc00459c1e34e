"""Detectability: the smallest relative error of a hyperparameter that is caught.

The subject computes with ``hyper * (1 + delta)`` (``1 - delta`` where the domain ends above) and
shows everything else as it is; the judge believes ``hyper``.  Beside it stands what people do
instead: ten steps of N(0, 1) gradients at the default hyperparameters, and
``torch.testing.assert_close`` with its default tolerances, on the parameters alone and on
parameters and state, against the same program with the right value.  ``delta`` runs over half
powers of ten, by bisection.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .expr import Hyper
from .implementation import Floats
from .interpreter import Interpreted, Machine, machine
from .mutants import perturbed, substituted
from .power import Drawing, look, scenarios_of
from .scenario import Group, Param, Recipe, Scenario, Step
from .spec import HyperSpec, Spec
from .spec_file import load
from .trace import run

FINEST = 34  # half powers of ten: 1 to 1e-17
WIDTH, STEPS = 1000, 10


@dataclass(frozen=True, slots=True)
class Threshold:
    """The smallest delta that each of three tests catches; None where none does, up to 1, and 0
    where the test fails what is right: ``assert_close`` takes no NaN for another."""

    spec: str
    dtype: str
    hyper: str
    default: float
    judge: float | None
    close_parameters: float | None
    close_all: float | None


def thresholds(name: str, dtype: str, drawing: Drawing) -> list[Threshold]:
    """For every hyperparameter of a spec that is a number."""
    spec = load(name)
    original = machine(spec, {})
    scenarios = scenarios_of(spec, original, dtype, drawing)
    plain = _plain(spec, dtype, drawing.seed)
    expected = _outcome(original, plain, spec)
    found = []
    for hyper in spec.hypers.values():
        if hyper.is_flag:
            continue

        def judged(delta: float, hyper: HyperSpec = hyper) -> bool:
            subject = Interpreted(_off(original, hyper, delta), "off")
            return any(look(subject, s, spec, {}).failed for s in scenarios)

        def compared(delta: float, names: tuple[str, ...] | None, hyper: HyperSpec = hyper) -> bool:
            seen = _outcome(_off(original, hyper, delta), plain, spec)
            return not _close(seen, expected, dtype, names)

        found.append(
            Threshold(
                spec.name,
                dtype,
                hyper.name,
                float(hyper.default),
                smallest(judged),
                smallest(lambda d, f=compared: f(d, ("p",))),  # type: ignore[misc]
                smallest(lambda d, f=compared: f(d, None)),  # type: ignore[misc]
            )
        )
    return found


def smallest(caught: Callable[[float], bool]) -> float | None:
    """The smallest half power of ten that is caught, when 1 is and larger ones are; 0 when what is
    right is caught as well."""
    if not caught(1.0):
        return None
    if caught(0.0):
        return 0.0
    low, high = 0, FINEST + 1  # caught, not caught
    while high - low > 1:
        middle = (low + high) // 2
        if caught(10.0 ** (-middle / 2)):
            low = middle
        else:
            high = middle
    return float(10.0 ** (-low / 2))


def _off(original: Machine, hyper: HyperSpec, delta: float) -> Machine:
    bounded = hyper.domain is not None and hyper.domain.high < float("inf")
    i = original.graph.add(Hyper(hyper.name))
    signed = repr(-delta if bounded else delta)
    return substituted(original, {i: perturbed(original.graph, i, signed)})


def _plain(spec: Spec, dtype: str, seed: int) -> Scenario:
    """What people test with."""
    param = Param((WIDTH,), Recipe("normal", seed), Recipe("normal", seed + 1))
    return Scenario(spec.name, dtype, (Group(spec.defaults, (param,)),), (Step(),) * STEPS)


def _outcome(subject: Machine, scenario: Scenario, spec: Spec) -> Mapping[str, Floats]:
    trace = run(Interpreted(subject, "off"), scenario, spec)
    if trace.crash is not None:
        raise trace.crash
    return trace.rows[0, 0][-1].observed


def _close(
    seen: Mapping[str, Floats],
    expected: Mapping[str, Floats],
    dtype: str,
    names: tuple[str, ...] | None,
) -> bool:
    import torch

    def tensor(x: Floats) -> Any:
        return torch.from_numpy(x.copy()).to(getattr(torch, dtype))

    try:
        for name in names or expected:
            torch.testing.assert_close(tensor(seen[name]), tensor(expected[name]))
    except AssertionError:
        return False
    return True
