"""Which variant and which precision profile does an implementation follow?

Every combination of axis values is a hypothesis; a trace rejects those whose bound it leaves.
"""

import functools
import itertools
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .admit import Admitted, Refuted, admitted, refuted_by
from .formats import FORMATS
from .formula import Formulas
from .initial import hidden_numbers, numbers_in
from .lattice import Variant, lattice
from .lockstep import Judged, blocks, failing, judge
from .oracle.scalars import PROFILES, Profile
from .spec import Spec
from .trace import Trace


@dataclass(frozen=True, slots=True)
class Identification:
    """What is left of the lattice after looking at traces.

    ``accepted`` are the variants that explain every trace under ``profile``; ``aliases`` those of
    them that are the same formula as ``variant``; ``rejected`` are the others.  ``variant`` is
    None when nothing explains the traces.
    """

    spec: str
    variant: dict[str, str] | None
    profile: Profile
    aliases: list[dict[str, str]]
    accepted: list[dict[str, str]]
    rejected: list[dict[str, str]]

    @property
    def unique(self) -> bool:
        return self.variant is not None and len(self.accepted) == 1 + len(self.aliases)

    def as_dict(self) -> dict[str, object]:
        return {
            "spec": self.spec,
            "variant": self.variant,
            "aliases": self.aliases,
            "profile": self.profile.as_dict(),
            "unique": self.unique,
            "accepted": self.accepted,
            "rejected": self.rejected,
        }


UNEXPLAINED = Identification("", None, Profile(), [], [], [])
"""Nothing explains the traces."""


def identify(
    traces: Sequence[Trace],
    spec: Spec,
    *,
    profiles: Iterable[Profile] = PROFILES,
    instead_of: Mapping[str, str] | None = None,
    base: Profile | None = None,
    decisive: bool = True,
) -> Identification:
    """The variants that explain ``traces``, under the first of ``profiles`` that leaves any.

    With ``instead_of``, a variant that the traces refute under the profile ``base`` (or the usual
    one), an explanation must also decide some of the elements that refute it, of each output: to
    be undecided in all of them, over all traces, explains nothing; unless ``decisive`` is false.
    """
    profiles = list(profiles)
    numbers = numbers_in(traces, spec)
    found = _identified(traces, spec, lattice(spec, numbers), profiles, instead_of, base, decisive)
    hidden = [t for t in traces if not _in_sight(t, spec)]
    if found.variant is None and hidden:
        further = hidden_numbers(hidden, spec)
        if not set(further) <= set(numbers):
            every = lattice(spec, (*numbers, *further))
            found = _identified(traces, spec, every, profiles, instead_of, base, decisive)
    return found


def _identified(
    traces: Sequence[Trace],
    spec: Spec,
    every: list[Variant],
    profiles: Sequence[Profile],
    instead_of: Mapping[str, str] | None,
    base: Profile | None,
    decisive: bool,
) -> Identification:
    low = any(FORMATS[t.scenario.dtype].digits < FORMATS["float32"].digits for t in traces)
    kept = not all(_no_subnormals(t) for t in traces)
    profiles = [p for p in profiles if p == base or not (kept and p.subnormals == "flushed")]
    wide = [p for p in profiles if p == base or _likely(p, low)]
    claimed: list[Variant] = []
    refuted: list[Refuted] = [{}] * len(traces)
    usual = base or Profile()
    if instead_of is not None:
        # of several labels of one formula, what differs least from the claim tells most
        here = set(spec.variant(instead_of).items())
        every.sort(key=lambda v: len({axis for axis, _ in set(v) ^ here}))
        claimed = [tuple(spec.variant(instead_of).items())]
        refuted = refuted_by(traces, spec, instead_of, usual)
    asked = {name for places in refuted for name, *_ in places} if decisive else set()
    # a trace whose state is out of sight costs a run of its own for every hypothesis that is left
    order = sorted(
        zip(traces, refuted, strict=True), key=lambda t: (not _in_sight(t[0], spec), not t[1])
    )

    formulas = Formulas(spec, traces)

    @functools.cache
    def within(loosest: Profile) -> list[Variant]:
        return list(_left(order, formulas, every, loosest))

    # the claimed equations in another precision are a plainer explanation than other equations
    trials = itertools.chain(
        ((p, claimed) for p in profiles if claimed and p != usual),
        ((p, within(_loosest(p, wide))) for p in wide),
    )
    for profile, hypotheses in trials:
        accepted = list(_left(order, formulas, hypotheses, profile, asked))
        if accepted:
            best, *others = accepted
            aliases = [v for v in others if formulas.same(best, v)]
            return Identification(
                spec.name,
                dict(best),
                profile,
                [dict(v) for v in aliases],
                [dict(v) for v in accepted],
                [dict(v) for v in every if v not in accepted],
            )
    return Identification(spec.name, None, Profile(), [], [], [dict(v) for v in every])


