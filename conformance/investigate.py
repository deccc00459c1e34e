"""Identification of a whole implementation: draw, judge, and stop when one variant is left."""

from collections.abc import Callable
from typing import Any

from .examine import SLOW_EXAMPLES, Settings
from .explain import diagnoses
from .identify import UNEXPLAINED, Identification, identify
from .implementation import Implementation, Unsupported, lacks
from .lattice import lattice
from .lockstep import Trace, judge, run
from .oracle.scalars import Profile
from .render import equation_text
from .scenario import to_json
from .spec import Spec
from .strategies import drawn


def investigate(
    implementation: Implementation,
    spec: Spec,
    settings: Settings,
    emit: Callable[[dict[str, Any]], None],
) -> dict[str, Any]:
    """The variant and profile that ``implementation`` follows, in float32.

    Returns spec, variant (the axes that differ from the default, or None), aliases, profile,
    unique, accepted and rejected (lists of variants), and an explanation in words.
    """
    traces = _traces(implementation, spec, settings, emit)
    if not traces:
        return _answer(implementation, spec, UNEXPLAINED, "it never completed a run")
    found = identify(traces, spec)
    if found.variant is None:
        return _answer(implementation, spec, found, _first_fault(traces, spec))
    return _answer(implementation, spec, found, _in_words(found, len(traces)))


def _traces(
    implementation: Implementation,
    spec: Spec,
    settings: Settings,
    emit: Callable[[dict[str, Any]], None],
) -> list[Trace]:
    traces: list[Trace] = []
    for scenario in drawn(
        spec,
        dtype="float32",
        examples=SLOW_EXAMPLES if implementation.slow else settings.examples,
        seed=settings.seed,
        max_steps=settings.steps,
        fixed={**implementation.fixed(spec), **settings.hyper},
        changeable=implementation.changeable(spec),
        small=implementation.slow,
        lacks=lacks(implementation),
    ):
        emit({"event": "scenario", "scenario": to_json(scenario)})
        try:
            trace = run(implementation, scenario, spec)
        except Unsupported:
            continue
        if trace.crash is None and trace.rows:
            traces.append(trace)
    return traces


def _in_words(found: Identification, count: int) -> str:
    others = [v for v in found.accepted[1:] if v not in found.aliases]
    if not others:
        return f"unique after {count} runs"
    best = set((found.variant or {}).items())
    axes = sorted({a for v in others for a, _ in set(v.items()) ^ best})
    return (
        f"{len(others)} other variant(s) remain after {count} runs; inputs that separate "
        f"{', '.join(axes)} are needed"
    )


def _first_fault(traces: list[Trace], spec: Spec) -> str:
    for trace in traces:
        judged = judge(trace, spec, {}, profile=Profile())
        for d in diagnoses(trace, spec, {}, Profile(), judged)[:1]:
            text = equation_text(spec, {}, d.equation)
            return f"no variant explains it; the first equation at fault is {text}"
    return "no variant explains all runs together"


def _answer(
    implementation: Implementation, spec: Spec, found: Identification, words: str
) -> dict[str, Any]:
    every = [dict(v) for v in lattice(spec)]
    return {
        "implementation": implementation.name,
        **found.as_dict(),
        "spec": spec.name,
        "rejected": [v for v in every if v not in found.accepted],
        "explanation": words,
    }
