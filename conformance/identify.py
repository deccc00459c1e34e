"""Which variant and which precision profile does an implementation follow?

Every combination of axis values is a hypothesis; a trace rejects those whose bound it leaves.
Hypotheses share a graph, so one that differs in a single equation costs that equation.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from . import expr
from .errors import SpecError
from .formats import FORMATS
from .lockstep import (
    Block,
    Judged,
    Row,
    Trace,
    blocks,
    compared,
    failing,
    free_judge,
    judge,
    program_of,
)
from .oracle.judge import Steps, outcomes
from .oracle.scalars import PROFILES, Profile
from .spec import Spec, all_conditions, program, states_of

Variant = tuple[tuple[str, str], ...]
Refuted = Mapping[str, NDArray[np.bool_]]
"""Output -> the elements of a block at which the claimed variant fails."""

NUMBERS = ("0.1",)
"""Values tried on axes that take any number (0.1 is the accumulator of TensorFlow's Adagrad)."""

FEW = 8  # hypotheses that are tried on whole traces at once
COLUMNS = 48


def lattice(spec: Spec) -> list[Variant]:
    """Every admissible combination of axis values, fewest and first-listed deviations first."""
    axes = []
    for axis in spec.axes.values():
        values = list(axis.choices)
        if axis.number is not None:
            values += NUMBERS
        values.sort(key=lambda v: v != axis.default)
        axes.append([(axis.name, v) for v in values])
    found: dict[Variant, None] = {}
    for combination in itertools.product(*axes):
        try:
            found[tuple(spec.variant(dict(combination)).items())] = None
        except SpecError:
            continue
    return sorted(found, key=len)


@dataclass(frozen=True, slots=True)
class Identification:
    """What is left of the lattice after looking at traces.

    ``accepted`` are the variants that explain every trace under ``profile``; ``aliases`` those of
    them that are the same formula as ``variant``; ``rejected`` counts the others.  ``variant`` is
    None when nothing explains the traces.
    """

    spec: str
    variant: dict[str, str] | None
    profile: Profile
    aliases: list[dict[str, str]]
    accepted: list[dict[str, str]]
    rejected: int

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


UNEXPLAINED = Identification("", None, Profile(), [], [], 0)
"""Nothing explains the traces."""


def identify(
    traces: Sequence[Trace],
    spec: Spec,
    *,
    profiles: Iterable[Profile] = PROFILES,
    instead_of: Mapping[str, str] | None = None,
    base: Profile | None = None,
) -> Identification:
    """The variants that explain ``traces``, under the first of ``profiles`` that leaves any.

    With ``instead_of``, a variant that the traces refute under the profile ``base`` (or the usual
    one), an explanation must also decide some of the elements that refute it: to be undecided in
    all of them explains nothing.
    """
    every = lattice(spec)
    low = any(FORMATS[t.scenario.dtype].digits < FORMATS["float32"].digits for t in traces)
    flushed = all(_no_subnormals(t) for t in traces)
    trials = [(p, every) for p in profiles if p == base or _likely(p, low, flushed)]
    if instead_of is not None:
        # of several labels of one formula, what differs least from the claim tells most
        here = set(spec.variant(instead_of).items())
        every.sort(key=lambda v: len({axis for axis, _ in set(v) ^ here}))
        # the claimed equations in another precision are a plainer explanation than other equations
        claimed = [tuple(spec.variant(instead_of).items())]
        usual = base or Profile()
        trials = [(p, claimed) for p in profiles if p != usual] + trials
    refuted: list[list[Refuted]] | list[None] = [None] * len(traces)
    if instead_of is not None:
        refuted = _refuted(traces, spec, instead_of, base or Profile())
    # a trace whose state is out of sight costs a run of its own for every hypothesis that is left
    order = sorted(zip(traces, refuted, strict=True), key=lambda t: not _in_sight(t[0], spec))
    for profile, hypotheses in trials:
        left = hypotheses
        for trace, masks in order:
            left = accepted(trace, spec, left, profile, refuted=masks)
            if not left:
                break
        if left:
            best, aliases = left[0], [v for v in left[1:] if same_formula(spec, left[0], v, traces)]
            return Identification(
                spec.name,
                dict(best),
                profile,
                [dict(v) for v in aliases],
                [dict(v) for v in left],
                len(every) - len(left),
            )
    return Identification(spec.name, None, Profile(), [], [], len(every))


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
        and all(cleared(t, before, p) for t, before in zip(traces, usual, strict=True))
    ]


