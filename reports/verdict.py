"""A result's verdict in one sentence, built from what was found."""

from __future__ import annotations

from collections.abc import Mapping

from optconform.reports.view import (
    VERDICTS,
    Json,
    as_map,
    as_maps,
    departs,
    pairs,
    text,
    unusual,
)


def sentence(result: Json) -> str:
    """What it follows, and which contracts it breaks; the verdict's own meaning where the record
    does not tell more."""
    verdict = result["verdict"]
    if verdict not in ("variant", "diverges") or "variant" not in result:
        return VERDICTS[verdict].meaning
    other = pairs(departs(result))
    profile = pairs(unusual(result.get("profile")))
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
    contracts = as_map(as_map(result.get("checks")).get("contracts"))
    broken = [str(name) for name, said in contracts.items() if text(said).startswith("broken")]
    for finding in as_maps(result.get("findings")):
        if finding.get("kind") == "contract" and isinstance(finding.get("check"), str):
            broken.append(finding["check"])
    names = list(dict.fromkeys(broken))
    return f"breaks the contract{'s' * (len(names) > 1)} {', '.join(names)}" if names else ""


def off_claim(result: Json) -> bool:
    """Whether its numbers are not those of the claimed variant: then its runs tell nothing of the
    variants next to that one."""
    judged = result["verdict"] in ("variant", "diverges") and "variant" in result
    return judged and (not isinstance(result["variant"], Mapping) or bool(departs(result)))