def _left(
    traces: Sequence[tuple[Trace, Refuted]],
    formulas: Formulas,
    hypotheses: Sequence[Variant],
    profile: Profile,
    asked: Collection[str] = (),
) -> Admitted:
    """What no trace rejects, with the outputs for which any of them decides a refuted element;
    for all that are ``asked`` one must.

    When a trace whose state is out of sight leaves all of them, they may well be one formula: then
    the first speaks for what is the same as it.
    """
    left: Admitted = dict.fromkeys(hypotheses, frozenset())
    speaker = {v: v for v in hypotheses}
    for k, (trace, refuted) in enumerate(traces):
        if not left:
            break
        found = admitted(trace, formulas.spec, list(left), profile, refuted=refuted)
        later = {name for _, places in traces[k + 1 :] for name, *_ in places}
        needed = set(asked) - later
        kept = {v: d for v, now in found.items() if needed <= (d := left[v] | now)}
        if 1 < len(kept) == len(left) and not _in_sight(trace, formulas.spec):
            first, *rest = kept
            speaker |= {v: first for v in rest if formulas.same(first, v)}
        left = {v: d for v, d in kept.items() if speaker[v] == v}
    return {v: left[who] for v, who in speaker.items() if who in left}


def _loosest(profile: Profile, profiles: Iterable[Profile]) -> Profile:
    """A profile whose bound holds those of all ``profiles`` that differ from ``profile`` only in
    the precision of scalars and in subnormals: what it rejects, they reject."""
    alike = [
        p
        for p in profiles
        if replace(p, scalars=profile.scalars, subnormals=profile.subnormals) == profile
    ]
    return replace(
        profile,
        scalars=min(p.scalars for p in alike),  # float32, float64
        subnormals=min(p.subnormals for p in alike),  # flushed, kept
    )


def own_profiles(traces: Sequence[Trace], spec: Spec, claimed: Mapping[str, str]) -> list[Profile]:
    """The harmless profiles, the plainest first, under which ``traces`` that the claimed variant
    fails under the usual one follow it all the same, with every element decided that failed."""

    def judged(trace: Trace, profile: Profile) -> list[Judged]:
        return judge(trace, spec, claimed, profile=profile)

    def cleared(trace: Trace, before: list[Judged], profile: Profile) -> bool:
        after = judged(trace, profile)
        return not failing(after) and not any(
            (j.failed & now.outputs[n].outcome.undecided).any()
            for was, now in zip(before, after, strict=True)
            for n, j in was.outputs.items()
        )

    dtype = traces[0].scenario.dtype
    kept = not all(_no_subnormals(t) for t in traces)
    coarse = "float64" if dtype == "float64" else "float32"
    loosest = [
        Profile(coarse, hypers, "wider", "flushed", "faithful")
        for hypers in dict.fromkeys(("exact", "exact" if dtype == "float64" else "float32"))
    ]
    if all(failing(judged(traces[0], profile)) for profile in loosest):
        return []  # then no milder one will do
    usual = [judged(t, Profile()) for t in traces]
    return [
        p
        for p in PROFILES[1:]
        if p.harmless(dtype)
        and not (kept and p.subnormals == "flushed")
        and all(cleared(t, before, p) for t, before in zip(traces, usual, strict=True))
    ]


def _likely(profile: Profile, low: bool) -> bool:
    """Whether a profile is tried with all variants: scalars and hyperparameters in float32, flushed
    subnormals, and master weights where tensors have 16 bits; the rest is tried with the claimed
    equations only."""
    unusual = set(profile.deviations())
    return unusual <= {"scalars", "hypers", "subnormals"} or (low and unusual == {"memory"})


def _no_subnormals(trace: Trace) -> bool:
    """Whether no step left a subnormal number where there was another value before."""
    tiny = FORMATS[trace.scenario.dtype].tiny
    return not any(
        ((x != 0) & (np.abs(x) < tiny) & (x != row.start.get(name, 0))).any()
        for rows in trace.rows.values()
        for row in rows
        for name, x in row.observed.items()
    )


def _in_sight(trace: Trace, spec: Spec) -> bool:
    return blocks(trace, spec, spec.variant({})) is not None