def _likely(profile: Profile, low: bool, flushed: bool) -> bool:
    """Whether a profile is tried with all variants: scalars and hyperparameters in float32, flushed
    subnormals where none were seen, and master weights where tensors have 16 bits; the rest is
    tried with the claimed equations only."""
    unusual = set(profile.deviations())
    single = {"scalars", "hypers", "subnormals"} if flushed else {"scalars", "hypers"}
    return unusual <= single or (low and unusual == {"memory"})


def _no_subnormals(trace: Trace) -> bool:
    """Whether no step left a subnormal number where there was another value before."""
    tiny = FORMATS[trace.scenario.dtype].tiny
    return not any(
        ((x != 0) & (np.abs(x) < tiny) & (x != row.start.get(name, 0))).any()
        for rows in trace.rows.values()
        for row in rows
        for name, x in row.observed.items()
    )


def accepted(
    trace: Trace,
    spec: Spec,
    hypotheses: Sequence[Variant],
    profile: Profile,
    *,
    refuted: Sequence[Refuted] | None = None,
) -> list[Variant]:
    """The hypotheses that ``trace`` does not reject.

    With ``refuted``, for each block the elements at which another variant fails, they must also
    decide some of these, for every output that has any.
    """
    by_init: dict[tuple[tuple[str, str], ...], list[Variant]] = {}
    for v in hypotheses:
        inits = tuple((n, s.init) for n, s in states_of(spec, dict(v)).items())
        by_init.setdefault(inits, []).append(v)
    kept: set[Variant] = set()
    for some in by_init.values():
        found = blocks(trace, spec, dict(some[0]))
        if found is None:
            few = _narrow_trace(trace)
            for alike in _same_programs(trace, spec, some):
                first = alike[0]
                if len(some) > FEW and not _explains_freely(few, spec, first, profile, None):
                    continue
                if _explains_freely(trace, spec, first, profile, refuted):
                    kept.update(alike)
            continue
        masks = refuted if refuted is not None and len(refuted) == len(found) else [{}] * len(found)
        order = sorted(zip(found, masks, strict=True), key=lambda b: b[0].steps.start["p"].size)
        if len(some) > FEW:  # most fall on a few columns; only the rest see everything
            for block, mask in order:
                some = _survivors(_narrow(block, mask), {}, spec, some, trace, profile)
        for block, mask in order:
            some = _survivors(block, mask, spec, some, trace, profile)
        kept.update(some)
    return [v for v in hypotheses if v in kept]


def _refuted(
    traces: Sequence[Trace], spec: Spec, variant: Mapping[str, str], profile: Profile
) -> list[list[Refuted]]:
    """For each trace and block, the elements at which ``variant`` fails.

    Those that start from NaN or an infinity are left out as long as there are others: little is
    decided from there on, by whatever variant.
    """
    judged = [judge(trace, spec, variant, profile=profile) for trace in traces]
    every: list[list[Refuted]] = [
        [{n: j.failed for n, j in part.outputs.items()} for part in parts] for parts in judged
    ]
    plain: list[list[Refuted]] = [
        [{n: mask & _finite(part.block) for n, mask in masks.items()} for part, masks in pairs]
        for pairs in (zip(p, m, strict=True) for p, m in zip(judged, every, strict=True))
    ]
    some = any(mask.any() for parts in plain for masks in parts for mask in masks.values())
    return plain if some else every


def _same_programs(
    trace: Trace, spec: Spec, hypotheses: Sequence[Variant]
) -> Iterable[list[Variant]]:
    """The hypotheses that run the same equations in every step of a trace, together."""
    conditions = all_conditions(spec)
    settings = {
        frozenset(c for c in conditions if expr.holds(c, row.scalars)): row
        for rows in trace.rows.values()
        for row in rows
    }
    alike: dict[object, list[Variant]] = {}
    for v in hypotheses:
        programs = (
            program(spec, dict(v), r.scalars, int(r.scalars["t"])) for r in settings.values()
        )
        alike.setdefault(tuple(tuple(p.outputs.items()) for p in programs), []).append(v)
    return alike.values()


def _explains_freely(
    trace: Trace, spec: Spec, v: Variant, profile: Profile, refuted: Sequence[Refuted] | None
) -> bool:
    judged = free_judge(trace, spec, dict(v), profile=profile)
    if any(j.failed.any() for part in judged for j in part.outputs.values()):
        return False
    return refuted is None or not any(
        _explains_nothing(mask["p"], part.outputs["p"].outcome.undecided)
        for mask, part in zip(refuted, judged, strict=False)
    )


