"""Contracts at the edges of what a tensor may be: huge, oddly shaped, no longer numbers.

The equations act element by element: neither the elements beside it nor the shape that they are in
say anything of how one moves.
"""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace

import numpy as np

from ..edits import isolated, with_values
from ..expr import Absolute, Graph, Index, Input, Let, Maximum, Product, Root, Sum
from ..implementation import Floats
from ..oracle.scalars import Scalars
from ..scenario import Param, Scenario
from ..spec import program
from ..trace import Trace
from .bench import Bench, Breach, Miss, Raised, param
from .contract import NotApplicable, is_refusal

SHAPES = ((65_553,), (130, 257), (1, 33), (33, 1), (3, 1, 5), (2, 3, 3, 3))
"""More elements than a chunk of any kernel or a thread of any CPU takes, and than is left alone by
what compresses large states; a matrix that has blocks, and a remainder each way; a row, a column
and filters, which are no matrices."""

USUAL = (129,)
"""A shape like those that are drawn: where it is wrong, lockstep has told so."""

HURT = 1, (0, 0, 8)
"""The step, from 0, and the group, parameter and element of a gradient that is no number."""

Shape = tuple[int, ...]


def shapes(bench: Bench) -> Breach | None:
    def tiled(seed: int, shape: Shape) -> Param:
        return param(seed, *shape, grad="tiled", init="tiled")

    def fault(shape: Shape) -> tuple[Miss, Scenario, Scenario] | None:
        """An element that is wrong in this shape and right alone."""
        whole = bench.scenario([tiled(1, shape)], steps=2)
        for miss in bench.misses(bench.run(whole)):
            alone = isolated(whole, 0, 0, miss.index)
            if bench.right(alone):
                return miss, whole, alone
        return None

    if not bench.right(bench.scenario([tiled(1, USUAL)], steps=2)):
        return None
    together = bench.scenario([tiled(k, s) for k, s in enumerate(SHAPES)], steps=2)
    if not bench.misses(bench.run(together)):
        return None
    for shape in SHAPES:
        if fault(shape) is None:
            continue
        flat = (math.prod(shape),)
        least = _least(flat if fault(flat) is not None else shape, lambda s: fault(s) is not None)
        found = fault(least)
        assert found is not None
        miss, whole, alone = found
        return Breach(
            f"in a tensor of shape {least}, {miss}, and is right alone",
            {f"in shape {least}": whole, "alone": alone},
        )
    return None


def _least(shape: Shape, fails: Callable[[Shape], bool]) -> Shape:
    """The shape with each side as short as still fails."""
    for k in range(len(shape)):
        low, high = 0, shape[k]
        while high - low > 1:
            middle = (low + high) // 2
            if fails((*shape[:k], middle, *shape[k + 1 :])):
                high = middle
            else:
                low = middle
        shape = (*shape[:k], high, *shape[k + 1 :])
    return shape


def nonfinite(bench: Bench) -> Breach | None:
    normal = [param(k, size, grad="normal") for k, size in enumerate((17, 5, 9))]
    whole = with_values(bench.scenario(normal[:2], normal[2:], steps=4))
    alone = with_values(bench.scenario([param(0, 9, grad="normal")], steps=2))
    if not bench.right(whole):
        return None
    for value in (math.nan, math.inf):
        said, plain = _said(bench, whole, value), whole
        if not said:
            continue
        if short := _said(bench, alone, value):
            said, plain = short, alone
        _, (g, k, i) = HURT
        where = f"element {i} of parameter {k} of group {g}"
        return Breach(
            f"with {value} as the gradient of {where} in step {HURT[0] + 1}, {said}",
            {f"with {value}": _hurt(plain, value), "without": plain},
        )
    return None


def _said(bench: Bench, plain: Scenario, value: float) -> str:
    """What is wrong with ``value`` as a gradient, in words; "" if nothing is."""
    try:
        trace = bench.run(_hurt(plain, value))
    except Raised as e:
        if not is_refusal(e.trace.crash):
            raise
        raise NotApplicable("it refuses a gradient that is no number") from None
    if math.isnan(value) and (hidden := next(_hidden(bench, trace), "")):
        return hidden
    spread = bench.misses(_without(trace))
    return f"elements whose gradients are numbers change: {spread[0]}" if spread else ""


def _hurt(scenario: Scenario, value: float) -> Scenario:
    """The scenario, whose values are written out, with ``value`` as one of its gradients."""
    step, (group, k, i) = HURT
    some = scenario.groups[group]
    p = some.params[k]
    rows = list(p.grad.values)
    rows[step] = (*rows[step][:i], value, *rows[step][i + 1 :])
    hurt = replace(p, grad=replace(p.grad, values=tuple(rows)))
    changed = replace(some, params=(*some.params[:k], hurt, *some.params[k + 1 :]))
    groups = (*scenario.groups[:group], changed, *scenario.groups[group + 1 :])
    return replace(scenario, groups=groups)


def _hidden(bench: Bench, trace: Trace) -> Iterator[str]:
    """The tensors that are still numbers where every way to compute them gives NaN."""
    step, (group, k, i) = HURT
    lost: Collection[str] = ("grad",)
    for row in trace.rows[group, k][step:]:
        straight = program(bench.spec, bench.follows, row.scalars, int(row.scalars["t"]))
        scalars = Scalars(straight.graph, [row.scalars], bench.profile)
        lost = [
            n for n, out in straight.outputs.items() if _nan(straight.graph, out, lost, scalars)
        ]
        titles = {"p": "param", **{s.name: s.torch_name for s in straight.states}}
        for name in lost:
            if name in row.observed and not math.isnan(row.observed[name][i]):
                value = float(row.observed[name][i])
                yield f"its {titles[name]} is {value!r} after step {row.step + 1}, and not NaN"


def _nan(graph: Graph, i: Index, lost: Collection[str], scalars: Scalars) -> bool:
    """Whether a node is NaN however it is computed, where the inputs ``lost`` are.  A maximum may
    be taken of what is left, the sign of NaN may be zero, and nobody multiplies by zero."""
    if graph.scalar[i]:
        return False

    def go(j: Index) -> bool:
        return _nan(graph, j, lost, scalars)

    match graph.nodes[i]:
        case Input(name):
            return name in lost
        case Let(_, forms):
            return all(go(j) for j in forms)
        case Sum(terms):
            return any(go(j) for _, j in terms)
        case Product(factors):
            counts = all(scalars[j].slack[0] > 0 for _, j in factors if graph.scalar[j])
            return counts and any(go(j) for _, j in factors)
        case Root(j) | Absolute(j):
            return go(j)
        case Maximum(j, k):
            return go(j) and go(k)
    return False


def _without(trace: Trace) -> Trace:
    """The trace without the element that was hurt."""
    _, (group, k, i) = HURT

    def cut(given: Mapping[str, Floats]) -> dict[str, Floats]:
        return {n: np.delete(x, i) for n, x in given.items()}

    rows = [
        replace(r, grad=np.delete(r.grad, i), start=cut(r.start), observed=cut(r.observed))
        for r in trace.rows[group, k]
    ]
    return replace(trace, rows={**trace.rows, (group, k): rows})
