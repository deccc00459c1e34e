"""Which hypotheses a trace admits: those whose bound it does not leave.

Hypotheses share a graph, so one that differs in a single equation costs that equation.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from . import expr
from .formats import FORMATS
from .lattice import Variant
from .lockstep import Block, Judged, blocks, compared, first_steps, free_judge, judge, program_of
from .oracle.judge import Steps, outcomes
from .oracle.scalars import Profile
from .spec import Spec, all_conditions, program, states_of
from .trace import Row, Trace

Refuted = Mapping[tuple[str, int, int, int], NDArray[np.bool_]]
"""(output, step event, group, param) -> the elements at which another variant fails."""

Admitted = dict[Variant, frozenset[str]]
"""A hypothesis that is left -> the outputs for which it decides a refuted element."""

FEW = 8  # hypotheses that are tried on whole traces at once
COLUMNS = 48
BEGIN = 2  # steps


def admitted(
    trace: Trace,
    spec: Spec,
    hypotheses: Sequence[Variant],
    profile: Profile,
    *,
    refuted: Refuted | None = None,
) -> Admitted:
    """The hypotheses that ``trace`` does not reject, in their order.

    With ``refuted``, each with the outputs for which it decides some of these elements; an output
    that a hypothesis does not have counts as decided.
    """
    refuted = refuted or {}
    by_init: dict[tuple[tuple[str, str], ...], list[Variant]] = {}
    for v in hypotheses:
        inits = tuple((n, s.init) for n, s in states_of(spec, dict(v)).items())
        by_init.setdefault(inits, []).append(v)
    kept: Admitted = {}
    for some in by_init.values():
        found = blocks(trace, spec, dict(some[0]))
        if found is None:
            few = _narrow_trace(trace, refuted)
            if len(some) > FEW:
                some = _after_one_step(few, spec, some, profile)
            for alike in _same_programs(trace, spec, some):
                first = alike[0]
                if len(some) > FEW and _explains_freely(few, spec, first, profile, {}) is None:
                    continue
                decided = _explains_freely(trace, spec, first, profile, refuted)
                if decided is not None:
                    kept.update(dict.fromkeys(alike, decided))
            continue
        with_masks = sorted(
            ((b, _masks(b, refuted)) for b in found), key=lambda b: b[0].steps.start["p"].size
        )
        if len(some) > FEW:  # most fall on a few columns; only the rest see everything
            for block, masks in with_masks:
                some = list(_survivors(_narrow(block, masks), {}, spec, some, trace, profile))
        heard: Admitted = dict.fromkeys(some, frozenset())
        for block, masks in with_masks:
            decided_here = _survivors(block, masks, spec, list(heard), trace, profile)
            heard = {v: heard[v] | names for v, names in decided_here.items()}
        kept.update(heard)
    return {v: kept[v] for v in hypotheses if v in kept}


def _after_one_step(
    trace: Trace, spec: Spec, hypotheses: Sequence[Variant], profile: Profile
) -> list[Variant]:
    """Those that the parameters of each first step leave: it starts from known states, and so can
    be judged for all of them together."""
    firsts = first_steps(trace, states_of(spec, dict(hypotheses[0])))
    left = list(hypotheses)
    for block in blocks(firsts, spec, dict(hypotheses[0])) or ():
        left = list(_survivors(block, {}, spec, left, trace, profile, only=("p",)))
    return left


def refuted_by(
    traces: Sequence[Trace], spec: Spec, variant: Mapping[str, str], profile: Profile
) -> list[Refuted]:
    """For each trace, the elements at which ``variant`` fails.

    Those that start from NaN or an infinity are left out as long as there are others: little is
    decided from there on, by whatever variant.
    """
    every = []
    plain = []
    for trace in traces:
        judged = judge(trace, spec, variant, profile=profile)
        every.append(_failed(judged, finite=False))
        plain.append(_failed(judged, finite=True))
    return plain if any(plain) else every


def _failed(judged: Sequence[Judged], *, finite: bool) -> Refuted:
    """Where outputs fail; with ``finite`` only where the step started from finite numbers."""
    found: dict[tuple[str, int, int, int], NDArray[np.bool_]] = {}
    for part in judged:
        plain = _finite(part.block) if finite else True
        for name, j in part.outputs.items():
            for step, group, param, row, columns in _places(part.block):
                mask = (j.failed & plain)[row, columns]
                if mask.any():
                    found[name, step, group, param] = mask
    return found


def _masks(block: Block, refuted: Refuted) -> dict[str, NDArray[np.bool_]]:
    """The refuted elements of a block, for each output that has any."""
    masks: dict[str, NDArray[np.bool_]] = {}
    places = list(_places(block))
    for name in {name for name, *_ in refuted}:
        mask = np.zeros(block.steps.start["p"].shape, bool)
        for step, group, param, row, columns in places:
            if (name, step, group, param) in refuted:
                mask[row, columns] = refuted[name, step, group, param]
        if mask.any():
            masks[name] = mask
    return masks


def _places(block: Block) -> Iterator[tuple[int, int, int, int, slice]]:
    """(step event, group, param, row, columns) of each parameter in each step of a block."""
    for row, step in enumerate(block.place.steps):
        left = 0
        for (group, param), size in zip(block.place.params, block.place.sizes, strict=True):
            yield step, group, param, row, slice(left, left + size)
            left += size


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
    trace: Trace, spec: Spec, v: Variant, profile: Profile, refuted: Refuted
) -> frozenset[str] | None:
    """The outputs for which ``v``, running freely, decides a refuted element, or None when the
    trace rejects it.  Parameters are all that is looked at."""
    judged = free_judge(trace, spec, dict(v), profile=profile)
    if any(j.failed.any() for part in judged for j in part.outputs.values()):
        return None
    decided = {name for name, *_ in refuted if name != "p"}
    for part in judged:
        mask = _masks(part.block, refuted).get("p")
        if mask is not None and (mask & ~part.outputs["p"].outcome.undecided).any():
            decided.add("p")
    return frozenset(decided)


def _finite(block: Block) -> NDArray[np.bool_]:
    """The elements that start a step from finite numbers."""
    with_all = [np.isfinite(x) for x in block.steps.start.values()]
    finite: NDArray[np.bool_] = np.logical_and.reduce(with_all)
    return finite


def _narrow(block: Block, masks: Mapping[str, NDArray[np.bool_]]) -> Block:
    """A block with some of its columns: spread over all of them, and what is refuted."""
    steps = block.steps
    width = steps.start["p"].shape[1]
    if width <= COLUMNS:
        return block
    spread = np.linspace(0, width - 1, COLUMNS).astype(np.intp)
    failed = [np.flatnonzero(mask.any(axis=0))[:COLUMNS] for mask in masks.values()]
    at = np.unique(np.concatenate([spread, *failed]))
    off = steps.start_error
    fewer = Steps(
        steps.scalars,
        {n: x[:, at] for n, x in steps.start.items()},
        {n: x[:, at] for n, x in steps.observed.items()},
        None if off is None else {n: x[:, at] for n, x in off.items()},
    )
    return Block(fewer, block.place)


def _narrow_trace(trace: Trace, refuted: Refuted) -> Trace:
    """The first steps of a trace, with a few columns of each parameter, and some refuted ones."""

    def cut(key: tuple[int, int], row: Row) -> Row:
        n = row.grad.size
        spread = np.linspace(0, n - 1, min(n, COLUMNS // 4)).astype(np.intp)
        failed = [np.flatnonzero(x)[:FEW] for (_, _, *at), x in refuted.items() if (*at,) == key]
        at = np.unique(np.concatenate([spread, *failed]))
        return Row(
            row.step,
            row.scalars,
            row.grad[at],
            {k: x[at] for k, x in row.start.items()},
            {k: x[at] for k, x in row.observed.items()},
        )

    rows = {
        key: [cut(key, r) for r in some[:BEGIN]]
        for key, some in trace.rows.items()
        if some[0].grad.size
    }
    return Trace(trace.scenario, rows)


def _survivors(
    block: Block,
    masks: Mapping[str, NDArray[np.bool_]],
    spec: Spec,
    hypotheses: Sequence[Variant],
    trace: Trace,
    profile: Profile,
    only: Sequence[str] = (),
) -> Admitted:
    """Output by output, states first; each distinct equation is evaluated once."""
    fmt = FORMATS[trace.scenario.dtype]
    programs = {v: program_of(block, spec, dict(v)) for v in hypotheses}
    left = list(hypotheses)
    decided: dict[Variant, set[str]] = {
        v: {name for name in masks if name not in p.outputs} for v, p in programs.items()
    }
    names = only or dict.fromkeys(n for p in programs.values() for n in p.outputs)
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
            elif name in masks and (masks[name] & ~answer[name].undecided).any():
                for v in some:
                    decided[v].add(name)
        if not left:
            break
    return {v: frozenset(decided[v]) for v in left}
