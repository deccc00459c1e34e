"""Two records beside each other: what is new, fixed, changed or the same.

The page's script compares by the same rules (``templates/changes.js``), so that a second record can
be loaded there too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optconform.printing import visible
from optconform.reports import view
from optconform.reports.view import Json

KINDS = {
    "new": "conformed or was not at fault before, and is now",
    "fixed": "was at fault before, and conforms now",
    "changed": "says something else than before",
    "added": "was not judged before",
    "removed": "was judged before, and is not now",
    "same": "says what it said",
}
FAULTS = ("variant", "diverges", "error")
LONGEST = 300  # characters of a finding's sentence
NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?")


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one cell; ``was`` and ``now`` are None where it was not judged."""

    key: str
    kind: str
    was: Json | None
    now: Json | None


def keys(results: Sequence[Json]) -> list[str]:
    """A name for each result that another run gives it too: spec, implementation, dtype, and a
    number where these occur again."""
    seen: Counter[str] = Counter()
    out = []
    for r in results:
        key = visible("/".join(r[k][:LONGEST] for k in ("spec", "implementation", "dtype")))
        seen[key] += 1
        out.append(key if seen[key] == 1 else f"{key}/{seen[key]}")
    return out


def told(record: Mapping[str, Any]) -> dict[str, Any]:
    """What is compared of a record: for each cell its verdict, what it follows and its findings,
    these without their numbers."""
    results = view.read_results(record)
    cells = []
    for key, r in zip(keys(results), results, strict=True):
        found = view.as_maps(r.get("findings"))
        findings = [_masked(f) for f in found]
        axes = {a for x in (r, *({"variant": f.get("variant_match")} for f in found))
                for a in view.as_map(x.get("variant"))}  # fmt: skip
        deviations = {**view.as_map(r.get("variant")), **view.unusual(r.get("profile"))}
        cells.append(
            {
                "key": key,
                "verdict": r["verdict"],
                "follows": visible(view.pairs(deviations))[:LONGEST],
                "axes": sorted(visible(str(a)[:80]) for a in axes),
                "findings": sorted(set(findings)),
            }
        )
    return {"cells": cells, "versions": view.versions(record)}


def _masked(finding: Json) -> str:
    kind, summary = view.text(finding.get("kind")), view.text(finding.get("summary"))
    return visible(NUMBER.sub("#", f"{kind}: {summary}")[:LONGEST])


def changes(now: Mapping[str, Any], before: Mapping[str, Any]) -> list[Change]:
    """Every cell of both records; those of ``now`` first, in its order."""
    here = {c["key"]: c for c in told(now)["cells"]}
    there = {c["key"]: c for c in told(before)["cells"]}
    return [
        Change(key, _kind(there.get(key), here.get(key)), there.get(key), here.get(key))
        for key in dict.fromkeys([*here, *there])
    ]


def _kind(was: Json | None, now: Json | None) -> str:
    if was is None or now is None:
        return "added" if was is None else "removed"
    if all(was[k] == now[k] for k in ("verdict", "follows", "findings")):
        return "same"
    if now["verdict"] in FAULTS and was["verdict"] not in FAULTS:
        return "new"
    if was["verdict"] in FAULTS and now["verdict"] == "conforms":
        return "fixed"
    return "changed"
