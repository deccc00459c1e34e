"""How two implementations differ in their equations, judged from the recordings alone.

Either one follows what the other follows, and only rounds otherwise; or it does not, and the
equation is named.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..admit import admitted
from ..explain import Diagnosis, diagnoses
from ..findings import profile_in_words
from ..identify import identify
from ..lockstep import failing, judge
from ..oracle.scalars import Profile
from ..render import equation_text, equations
from ..scenario import to_json
from ..spec import Spec
from ..trace import Trace, run
from .corpus import name_of
from .played import runs
from .tape import Track

EQUAL, WITHIN, DIVERGING, UNJUDGED = "bit-equal", "within the bounds", "diverging", "unjudged"
NOT_RUN, UNSTEADY = "not run", "unsteady"
LEVELS = {
    EQUAL: "every tensor has the same bits",
    WITHIN: "other bits, and both are roundings of the same equations",
    DIVERGING: "the equations, or the precision they are computed in, are others",
    UNJUDGED: "other values, and no spec describes the optimizer",
    UNSTEADY: "no two runs of one release are alike, so nothing can be told",
    NOT_RUN: "there is no scenario that ran on both sides",
}

SAME, NEW, FIXED, CHANGED = "same", "new", "fixed", "changed"
MARKS = {
    SAME: "nothing to tell",
    NEW: "it did what it claims before, and does not now",
    FIXED: "it does what it claims now, and did not before",
    CHANGED: "other than before",
}

Row = dict[str, Any]
Pair = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Follows:
    """What the runs of one side follow; ``variant`` is None where nothing explains them."""

    variant: Mapping[str, str] | None
    profile: Profile
    claimed: bool  # the claimed equations, in a precision that is no fault


def judged(old: Track, new: Track, pairs: Sequence[Pair], spec: Spec) -> Row:
    traces = [
        [run(played, scenario, spec) for scenario, played in _picked(track, chosen)]
        for track, chosen in ((old, [k for k, _ in pairs]), (new, [m for _, m in pairs]))
    ]
    claims = [spec.variant(t.about["variant"]) for t in (old, new)]
    a, b = (_follows(t, spec, c) for t, c in zip(traces, claims, strict=True))
    follows = {"before": _told(a), "after": _told(b)}
    if _explains(a, traces[1], spec) and _explains(b, traces[0], spec):
        mark = SAME if a.claimed == b.claimed else CHANGED
        return {"level": WITHIN, "mark": mark, "follows": follows,
                "summary": "other roundings of the same equations"}  # fmt: skip
    mark = NEW if a.claimed else FIXED if b.claimed else CHANGED
    return {"level": DIVERGING, "mark": mark, "follows": follows, **_why(a, b, traces, spec)}


def _picked(track: Track, chosen: Iterable[int]) -> list[Any]:
    every = runs(track)
    return [every[k] for k in chosen]


def _follows(traces: Sequence[Trace], spec: Spec, claimed: Mapping[str, str]) -> Follows:
    usual = Profile()
    if not any(failing(judge(t, spec, claimed, profile=usual)) for t in traces):
        return Follows(claimed, usual, True)
    found = identify(traces, spec, instead_of=claimed)
    if found.variant is None:
        return Follows(None, usual, False)
    dtype = traces[0].scenario.dtype
    same = spec.variant(found.variant) == dict(claimed)
    return Follows(found.variant, found.profile, same and found.profile.harmless(dtype))


def _explains(follows: Follows, traces: Sequence[Trace], spec: Spec) -> bool:
    if follows.variant is None:
        return False
    variant = tuple(spec.variant(follows.variant).items())
    return all(admitted(t, spec, [variant], follows.profile) for t in traces)


def _told(follows: Follows) -> Row | None:
    if follows.variant is None:
        return None
    return {"variant": dict(follows.variant), "profile": follows.profile.as_dict()}


def _why(a: Follows, b: Follows, traces: Sequence[Sequence[Trace]], spec: Spec) -> Row:
    """One sentence, and the first place where the second side leaves what the first follows."""
    found: Row = {}
    if a.variant is not None:
        where = _first(traces[1], spec, a)
        if where is not None:
            d, trace = where
            found = {
                "step": d.step, "tensor": d.tensor, "index": [d.index], "observed": d.observed,
                "expected": d.expected, "bound": d.bound, "ratio": d.ratio,
                "equation": equation_text(spec, a.variant, d.equation),
                "scenario": name_of(trace.scenario), "scenario_data": to_json(trace.scenario),
            }  # fmt: skip
    if a.variant is not None and b.variant is not None:
        found["equations"] = _other_equations(spec, a.variant, b.variant)
    if a.variant is None and b.variant is None:
        said = "no variant explains either side"
    elif a.variant is None:
        said = f"no variant explained it; now it follows {_axes(b, spec)}"
    elif b.variant is None:
        said = f"followed {_axes(a, spec)}; no variant explains it now"
        if found:
            said += f": step {found['step']}, {found['tensor']} off by {found['ratio']:.3g} bounds"
    elif dict(spec.variant(a.variant)) == dict(spec.variant(b.variant)):
        was, now = (
            profile_in_words(f.profile) or "computed in the usual precision" for f in (a, b)
        )
        said = f"was {was}; now {now}"
    else:
        said = f"followed {_axes(a, spec, b)}, follows {_axes(b, spec, a)}"
    return {"summary": said, **found}


def _other_equations(spec: Spec, a: Mapping[str, str], b: Mapping[str, str]) -> list[Row]:
    """The equations that two variants do not share; None where one has no such equation."""
    was, now = equations(spec, a), equations(spec, b)
    return [
        {"name": n, "before": was.get(n), "after": now.get(n)}
        for n in dict.fromkeys([*was, *now])
        if was.get(n) != now.get(n)
    ]


def _axes(f: Follows, spec: Spec, other: Follows | None = None) -> str:
    """The axes of a variant: those that differ from the other's, or from the default."""
    assert f.variant is not None
    usual = {a: axis.default for a, axis in spec.axes.items()}
    mine = {**usual, **f.variant}
    theirs = {**usual, **(other.variant or {})} if other else usual
    parts = [f"{a} = {v}" for a, v in mine.items() if v != theirs[a]]
    return ", ".join(parts) or f"the equations of {spec.name}"


def _first(traces: Sequence[Trace], spec: Spec, by: Follows) -> tuple[Diagnosis, Trace] | None:
    assert by.variant is not None
    for trace in traces:
        judged = judge(trace, spec, by.variant, profile=by.profile)
        for d in diagnoses(trace, spec, by.variant, by.profile, judged):
            return d, trace
    return None
