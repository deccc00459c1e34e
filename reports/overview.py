"""Libraries against algorithms: how many cells of each conform, and which variants they follow."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from optconform.reports import view
from optconform.reports.view import VERDICTS, Json

Overview = dict[str, dict[str, list[Json]]]

EQUATIONS, CONTRACTS = "✗ equations", "✗ contracts only"


def overview_of(record: Json, results: Sequence[Json]) -> Overview:
    """Library and version → spec → its results; the specs in the order of the record."""
    specs = view.ordered(view.as_map(record.get("specs")), (r["spec"] for r in results))
    found: Overview = {}
    for result in results:
        release = f"{result.get('library') or ''} {result.get('version') or ''}".strip()
        found.setdefault(release, {spec: [] for spec in specs})[result["spec"]].append(result)
    return found


def kinds(results: Sequence[Json]) -> list[str]:
    """How many results there are of each kind, the best first.  What diverges is told apart: by
    its equations, or in contracts alone."""
    order = ["✓", "≈", CONTRACTS, EQUATIONS, "?", "!", "–"]
    counts = Counter(_kind(r) for r in results)
    return [f"{view.count(counts[kind])} {kind}" for kind in order if counts[kind]]


def _kind(result: Json) -> str:
    if result["verdict"] != "diverges":
        return VERDICTS[result["verdict"]].symbol
    findings = view.as_maps(result.get("findings"))
    return EQUATIONS if any(f.get("kind") == "numeric" for f in findings) else CONTRACTS


def followed(results: Sequence[Json]) -> list[str]:
    """The variants, other than the spec's own form, that a result of the library is found to
    follow, each once."""
    return [v for v in dict.fromkeys(view.pairs(r.get("variant")) for r in results) if v]
