"""What the bound needs to know of a graph before any number is looked at."""

import functools
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from ..expr import Graph, Index, Input, Let, Product, Root, Sum, children, reachable
from .scalars import Scalars

Scaled = frozenset[tuple[float, Index]]
Folds = Mapping[Index, tuple[Scaled, Scaled]]
"""Denominator -> the (exponent, scalar) pairs around it and inside it that may scale it."""


@functools.lru_cache(maxsize=4096)
def frontier(graph: Graph, outputs: tuple[Index, ...]) -> tuple[Index, ...]:
    """The scalars that meet a tensor somewhere below ``outputs``."""
    found: dict[Index, None] = {}
    for i in reachable(graph, outputs):
        if not graph.scalar[i]:
            found.update((j, None) for j in children(graph.nodes[i]) if graph.scalar[j])
    return tuple(found)


def complements(graph: Graph) -> Mapping[Index, Index]:
    """b -> the node 1 - b, where the graph has both."""
    return _complements(graph, len(graph.nodes))


@functools.lru_cache(maxsize=256)
def _complements(graph: Graph, _size: int) -> Mapping[Index, Index]:
    found: dict[Index, Index] = {}
    for i, node in enumerate(graph.nodes):
        if isinstance(node, Sum) and len(node.terms) == 2 and graph.scalar[i]:
            (sign, first), (other_sign, second) = node.terms
            if sign == 1 and other_sign == -1 and graph.is_const(first, 1):
                found[second] = i
    return found


@functools.cache
def divides(graph: Graph, i: Index) -> bool:
    """Whether a tensor denominator stands at or below node ``i``."""
    node = graph.nodes[i]
    if graph.scalar[i]:
        return False
    if isinstance(node, Product) and any(e < 0 and not graph.scalar[j] for e, j in node.factors):
        return True
    return any(divides(graph, j) for j in children(node))


@functools.lru_cache(maxsize=4096)
def folds(graph: Graph, outputs: tuple[Index, ...]) -> Folds:
    """Rule 4 of the bound, for the program with these outputs."""
    found: dict[Index, tuple[set[tuple[float, Index]], set[tuple[float, Index]]]] = {}
    seen: set[tuple[Index, Scaled]] = set()

    def inside(i: Index, out: set[tuple[float, Index]], power: float = 1.0) -> None:
        """Scalars that multiply a term of a denominator; out of a root they come as their root."""
        node = graph.nodes[i]
        if graph.scalar[i] or isinstance(node, Input):
            return
        if isinstance(node, Product):
            out.update((e * power, j) for e, j in node.factors if graph.scalar[j])
        if isinstance(node, Root):
            power /= 2
        for j in children(node):
            inside(j, out, power)

    def brought(i: Index, out: set[tuple[float, Index]]) -> None:
        """Scalars that a factor brings along when it is distributed."""
        node = graph.nodes[i]
        if graph.scalar[i] or isinstance(node, Input | Root):
            return
        if isinstance(node, Product):
            out.update((e, j) for e, j in node.factors if graph.scalar[j])
            for e, j in node.factors:
                if e > 0:
                    brought(j, out)
        else:
            for j in children(node):
                brought(j, out)

    def walk(i: Index, around: Scaled) -> None:
        if graph.scalar[i] or (i, around) in seen:
            return
        seen.add((i, around))
        node = graph.nodes[i]
        if isinstance(node, Product):
            along: set[tuple[float, Index]] = set()
            brought(i, along)
            here = around | along
            for e, j in node.factors:
                if e < 0 and not graph.scalar[j]:
                    fold = found.setdefault(j, (set(), set()))
                    fold[0].update(here)
                    inside(j, fold[1])
                    walk(j, frozenset())
                else:
                    walk(j, here)
        else:
            below = around if isinstance(node, Let | Sum) else frozenset()
            for j in children(node):
                walk(j, below)

    for output in outputs:
        walk(output, frozenset())
    return {i: (frozenset(a), frozenset(b)) for i, (a, b) in found.items()}


OPEN = 3.0  # largest condition number of a scalar sum that may be opened (rule 6)


def opened(graph: Graph, i: Index) -> tuple[Index, Index] | None:
    """The two parts of a scalar sum, or 1 and 1 - b for a scalar b; None where there are none."""
    node = graph.nodes[i]
    if isinstance(node, Sum) and len(node.terms) == 2:
        return node.terms[0][1], node.terms[1][1]
    other = complements(graph).get(i)
    return None if other is None else (graph.const(1), other)


def blocks(scalars: Scalars, nodes: Iterable[Index]) -> list[NDArray[np.intp]]:
    """Rows grouped so that in each group every scalar is zero in all rows or in none, and one in
    all rows or in none: the bound counts terms and roundings once for the group."""
    codes = []
    for i in nodes:
        x = scalars[i]
        exact = x.error == 0
        code = 1 * ((x.value == 0) & exact) + 2 * ((x.value == 1) & exact) + 4 * (x.value < 0)
        parts = opened(scalars.graph, i)
        if parts is not None:
            a, b = (np.abs(scalars[j].value) for j in parts)
            code = code + 8 * (a + b <= OPEN * np.abs(x.value)) + 16 * ((a == 0) | (b == 0))
        codes.append(code)
    rows = len(scalars.rows)
    if not codes or rows == 1:
        return [np.arange(rows)]
    table = np.stack(codes, axis=1)
    if (table == table[0]).all():
        return [np.arange(rows)]
    _, which = np.unique(table, axis=0, return_inverse=True)
    which = which.reshape(-1)
    return [np.flatnonzero(which == k) for k in range(which.max() + 1)]
