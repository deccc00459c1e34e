"""The record as the JSON that badge services read: the endpoint format of shields.io, version 1."""

from __future__ import annotations

import json

from optconform.reports import view
from optconform.reports.view import Json

FAULTS = ("variant", "diverges", "error")


def render_badge(record: Json) -> str:
    """How many of the judged results conform; what is unsupported was not judged."""
    results = view.read_results(record)
    counts = view.tally(results)
    judged = len(results) - counts["unsupported"]
    message = f"{view.count(counts['conforms'])} of {view.count(judged)} conform"
    colour = "yellow"
    if any(counts[name] for name in FAULTS):
        colour = "red"
    elif not judged:
        message, colour = "nothing judged", "lightgrey"
    elif counts["conforms"] == judged:
        colour = "brightgreen"
    badge = {"schemaVersion": 1, "label": "optconform", "message": message, "color": colour}
    return json.dumps(badge, indent=1) + "\n"