def _in_sight(trace: Trace, spec: Spec) -> bool:
    return blocks(trace, spec, spec.variant({})) is not None


def _explains_nothing(refuted: NDArray[np.bool_], undecided: NDArray[np.bool_]) -> bool:
    return bool(refuted.any()) and bool(undecided[refuted].all())


def _finite(block: Block) -> NDArray[np.bool_]:
    """The elements that start a step from finite numbers."""
    with_all = [np.isfinite(x) for x in block.steps.start.values()]
    finite: NDArray[np.bool_] = np.logical_and.reduce(with_all)
    return finite


def _narrow(block: Block, refuted: Refuted) -> Block:
    """A block with some of its columns: spread over all of them, and what is refuted."""
    steps = block.steps
    width = steps.start["p"].shape[1]
    if width <= COLUMNS:
        return block
    spread = np.linspace(0, width - 1, COLUMNS).astype(np.intp)
    failed = [np.flatnonzero(mask.any(axis=0))[:COLUMNS] for mask in refuted.values()]
    at = np.unique(np.concatenate([spread, *failed]))
    off = steps.start_error
    fewer = Steps(
        steps.scalars,
        {n: x[:, at] for n, x in steps.start.items()},
        {n: x[:, at] for n, x in steps.observed.items()},
        None if off is None else {n: x[:, at] for n, x in off.items()},
    )
    return Block(fewer, block.place)


def _narrow_trace(trace: Trace) -> Trace:
    """A trace with a few columns of each parameter."""

    def cut(row: Row) -> Row:
        n = row.grad.size
        at = np.unique(np.linspace(0, n - 1, min(n, COLUMNS // 4)).astype(np.intp))
        return Row(
            row.step,
            row.scalars,
            row.grad[at],
            {k: x[at] for k, x in row.start.items()},
            {k: x[at] for k, x in row.observed.items()},
        )

    rows = {key: [cut(r) for r in some] for key, some in trace.rows.items() if some[0].grad.size}
    return Trace(trace.scenario, rows, visible=False)


def _survivors(
    block: Block,
    refuted: Refuted,
    spec: Spec,
    hypotheses: Sequence[Variant],
    trace: Trace,
    profile: Profile,
) -> list[Variant]:
    """Output by output, states first; each distinct equation is evaluated once."""
    fmt = FORMATS[trace.scenario.dtype]
    programs = {v: program_of(block, spec, dict(v)) for v in hypotheses}
    left = list(hypotheses)
    names = dict.fromkeys(n for p in programs.values() for n in p.outputs)
    for name in sorted(names, key=lambda n: n == "p"):
        by_node: dict[int, list[Variant]] = {}
        for v in left:
            if name in programs[v].outputs:
                by_node.setdefault(programs[v].outputs[name], []).append(v)
        if not by_node:
            continue
        representatives = [programs[some[0]] for some in by_node.values()]
        answers = outcomes(block.steps, representatives, fmt=fmt, profile=profile, only=[name])
        for some, answer in zip(by_node.values(), answers, strict=True):
            failed = compared(block.steps, answer)[name].failed.any()
            if name in refuted:
                failed |= _explains_nothing(refuted[name], answer[name].undecided)
            if failed:
                out = set(some)
                left = [v for v in left if v not in out]
        if not left:
            break
    return left


def same_formula(spec: Spec, a: Variant, b: Variant, traces: Sequence[Trace]) -> bool:
    """Whether two variants give the same exact values on every trace, not only within the bound.

    Labels of one formula (SGD: ``l2-after-momentum`` and ``decoupled``) agree to the last digits of
    the oracle's own arithmetic, wherever it looks.
    """
    if states_of(spec, dict(a)) != states_of(spec, dict(b)):
        return False
    for trace in traces:
        for block in blocks(trace, spec, dict(a)) or []:
            p, q = (program_of(block, spec, dict(v)) for v in (a, b))
            if p.outputs == q.outputs:
                continue
            if set(p.outputs) != set(q.outputs):
                return False
            fmt = FORMATS["float32"]
            first, second = outcomes(block.steps, [p, q], fmt=fmt, profile=Profile())
            for name in p.outputs:
                x, y = first[name].value, second[name].value
                with np.errstate(all="ignore"):
                    scale = np.maximum(np.abs(x), np.abs(y)) + np.abs(block.steps.start["p"])
                    apart = np.abs(x - y) > 1e3 * np.finfo(np.float64).eps * scale
                if (apart & ~first[name].undecided & ~second[name].undecided).any():
                    return False
    return True
