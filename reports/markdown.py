"""The record as a CI step summary in GitHub-flavoured Markdown."""

from __future__ import annotations

import re
from collections import Counter

from optconform.printing import visible
from optconform.reports import view
from optconform.reports.baseline import KINDS, changes
from optconform.reports.overview import followed, kinds, overview_of
from optconform.reports.view import VERDICTS, Json

MOST_FINDINGS = 20
LONGEST = 300


def escape(value: object) -> str:
    """Untrusted text as one line of Markdown that can start neither markup nor a table cell."""
    line = " ".join(visible(view.text(value)).split())
    line = line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"
    line = re.sub(r"[\\`*_~\[\]#!$]", r"\\\g<0>", line)
    for mark, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("|", "&#124;")):
        line = line.replace(mark, entity)
    return line


def code(value: object) -> str:
    return f"<code>{escape(value)}</code>"


def _cell(result: Json) -> str:
    verdict = VERDICTS[result["verdict"]]
    return "<br>".join([f"{verdict.symbol} {verdict.name}", *map(escape, view.notes(result))])


def _table(record: Json, results: list[Json]) -> list[str]:
    dtypes = view.dtypes_of(record, results)
    lines = [
        "| " + " | ".join(["spec", "implementation", *map(escape, dtypes)]) + " |",
        "| " + " | ".join(["---"] * (2 + len(dtypes))) + " |",
    ]
    for spec, rows in view.matrix_of(record, results).items():
        for (implementation, library, version), cells in rows.items():
            release = f"{library} {version}".strip()
            name = code(implementation) + (f"<br>{escape(release)}" if release else "")
            said = ["<br>".join(_cell(results[n]) for n in cells.get(d, [])) for d in dtypes]
            lines.append("| " + " | ".join([escape(spec), name, *(s or " " for s in said)]) + " |")
    return lines


def _overview(record: Json, results: list[Json]) -> list[str]:
    """Libraries against algorithms, where there are several libraries."""
    libraries = overview_of(record, results)
    if len(libraries) < 2:
        return []
    specs = list(next(iter(libraries.values())))
    lines = [
        "| " + " | ".join(["library", *map(escape, specs)]) + " |",
        "| " + " | ".join(["---"] * (1 + len(specs))) + " |",
    ]
    for release, cells in libraries.items():
        said = [
            "<br>".join([*map(escape, kinds(found)), *map(code, followed(found))])
            for found in cells.values()
        ]
        lines.append("| " + " | ".join([escape(release), *(s or " " for s in said)]) + " |")
    signs = "; ".join(f"{v.symbol} {v.many}" for v in VERDICTS.values() if v.name != "error")
    legend = f"Pairs of implementation and dtype: {signs}; ! error. Below, the variants followed."
    return [*lines, "", f"<sub>{escape(legend)}</sub>", ""]


def _decays(record: Json, results: list[Json]) -> list[str]:
    """Which decay each implementation applies, beside what its name, docstring and default say."""
    found = view.decays(record, results)
    if not found:
        return []
    lines = [
        "| implementation | applies | name says | docstring says | default |",
        "| --- | --- | --- | --- | --- |",
    ]
    for (_, implementation, _, _), one in found.items():
        says = view.as_map(one.get("says"))
        applies = escape(one["applies"]) if one.get("applies") else escape(one.get("why"))
        if one.get("agrees") is False:
            applies = f"**{applies}**"
        told = [escape(view.short(says.get(k))) for k in ("name", "docstring", "default")]
        lines.append("| " + " | ".join([code(implementation), applies, *told]) + " |")
    return lines


def _remarks(results: list[Json]) -> list[str]:
    """One line for each finding, then for each message; the gravest verdicts first."""
    order = ("diverges", "error", "variant", "undecided", "conforms", "unsupported")
    lines = []
    for result in sorted(results, key=lambda result: order.index(result["verdict"])):
        subject = f"{VERDICTS[result['verdict']].symbol} {escape(result['spec'])}, "
        subject += f"{code(result['implementation'])}, {escape(result['dtype'])}"
        for finding in view.as_maps(result.get("findings")):
            what = finding.get("summary") or f"a {view.text(finding.get('kind'))} finding"
            kind = f"**{escape(finding['kind'])}** · " if finding.get("kind") else ""
            lines.append(f"- {kind}{subject}: {escape(what)}")
        if result["verdict"] == "error" and not result.get("findings"):
            lines.append(
                f"- **error** · {subject}: {escape(result.get('message') or 'no message')}"
            )
    return lines


def _changes(record: Json, before: Json) -> list[str]:
    """What is not as it was in the record ``before``."""
    found = changes(record, before)
    counts = Counter(c.kind for c in found)
    told = ", ".join(f"{view.count(counts[kind])} {kind}" for kind in KINDS if counts[kind])
    lines = [f"### Since {escape(view.versions(before)) or 'the earlier run'}", "", f"{told}.", ""]
    rows = [c for kind in KINDS if kind != "same" for c in found if c.kind == kind]
    for c in rows[:MOST_FINDINGS]:
        was, now = ("not judged" if x is None else _said(x) for x in (c.was, c.now))
        lines.append(f"- **{c.kind}** · {code(c.key)}: {was} → {now}")
    if len(rows) > MOST_FINDINGS:
        lines.append(f"- and {view.count(len(rows) - MOST_FINDINGS)} more")
    return [*lines, ""] if rows else lines


def _said(cell: Json) -> str:
    follows = f" ({escape(cell['follows'])})" if cell["follows"] else ""
    found = len(cell["findings"])
    findings = f", {view.count(found)} finding{'s' * (found > 1)}" if found else ""
    return f"{cell['verdict']}{follows}{findings}"


def render_markdown(record: Json, *, before: Json | None = None) -> str:
    """The headline, the matrix and the first findings of a record; with ``before``, the record of
    an earlier run, what has changed since."""
    results = view.read_results(record)
    lines = ["## Optimizer conformance", "", view.headline(results), ""]
    lines += _overview(record, results)
    if results:
        lines += [*_table(record, results), ""]
    if before is not None:
        lines += _changes(record, before)
    if remarks := _remarks(results):
        lines += ["### Findings", "", *remarks[:MOST_FINDINGS]]
        if len(remarks) > MOST_FINDINGS:
            lines.append(f"- and {view.count(len(remarks) - MOST_FINDINGS)} more")
        lines.append("")
    if decays := _decays(record, results):
        lines += ["### Weight decay", "", *decays, ""]
    environment = view.as_map(record.get("environment"))
    releases = [f"{escape(name)} {escape(value)}" for name, value in environment.items()]
    run = view.as_map(record.get("run"))
    releases += [f"seed {escape(run['seed'])}"] if "seed" in run else []
    if releases:
        lines.append(f"<sub>{' · '.join(releases)}</sub>")
    return "\n".join(lines).rstrip() + "\n"
