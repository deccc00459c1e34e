"""How much a record rests on: what was drawn, what of it could decide, which regimes it reached."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from optconform.reports.view import Json, as_map, matrix_of, number_of, text


@dataclass(frozen=True, slots=True)
class Row:
    """One implementation, all its dtypes together."""

    spec: str
    implementation: str
    scenarios: int
    steps: int
    checks: int
    undecided: int
    vacuous: int
    regimes: int
    told_apart: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Regime:
    """A numerical situation: the cells that met it, and for how many element-steps."""

    name: str
    cells: int
    of: int
    steps: int


def _sum(some: Sequence[Json], key: str) -> int:
    numbers = [number_of(one.get(key)) for one in some]
    return int(sum(x for x in numbers if x is not None and math.isfinite(x)))


def rows(record: Json, results: Sequence[Json]) -> list[Row]:
    """Spec by spec, in the order of the matrix."""
    out = []
    for spec, by_name in matrix_of(record, results).items():
        for (name, _, _), cells in by_name.items():
            some = [results[n] for positions in cells.values() for n in positions]
            checks = [as_map(r.get("checks")) for r in some]
            if not _sum(checks, "total"):
                continue
            near = [as_map(r.get("neighbours")) for r in some]
            sizes = {k: max(map(_length, (n.get(k) for n in near))) for k in ("apart", "open")}
            seconds = sum(x for r in some if (x := number_of(r.get("seconds"))) and x < math.inf)
            met = {k for r in some for k, v in as_map(r.get("regimes")).items() if v}
            out.append(
                Row(
                    spec=spec,
                    implementation=name,
                    scenarios=_sum(checks, "scenarios"),
                    steps=_sum(checks, "steps"),
                    checks=_sum(checks, "total"),
                    undecided=_sum(checks, "undecided"),
                    vacuous=_sum(checks, "vacuous"),
                    regimes=len(met - {"element-steps"}),
                    told_apart=f"{sizes['apart']} of {sizes['apart'] + sizes['open']}"
                    if any(near)
                    else "—",
                    seconds=seconds,
                )
            )
    return out


def _length(value: object) -> int:
    return len(value) if isinstance(value, list) else 0


def regimes(results: Sequence[Json]) -> list[Regime]:
    """Every regime that some cell met, the rarest first."""
    maps = [as_map(r.get("regimes")) for r in results]
    judged = [m for m in maps if m]
    names = dict.fromkeys(text(k) for m in judged for k in m if k != "element-steps")
    found = [
        Regime(name, sum(bool(m.get(name)) for m in judged), len(judged), _sum(judged, name))
        for name in names
    ]
    return sorted(found, key=lambda r: (r.cells, r.steps))
