"""The record as one self-contained HTML page."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import textwrap
from collections.abc import Mapping
from importlib import resources
from itertools import zip_longest
from typing import Any
from urllib.parse import urlsplit

from jinja2 import ChainableUndefined, Environment, PackageLoader
from markupsafe import Markup, escape

from optconform.reports import view
from optconform.reports.view import VERDICTS, Json

LIMIT = 1_000_000  # bytes; beyond it, the scripts and scenarios of late findings are left out
FRAME = 400  # bytes of markup around one of these, at most


def is_link(value: object) -> bool:
    """Whether this may become a link: http and https with a host, nothing else."""
    try:
        parts = urlsplit(value if isinstance(value, str) else "")
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def pretty(value: object, depth: int = 0) -> str:
    """JSON that keeps short values, and runs of numbers, on one line."""
    flat = json.dumps(value, ensure_ascii=False)
    if len(flat) + depth <= 88 or not value or not isinstance(value, dict | list):
        return flat
    pad = " " * (depth + 2)
    if isinstance(value, dict):
        items = [f"{json.dumps(k)}: {pretty(v, depth + 2)}" for k, v in value.items()]
        return "{\n" + ",\n".join(pad + item for item in items) + "\n" + " " * depth + "}"
    if all(isinstance(item, int | float) for item in value):
        body = textwrap.fill(flat[1:-1], 88, initial_indent=pad, subsequent_indent=pad)
    else:
        body = ",\n".join(pad + pretty(item, depth + 2) for item in value)
    return "[\n" + body + "\n" + " " * depth + "]"


def _shown(value: Any) -> Any:
    """Every expression of the template passes here on its way to being escaped."""
    return value if isinstance(value, Markup) else view.visible(str(value))


def _equations(spec: Json, finding: Json) -> list[tuple[str, str, bool]]:
    """The spec's equations as (name, text, faulty), or nothing if none of them is faulty."""
    lines = [(str(k), view.text(v)) for k, v in view.as_map(spec.get("equations")).items()]
    name, equation = finding.get("equation_name"), finding.get("equation")
    faulty = {k for k, _ in lines if k == name} or {k for k, line in lines if line == equation}
    return [(k, line, k in faulty) for k, line in lines] if faulty else []


def _axes(spec: Json, chosen: object) -> list[dict[str, Any]]:
    """What the spec says about each chosen value of a variant axis."""
    axes = view.as_map(spec.get("axes"))
    said = []
    for axis, value in view.as_map(chosen).items():
        values = view.as_map(view.as_map(axes.get(axis)).get("values"))
        about = view.as_map(values.get(value if isinstance(value, str) else json.dumps(value)))
        said.append({**about, "axis": axis, "value": value})
    return said


def _result(number: int, result: Json, spec: Json) -> dict[str, Any]:
    """A result with every part the template walks through in its place."""
    checks = view.as_map(result.get("checks"))
    tensors = {k: view.as_map(v) for k, v in view.as_map(checks.get("tensors")).items()}
    follows = result.get("variant")
    if result["verdict"] == "conforms":
        follows = follows or result.get("claimed")
    return {
        **result,
        "id": f"r{number}",
        "cell": f"c{number}",
        "mark": VERDICTS[result["verdict"]],
        "notes": view.notes(result),
        "contracts": view.contracts(result),
        "decay_said": view.decay(result),
        "neighbours": view.neighbours(result),
        "checks": {**checks, "tensors": tensors},
        "regimes": view.as_map(result.get("regimes")),
        "explained": _axes(spec, follows),
        "findings": [
            {
                **finding,
                "lines": _equations(spec, finding),
                "json": pretty(finding["scenario"]) if finding.get("scenario") else "",
            }
            for finding in view.as_maps(result.get("findings"))
        ],
    }


def _spec(name: str, spec: Json) -> dict[str, Any]:
    axes = []
    for axis, about in view.as_map(spec.get("axes")).items():
        default = view.as_map(about).get("default")
        values = view.as_map(view.as_map(about).get("values"))
        choices = [choice for value in values for choice in _axes(spec, {axis: value})]
        axes.append({"axis": axis, "default": default, "choices": choices})
    equations = view.as_map(spec.get("equations"))
    return {**spec, "name": name, "axes": axes, "equations": equations}


def _trim(results: list[dict[str, Any]], room: float) -> None:
    """Leave out what does not fit in the room: every result's first finding is served first."""
    for findings in zip_longest(*(result["findings"] for result in results)):
        for finding in filter(None, findings):
            for key in filter(finding.get, ("repro", "json")):
                size = FRAME + len(escape(_shown(finding[key])).encode())
                if size <= room:
                    room -= size
                else:
                    finding[key] = ""
                    finding["trimmed"] = True


def environment() -> Environment:
    """Templates in which every value is made visible and escaped."""
    made = Environment(
        loader=PackageLoader("optconform.reports"),
        autoescape=True,
        finalize=_shown,
        undefined=ChainableUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for function in (view.count, view.exact, view.short, view.share, view.duration, view.pairs):
        made.filters[function.__name__] = function
    made.filters["text"] = view.text
    made.tests["link"] = is_link
    return made


def render_html(record: Mapping[str, Any]) -> str:
    """The page of a record: no network, no external file, every string of the record escaped."""
    results = view.read_results(record)
    specs = {k: view.as_map(v) for k, v in view.as_map(record.get("specs")).items()}
    dtypes, matrix = view.dtypes_of(record, results), view.matrix_of(record, results)
    rows = [row for group in matrix.values() for row in group.values()]
    order = [n for row in rows for dtype in dtypes for n in row.get(dtype, [])]
    template = environment().get_template("report.html.j2")
    folder = resources.files("optconform.reports") / "templates"
    style = (folder / "report.css").read_text("utf-8")
    script = (folder / "report.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

    def page(room: float) -> str:
        shown = {
            n: _result(place, results[n], specs.get(results[n]["spec"], {}))
            for place, n in enumerate(order, 1)
        }
        _trim(list(shown.values()), room)
        return template.render(
            headline=view.headline(results),
            environment=view.as_map(record.get("environment")),
            run=view.as_map(record.get("run")),
            dtypes=dtypes,
            matrix=matrix,
            results=shown,
            verdicts=VERDICTS,
            tally=view.tally(results),
            decays={k: view.decay_note(d) for k, d in view.decays(record, results).items()},
            titles={name: spec.get("title") or name for name, spec in specs.items()},
            anchors={name: f"s{place}" for place, name in enumerate(specs, 1)},
            sentences=view.as_map(record.get("checks")),
            specs=[_spec(name, spec) for name, spec in specs.items()],
            style=Markup(style),  # the package's own files, nothing of the record
            script=Markup(script),
            digest=digest,
        )

    whole = page(math.inf)
    if len(whole.encode()) <= LIMIT:
        return whole
    return page(LIMIT - len(page(0).encode()))
