"""Error against bound, step by step: the largest ratio of each tensor as a small plot."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from optconform.reports.view import Json, number_of

WIDE, HIGH, LEFT, TOP, RIGHT, FOOT = 520, 200, 66, 12, 12, 30
NEAR = 16  # to the line of the bound: a label there would lie on its own
GAP = 24  # between the largest power and infinity
MOST = 64  # steps that are drawn and listed


@dataclass(frozen=True, slots=True)
class Line:
    """One tensor: its ratios as they are, and its points in the plot."""

    tensor: str
    ratios: list[float]
    points: list[tuple[float, float]]

    @property
    def path(self) -> str:
        return " ".join(f"{x},{y}" for x, y in self.points)


@dataclass(frozen=True, slots=True)
class Plot:
    """Lines over steps from 1; ``ticks`` are ratios with their height, ``one`` is that of the
    bound, ``infinity`` that of what no number of the axis says, where it occurs."""

    lines: list[Line]
    steps: list[tuple[int, float]]
    ticks: list[tuple[str, float]]
    one: float
    infinity: float | None
    above: bool
    left: float = LEFT
    right: float = WIDE - RIGHT


def plot(tensors: Mapping[str, Json]) -> Plot | None:
    """The plot of what a result's tensors hold as ``ratio_by_step``; None where they hold none."""
    found: dict[str, list[float]] = {}
    for name, about in tensors.items():
        listed = about.get("ratio_by_step")
        numbers = [number_of(x) for x in listed[:MOST]] if isinstance(listed, list) else []
        clean = [x for x in numbers if x is not None and not math.isnan(x) and x >= 0]
        if clean and len(clean) == len(numbers):
            found[name] = clean
    finite = [math.log10(x) for row in found.values() for x in row if 0 < x < math.inf]
    if not finite:
        return None
    low, high = math.floor(min(*finite, -1)), max(math.ceil(max(finite)), 1)
    low = max(low, -4)
    count = max(map(len, found.values()))

    def x(step: int) -> float:
        share = (step - 1) / (count - 1) if count > 1 else 0.5
        return round(LEFT + share * (WIDE - LEFT - RIGHT), 1)

    infinite = any(math.isinf(r) for row in found.values() for r in row)
    top = TOP + GAP if infinite else TOP

    def y(power: float) -> float:
        share = (min(max(power, low), high) - low) / (high - low)
        return round(HIGH - FOOT - share * (HIGH - FOOT - top), 1)

    def height(ratio: float) -> float:
        return TOP if ratio == math.inf else y(low if ratio == 0 else math.log10(ratio))

    every = max(1, math.ceil((high - low) / 5))
    apart = max(1, math.ceil(count / 12))
    return Plot(
        lines=[
            Line(name, row, [(x(k), height(r)) for k, r in enumerate(row, 1)])
            for name, row in found.items()
        ],
        steps=[(k, x(k)) for k in range(1, count + 1, apart)],
        ticks=[
            (f"{10.0**e:g}", y(e)) for e in range(high, low - 1, -every) if abs(y(e) - y(0)) > NEAR
        ],
        one=y(0),
        infinity=TOP if infinite else None,
        above=infinite or max(finite) > 0,
    )
