"""What results come to: each in one sentence, and libraries against algorithms."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

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


def sentence(result: Json) -> str:
    """What it follows, and which contracts it breaks; the verdict's own meaning where the record
    does not tell more."""
    verdict = result["verdict"]
    if verdict not in ("variant", "diverges") or "variant" not in result:
        return VERDICTS[verdict].meaning
    other = view.pairs(view.departs(result))
    profile = view.pairs(view.unusual(result.get("profile")))
    breaks = _breaks(result) if verdict == "diverges" else ""
    if other:
        return f"Follows {other}, which it does not claim" + (f", and {breaks}." if breaks else ".")
    if result["variant"] is None and verdict == "diverges":
        unexplained = "No named variant explains what it computes"
        return unexplained + (f", and it {breaks}." if breaks else ".")
    if breaks:
        return f"Follows the equations that it claims, but {breaks}."
    if verdict == "variant" and profile:
        return f"Follows the equations that it claims, with {profile}, which it does not claim."
    return VERDICTS[verdict].meaning


def _breaks(result: Json) -> str:
    contracts = view.as_map(view.as_map(result.get("checks")).get("contracts"))
    broken = [str(name) for name, said in contracts.items() if view.text(said).startswith("broken")]
    for finding in view.as_maps(result.get("findings")):
        if finding.get("kind") == "contract" and isinstance(finding.get("check"), str):
            broken.append(finding["check"])
    names = list(dict.fromkeys(broken))
    return f"breaks the contract{'s' * (len(names) > 1)} {', '.join(names)}" if names else ""


def off_claim(result: Json) -> bool:
    """Whether its numbers are not those of the claimed variant: then its runs tell nothing of the
    variants next to that one."""
    judged = result["verdict"] in ("variant", "diverges") and "variant" in result
    return judged and (not isinstance(result["variant"], Mapping) or bool(view.departs(result)))
