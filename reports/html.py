"""The record as one self-contained HTML page.

The matrix and the tables are plain HTML.  What a cell opens is rendered here too, from the same
templates with the same escaping, and travels compressed inside the page: that keeps a record of
all libraries small, and the browser quick.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import textwrap
import zlib
from collections.abc import Iterable, Mapping, Sequence
from importlib import resources
from typing import Any
from urllib.parse import urlsplit

from jinja2 import ChainableUndefined, Environment, PackageLoader
from markupsafe import Markup, escape

from optconform.printing import visible
from optconform.reports import baseline, coverage, equations, overview, power, ratios, view
from optconform.reports.equations import Equation, Spec
from optconform.reports.view import VERDICTS, Json

LIMIT = 2_900_000  # bytes of a page; beyond it, scripts and scenarios of late findings are left out
LONGEST = 20_000  # characters of a text; of what is longer, the record has the rest
BRIEF = 160  # characters of a name in a table
SCRIPTS = ("state.js", "matrix.js", "changes.js", "rules.js", "report.js")


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


def cut(value: str, most: int) -> str:
    """``value``, or its beginning and how long it is."""
    if len(value) <= most:
        return value
    return f"{value[:most]}… ({len(value):,} characters; the record has them all)"


def brief(value: object) -> str:
    """A name as a table shows it."""
    shown = visible(cut(view.text(value), 2 * BRIEF))
    return shown if len(shown) <= BRIEF else shown[: BRIEF - 1] + "…"


def _shown(value: Any) -> Any:
    """Every expression of the template passes here on its way to being escaped."""
    return value if isinstance(value, Markup) else visible(cut(str(value), LONGEST))


def prose(value: object) -> Markup:
    """Text of a trial, with its `code` and its *emphasis* as markup."""

    def marked(found: re.Match[str]) -> str:
        return f"<code>{found[1]}</code>" if found[1] else f"<em>{found[2]}</em>"

    plain = str(escape(_shown(view.text(value))))
    return Markup(re.sub(r"`([^`]+)`|\*([^*`\s][^*`]*)\*", marked, plain))


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
    for function in (view.count, view.exact, view.short, view.ratio, view.share, view.duration,
                     view.pairs, view.plural, view.text, view.times, prose):  # fmt: skip
        made.filters[function.__name__] = function
    made.filters["brief"] = brief
    made.tests["link"] = is_link
    return made


# ---- what a cell opens -------------------------------------------------------------------------


def _axes(spec: Json, chosen: object) -> list[dict[str, Any]]:
    """What the spec says about each chosen value of a variant axis."""
    axes = view.as_map(spec.get("axes"))
    said = []
    for axis, value in view.as_map(chosen).items():
        values = view.as_map(view.as_map(axes.get(axis)).get("values"))
        about = view.as_map(values.get(value if isinstance(value, str) else json.dumps(value)))
        said.append({**about, "axis": axis, "value": value})
    return said


def _finding(finding: Json, result: Json, box: list[Equation], spec: Spec) -> dict[str, Any]:
    """A finding with the equations that tell what is followed from what is claimed."""
    claimed, match = result.get("claimed"), finding.get("variant_match")
    name, equation = finding.get("equation_name"), finding.get("equation")
    at_fault = [e for e in box if e.name == name] or [e for e in box if e.text == equation]
    scenario = finding.get("scenario")
    return {
        **finding,
        "at_fault": at_fault,
        "apart": spec.differing(claimed, match) if match else [],
        "match_explained": _axes(spec.told, match),
        "json": pretty(scenario) if scenario else "",
    }


def _folded(findings: Sequence[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """The findings, those of one tensor that say the same of another step or element together."""
    groups: dict[object, list[dict[str, Any]]] = {}
    for number, f in enumerate(findings, 1):
        place, _, said = view.text(f.get("summary")).partition(": ")
        key: object = number
        if f.get("kind") == "numeric" and f.get("tensor") and said:
            key = (said, *(view.text(f.get(k)) for k in ("tensor", "check", "known")))
        groups.setdefault(key, []).append({**f, "number": number, "place": place})
    return list(groups.values())


def _result(result: Json, key: str, spec: Spec) -> dict[str, Any]:
    """A result with every part the template walks through in its place."""
    checks = view.as_map(result.get("checks"))
    tensors = {str(k): view.as_map(v) for k, v in view.as_map(checks.get("tensors")).items()}
    follows = result.get("variant")
    if result["verdict"] == "conforms":
        follows = follows or result.get("claimed")
    box = spec.lines(result.get("claimed"))
    findings = [_finding(f, result, box, spec) for f in view.as_maps(result.get("findings"))]
    faulty = {e.name for f in findings for e in f["at_fault"]}
    apart = {e.name for f in findings for pair in f["apart"] for e in pair if e}
    return {
        **result,
        "key": key,
        "mark": VERDICTS[result["verdict"]],
        "title": spec.told.get("title") or result["spec"],
        "cite": spec.told.get("cite"),
        "notes": view.notes(result),
        "contracts": view.contracts(result),
        "decay_said": view.decay(result),
        "sentence": overview.sentence(result),
        "off_claim": overview.off_claim(result),
        "neighbours": view.neighbours(result),
        "checks": {**checks, "tensors": tensors},
        "plot": ratios.plot(tensors),
        "regimes": view.as_map(result.get("regimes")),
        "explained": _axes(spec.told, follows),
        "box": [(e, e.name in faulty, e.name in apart) for e in box],
        "findings": findings,
        "folded": _folded(findings),
    }


def _cells(results: Sequence[dict[str, Any]], kept: float) -> list[str]:
    """The markup of every cell; ``kept`` findings of each have their scripts and scenarios."""
    template = environment().get_template("cell.html.j2")
    return [template.render(r=r, kept=kept) for r in results]


def packed(parts: Iterable[str]) -> str:
    """Strings as base64 of deflated JSON, which browsers unpack by themselves."""
    whole = json.dumps(list(parts), ensure_ascii=True, separators=(",", ":"))
    return base64.b64encode(zlib.compress(whole.encode(), 9)).decode()


# ---- the page ----------------------------------------------------------------------------------


def _spec(name: str, spec: Spec) -> dict[str, Any]:
    axes = []
    for axis, about in view.as_map(spec.told.get("axes")).items():
        default = view.as_map(about).get("default")
        values = view.as_map(view.as_map(about).get("values"))
        choices = [choice for value in values for choice in _axes(spec.told, {axis: value})]
        axes.append({"axis": axis, "default": default, "choices": choices})
    return {**spec.told, "name": name, "axes": axes, "lines": spec.lines({})}


def render_html(
    record: Mapping[str, Any],
    *,
    before: Mapping[str, Any] | None = None,
    trials: Sequence[Mapping[str, Any]] = (),
) -> str:
    """The page of a record: no network, no external file, every string of the record escaped.

    ``before`` is the record of an earlier run to compare with; ``trials`` are what the commands
    mutants and detectability, and the re-enacted bugs, wrote.  Raises ValueError, in one sentence,
    for what cannot be rendered.
    """
    results = view.read_results(record)
    named = view.as_map(record.get("specs")).items()
    specs = {str(name): Spec(view.as_map(about)) for name, about in named}
    dtypes, matrix = view.dtypes_of(record, results), view.matrix_of(record, results)
    keys = baseline.keys(results)
    earlier = None if before is None else baseline.told(before)
    tables = [power.tables(trial) for trial in trials]
    shown = [
        _result(r, key, specs.get(r["spec"]) or Spec({}))
        for r, key in zip(results, keys, strict=True)
    ]
    folder = resources.files("optconform.reports") / "templates"
    script = "".join((folder / name).read_text("utf-8") for name in SCRIPTS)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    data = {
        "cells": baseline.told(record)["cells"],
        "facets": [
            [_shown(r["spec"]), _shown(str(r.get("library") or "")), _shown(r["dtype"])]
            for r in results
        ],
        "words": [view.words(r) for r in results],
        "before": earlier,
        "rules": (rules := equations.rules(specs, results)),
        "opening": equations.opening(rules, specs, results),
    }
    template = environment().get_template("report.html.j2")

    def page(kept: float) -> str:
        return template.render(
            headline=view.headline(results),
            environment=view.as_map(record.get("environment")),
            run=view.as_map(record.get("run")),
            dtypes=dtypes,
            matrix=matrix,
            results=shown,
            verdicts=VERDICTS,
            tally=view.tally(results),
            libraries=sorted({str(r.get("library") or "") for r in results} - {""}),
            axes=sorted({a for c in data["cells"] for a in c["axes"]}),
            decays=view.decay_rows(record, results),
            coverage=coverage.rows(record, results),
            regimes=coverage.regimes(results),
            power=tables,
            sentences=view.as_map(record.get("checks")),
            specs=[_spec(name, spec) for name, spec in specs.items()],
            data=data,
            cells=Markup(packed(_cells(shown, kept))),  # base64: letters, digits, + / =
            style=Markup((folder / "report.css").read_text("utf-8")),  # the package's own files
            script=Markup(script),
            digest=digest,
        )

    whole = ""
    for kept in (float("inf"), 1, 0):
        whole = page(kept)
        if len(whole.encode()) <= LIMIT:
            break
    return whole
