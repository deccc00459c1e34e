"""A side's equations run for many steps, in extended precision, for many settings at once.

This is no judge: it says where trajectories go, not how far a faithful implementation may be.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import expr
from ..expr import (
    Absolute,
    Const,
    Graph,
    Hyper,
    Index,
    Input,
    Let,
    Maximum,
    Power,
    Product,
    Root,
    Sign,
    Sum,
)
from ..interpreter import Machine
from ..spec import Hypers

Real = np.longdouble
Array = NDArray[np.longdouble]

Gradients = Callable[[int], NDArray[np.float64]]
"""The gradient of step t (from 1), one number for each element."""


def march(
    m: Machine,
    settings: Sequence[Hypers],
    start: NDArray[np.float64],
    gradients: Gradients,
    *,
    at: Sequence[int],
    halvings: Sequence[int] = (),
) -> Array:
    """The parameters after the steps ``at``: an array of shape (steps, settings, elements).

    Every setting runs from ``start`` on the same gradients; ``halvings`` lists the steps after
    which lr is halved.
    """
    out = np.empty((len(at), len(settings), start.size), Real)
    tested = set().union(*(expr.names(expr.parse(c, where="")) for c in m.conditions))
    if "lr0" in tested:
        tested.add("lr")
    alike: dict[tuple[Any, ...], list[int]] = {}
    for k, hyper in enumerate(settings):
        key = tuple(hyper[n] for n in sorted(tested) if n in hyper)
        alike.setdefault(key, []).append(k)
    with np.errstate(all="ignore"):
        for members in alike.values():
            some = [settings[k] for k in members]
            _run(m, some, start, gradients, at, halvings, out, members)
    return out


def _run(
    m: Machine,
    settings: Sequence[Hypers],
    start: NDArray[np.float64],
    gradients: Gradients,
    at: Sequence[int],
    halvings: Sequence[int],
    out: Array,
    members: Sequence[int],
) -> None:
    """Settings in which the same conditions hold, whatever t is."""
    shape = (len(settings), start.size)
    scalars: dict[str, Array] = {
        n: np.array([[float(s[n])] for s in settings], Real) for n in settings[0]
    }
    scalars["lr0"] = scalars.get("lr", np.zeros((len(settings), 1), Real))
    conditions = m.conditions
    tensors: dict[str, Array] = {"p": np.broadcast_to(start.astype(Real), shape)}
    for t in range(1, max(at) + 1):
        if t - 1 in halvings and "lr" in scalars:
            scalars["lr"] = scalars["lr"] / 2
        scalars["t"] = np.array([[t]], Real)
        settled = {**settings[0], "t": t, "lr0": float(scalars["lr0"][0, 0])}
        if "lr" in scalars:
            settled["lr"] = float(scalars["lr"][0, 0])
        outputs = m.settled(frozenset(c for c in conditions if expr.holds(c, settled)))
        if t == 1:
            inits = evaluated(m.graph, m.inits, scalars, {})
            tensors |= {n: np.broadcast_to(x, shape) for n, x in inits.items()}
        tensors["grad"] = gradients(t).astype(Real)[None, :]
        tensors |= evaluated(m.graph, outputs, scalars, tensors)
        for k, step in enumerate(at):
            if step == t:
                out[k, members] = tensors["p"]


def evaluated(
    graph: Graph,
    outputs: Mapping[str, Index],
    scalars: Mapping[str, Array],
    tensors: Mapping[str, Array],
) -> dict[str, Array]:
    """Nodes as arrays: scalars of shape (settings, 1), tensors of shape (settings, elements)."""
    memo: dict[Index, Any] = {}

    def go(i: Index) -> Any:
        if i not in memo:
            memo[i] = compute(i)
        return memo[i]

    def compute(i: Index) -> Any:
        match graph.nodes[i]:
            case Hyper(name):
                return scalars[name]
            case Const(x):
                return Real(str(x.numerator)) / Real(str(x.denominator))
            case Input(name):
                return tensors[name]
            case Let(_, forms):
                return go(forms[0])
            case Sum(terms):
                total = Real(0)
                for sign, j in terms:
                    total = total + go(j) if sign > 0 else total - go(j)
                return total
            case Product(factors):
                product = Real(1)
                for exponent, j in factors:
                    product = product * go(j) if exponent > 0 else product / go(j)
                return product
            case Power(base, exponent):
                return go(base) ** go(exponent)
            case Root(j):
                return np.sqrt(go(j))
            case Maximum(j, k):
                return np.maximum(go(j), go(k))
            case Absolute(j):
                return np.abs(go(j))
            case Sign(j):
                return np.sign(go(j))
            case node:
                raise TypeError(f"{type(node).__name__} is still open")

    return {name: go(i) for name, i in outputs.items()}
