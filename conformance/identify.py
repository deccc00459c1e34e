"""Which variant and which precision profile does an implementation follow?

Every combination of axis values is a hypothesis; a trace rejects those whose bound it leaves.
Hypotheses share a graph, so one that differs in a single equation costs that equation.
"""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .errors import SpecError
from .formats import FORMATS
from .lockstep import Block, Trace, blocks, compared, free_judge, judge, program_of
from .oracle.judge import outcomes
from .oracle.scalars import PROFILES, Profile
from .spec import Spec, states_of

Variant = tuple[tuple[str, str], ...]

NUMBERS = ("0.1",)
"""Values tried on axes that take any number (0.1 is the accumulator of TensorFlow's Adagrad)."""


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


def identify(
    traces: Sequence[Trace],
    spec: Spec,
    *,
    profiles: Iterable[Profile] = PROFILES,
    instead_of: Mapping[str, str] | None = None,
) -> Identification:
    """The variants that explain ``traces``, under the first of ``profiles`` that leaves any.

    With ``instead_of``, a variant that the traces refute, an explanation must also decide the
    elements that refute it: to be undecided there explains nothing.
    """
    every = lattice(spec)
    profile = Profile()
    for profile in profiles:
        left = every
        for trace in traces:
            left = accepted(trace, spec, left, profile)
            if not left:
                break
        if instead_of is not None:
            left = [v for v in left if _decides(v, traces, spec, instead_of, profile)]
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


def accepted(trace: Trace, spec: Spec, hypotheses: Sequence[Variant], profile: Profile) -> list[Variant]:
    """The hypotheses that ``trace`` does not reject."""
    left = list(hypotheses)
    by_init: dict[tuple[tuple[str, str], ...], list[Variant]] = {}
    for v in left:
        inits = tuple((n, s.init) for n, s in states_of(spec, dict(v)).items())
        by_init.setdefault(inits, []).append(v)
    kept: set[Variant] = set()
    for some in by_init.values():
        found = blocks(trace, spec, dict(some[0]))
        if found is None:
            kept.update(
                v
                for v in some
                if not any(
                    j.failed.any()
                    for part in free_judge(trace, spec, dict(v), profile=profile)
                    for j in part.outputs.values()
                )
            )
            continue
        for block in sorted(found, key=lambda b: b.steps.start["p"].size):
            some = _survivors(block, spec, some, trace, profile)
        kept.update(some)
    return [v for v in left if v in kept]


def _survivors(
    block: Block, spec: Spec, hypotheses: Sequence[Variant], trace: Trace, profile: Profile
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
            if compared(block.steps, answer)[name].failed.any():
                out = set(some)
                left = [v for v in left if v not in out]
        if not left:
            break
    return left


def _decides(
    v: Variant, traces: Sequence[Trace], spec: Spec, refuted: Mapping[str, str], profile: Profile
) -> bool:
    """Whether ``v`` decides every element at which the variant ``refuted`` fails."""
    for trace in traces:
        before = judge(trace, spec, refuted, profile=Profile())
        after = judge(trace, spec, dict(v), profile=profile)
        for old, new in zip(before, after, strict=True):
            for name in set(old.outputs) & set(new.outputs):
                failed = old.outputs[name].failed
                if (failed & new.outputs[name].outcome.undecided).any():
                    return False
    return True


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
