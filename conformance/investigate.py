"""Identification of a whole implementation: which equations it follows, and what is left open.

Inputs that are made to tell the hypotheses apart come first, then drawn ones.  Where those show
something that no variant explains, the first ones still tell which equations are followed apart
from it.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from .comparison.coincide import coincidences, under
from .comparison.pair import Side, pair
from .comparison.separate import separation
from .draws import drawn
from .edits import isolated, map_params
from .errors import one_line
from .examine import SLOW_EXAMPLES, Settings
from .explain import diagnoses
from .identify import UNEXPLAINED, Identification, identify
from .implementation import Implementation, lacks
from .lockstep import judge
from .oracle.scalars import Profile
from .probes import probes
from .render import equation_text
from .runs import Emit, Runs
from .scenario import Reload, Scenario
from .spec import Spec, Value
from .trace import Trace

DTYPE = "float32"
MOST = 4  # remaining variants that are told in full


def investigate(
    implementation: Implementation,
    spec: Spec,
    settings: Settings,
    emit: Emit,
) -> dict[str, Any]:
    """The variant and profile that ``implementation`` follows, in float32.

    Returns spec, variant (the axes that differ from the default, or None), aliases, profile,
    unique, accepted and rejected (lists of variants), remaining (those accepted that are another
    formula, each with when it is the same and an input that would separate it), only_here (those
    of the aliases that are the same formula only under what the implementation takes), and an
    explanation in words.
    """
    fixed = {**implementation.fixed(spec), **settings.hyper}
    directed, drawings = _scenarios(implementation, spec, settings, fixed)
    runs = Runs(implementation, spec, emit)
    crashed: list[Trace] = []
    ordinary, further = (_traces(runs, some, crashed) for some in (directed, drawings))
    traces = [*ordinary, *further]
    raised = _raised(crashed, len(traces) + len(crashed))
    if not traces:
        words = f"it never completed a run{raised}"
        return _answer(implementation, spec, UNEXPLAINED, [], words)
    emit({"event": "phase", "phase": "identifying"})
    found, but = identify(traces, spec), raised
    if found.variant is None and ordinary:
        plain = identify(ordinary, spec)
        if plain.variant is not None:
            against, first = _faults(further, spec, plain.variant, plain.profile)
            usual = _traces(runs, (_alone(t.scenario) for t in further), [])
            leave, _ = _faults(usual, spec, plain.variant, plain.profile)
            if 2 * leave <= len(usual):  # what most plain runs leave is not what it follows
                but = f", but {against} of {len(further)} drawn runs leave it; {first}{raised}"
                found, traces = plain, ordinary
    if found.variant is None:
        _, first = _faults(traces, spec, spec.variant(implementation.variant), Profile())
        words = f"no variant explains it; {first}" if first else "no variant explains all its runs"
        words += _without_flags(ordinary, spec) + raised + _assumed(implementation, spec, settings)
        return _answer(implementation, spec, found, [], words)
    others = remaining(found, spec, fixed, implementation.changeable(spec))
    left = f"{len(others)} other variants remain" if others else "unique"
    words = f"{left} after {len(traces)} runs{but}"
    return _answer(implementation, spec, found, others, words)


def _alone(scenario: Scenario) -> Scenario:
    """A parameter of a drawn scenario by itself: nothing is special about it but its numbers."""
    some = scenario.groups[0].params
    alone = isolated(scenario, 0, next((k for k, p in enumerate(some) if p.size), 0))
    events = tuple(e for e in alone.events if not isinstance(e, Reload))
    return map_params(replace(alone, events=events), lambda p: replace(p, layout="contiguous"))


def _assumed(implementation: Implementation, spec: Spec, settings: Settings) -> str:
    """With which values of what it does not take it was judged, in words."""
    fixed = implementation.fixed(spec).items()
    values = [f"{n} = {v:g}" if not isinstance(v, bool) else f"{n} = {v}" for n, v in fixed]
    named = [v for v in values if v.partition(" ")[0] not in settings.hyper]
    if not named:
        return ""
    return (
        f"; it does not take {', '.join(named)}, as which it was judged: if it has another, say so "
        "with --hyper"
    )


def _without_flags(traces: Sequence[Trace], spec: Spec) -> str:
    """What explains the runs in which every flag is off, in words, if there are others."""
    plain = [
        t
        for t in traces
        if not any(h.is_flag and t.scenario.groups[0].hyper[n] for n, h in spec.hypers.items())
    ]
    found = identify(plain, spec) if 0 < len(plain) < len(traces) else UNEXPLAINED
    if found.variant is None:
        return ""
    flags = ", ".join(n for n, h in spec.hypers.items() if h.is_flag)
    followed = ", ".join(f"{a} = {v}" for a, v in found.variant.items())
    return f"; with {flags} off it follows {followed or 'the equations of the spec'}"


def _scenarios(
    implementation: Implementation,
    spec: Spec,
    settings: Settings,
    fixed: Mapping[str, Value],
) -> tuple[Iterable[Scenario], Iterable[Scenario]]:
    """Those that are made to separate, and those that are drawn."""
    changeable, missing = implementation.changeable(spec), lacks(implementation)
    directed = probes(spec, dtype=DTYPE, fixed=fixed, changeable=changeable, lacks=missing)
    drawings = drawn(
        spec,
        dtype=DTYPE,
        examples=SLOW_EXAMPLES if implementation.slow else settings.examples,
        seed=settings.seed,
        max_steps=settings.steps,
        fixed=fixed,
        changeable=changeable,
        small=implementation.slow,
        lacks=missing,
    )
    return directed, drawings


def _traces(runs: Runs, scenarios: Iterable[Scenario], crashed: list[Trace]) -> list[Trace]:
    """Those that end well and show something; those in which it raised are added to ``crashed``."""
    found = [t for t in map(runs.tried, scenarios) if t is not None]
    crashed += [t for t in found if t.crash is not None]
    return [t for t in found if t.crash is None and t.rows]


def _raised(crashed: Sequence[Trace], count: int) -> str:
    """What of ``count`` runs is not known, since the subject raised in them, in words."""
    if not crashed:
        return ""
    first = crashed[0]
    where = f"step {first.crash_step + 1}" if first.crash_step >= 0 else "construction"
    told = f"{where}: {one_line(first.crash)}" if first.crash is not None else where
    return f"; in {len(crashed)} of {count} runs it raised, the first time in {told}"


def _faults(
    traces: Iterable[Trace], spec: Spec, variant: Mapping[str, str], profile: Profile
) -> tuple[int, str]:
    """How many of ``traces`` leave a variant, and the first equation that is left, in words."""
    count, first = 0, ""
    for trace in traces:
        found = diagnoses(
            trace, spec, variant, profile, judge(trace, spec, variant, profile=profile)
        )
        count += bool(found)
        for d in found[:1]:
            text = equation_text(spec, variant, d.equation)
            first = first or f"the first equation at fault is {text} (step {d.step})"
    return count, first


def remaining(
    found: Identification, spec: Spec, fixed: Mapping[str, Value], changeable: Collection[str]
) -> list[dict[str, Any]]:
    """The accepted variants that are another formula: when they are the same, and the smallest
    input that would tell them apart; ``takes`` says whether the implementation takes it."""
    others = [v for v in found.accepted if v != found.variant and v not in found.aliases]
    told: list[dict[str, Any]] = []
    for variant in others[:MOST]:
        p = pair(Side("found", spec, found.variant or {}), Side("other", spec, variant))
        known = coincidences(p)
        apart = separation(p, known, fixed={})
        told.append({"variant": variant, "same": [" and ".join(c.when) for c in known.named]})
        if apart is not None:
            steady_lr = len(set(apart.lrs)) == 1 or "lr" in changeable
            told[-1]["input"] = {
                "hyper": dict(apart.hypers),
                "start": apart.start,
                "gradients": list(apart.gradients),
                "lr": list(apart.lrs),
                "takes": steady_lr and fixed.items() <= apart.hypers.items(),
            }
    return [*told, *({"variant": v} for v in others[MOST:])]


def _always(found: Identification, alias: Mapping[str, str], spec: Spec) -> bool:
    """Whether an alias is the same formula under any settings, and not only under those that the
    implementation takes."""
    p = pair(Side("found", spec, found.variant or {}), Side("alias", spec, alias))
    return under(p, {}) is not None


def _answer(
    implementation: Implementation,
    spec: Spec,
    found: Identification,
    others: list[dict[str, Any]],
    words: str,
) -> dict[str, Any]:
    return {
        "implementation": implementation.name,
        **found.as_dict(),
        "only_here": [v for v in found.aliases if not _always(found, v, spec)],
        "spec": spec.name,
        "claimed": dict(implementation.variant),
        "remaining": others,
        "explanation": words,
    }
