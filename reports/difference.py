"""A difference between two recordings: as text, Markdown and one self-contained HTML page."""

from __future__ import annotations

from importlib import resources

from markupsafe import Markup

from optconform.reports.html import environment, pretty
from optconform.reports.markdown import code, escape
from optconform.reports.view import Json, plural

SHORT = {
    "not run": "not run",
    "bit-equal": "same bits",
    "unsteady": "unsteady",
    "within the bounds": "within bounds",
    "diverging": "diverging",
    "unjudged": "other values",
}


ROLES = ("before", "after")


def title(data: Json) -> str:
    names = [data[role]["name"] for role in ROLES]
    if names[0] != names[1]:
        return " → ".join(names)
    return f"{names[0]}: {' → '.join(sides(data))}"


def sides(data: Json) -> list[str]:
    """What tells the two recordings apart: their names, or else their folders, or which of the two
    each is."""
    for key in ("name", "folder"):
        names = [str(data[role].get(key) or "") for role in ROLES]
        if all(names) and names[0] != names[1]:
            return names
    return list(ROLES)


def headline(data: Json) -> str:
    """How many implementations changed, and how."""
    rows = data["implementations"]
    both = [r for r in rows if r["presence"] == "both"]
    counts: dict[str, int] = {}
    for row in both:
        level = worst(row)
        counts[level] = counts.get(level, 0) + 1
    parts = [f"{n} {SHORT[level]}" for level, n in counts.items()]
    for presence in ("added", "removed"):
        n = sum(r["presence"] == presence for r in rows)
        parts += [f"{n} {presence}"] if n else []
    may = f"{plural(len(data['breaks']), 'change')} that a training run may notice"
    return f"{plural(len(rows), 'implementation')}: {', '.join(parts)}; {may}."


def worst(row: Json) -> str:
    """The gravest level of an implementation's dtypes."""
    levels = [c["level"] for c in row["dtypes"]]
    return max(levels, key=list(SHORT).index, default="not run")


def changes(row: Json) -> list[str]:
    """Everything that differs of an implementation, one sentence each."""
    if row["presence"] != "both":
        return [row["presence"]]
    options = row["signature"]
    new = [_option(s) for s in options if s["change"] == "added"]
    gone = [s["name"] for s in options if s["change"] == "removed"]
    out = [
        f"default of {s['name']}: {_default(s['before'])} → {_default(s['after'])}"
        for s in options
        if s["change"] == "changed"
    ]
    out += [f"options gone: {', '.join(gone)}"] if gone else []
    out += [f"new options: {', '.join(new)}"] if new else []
    for s in row["states"]:
        out.append(
            {
                "added": f"new state {s['name']}, {s['after']}",
                "removed": f"state {s['name']} is gone",
                "changed": f"state {s['name']}: {s['before']} → {s['after']}",
            }[s["change"]]
        )
    refused: dict[tuple[str, str], list[str]] = {}
    for r in row["refusals"]:
        refused.setdefault((r["before"], r["after"]), []).append(r["what"])
    out += [f"{', '.join(w)}: {was} → {now}" for (was, now), w in refused.items()]
    told: dict[tuple[str, str, str], list[str]] = {}
    for c in row["dtypes"]:
        if c["summary"]:
            said = c["summary"].partition(" (")[0] if c["level"] == "within the bounds" else ""
            key = (said or c["summary"], c.get("equation", ""), c["mark"])
            told.setdefault(key, []).append(c["dtype"])
    for (summary, equation, mark), where in told.items():
        sentence = f"{', '.join(where)}: {summary}"
        sentence += f"; the equation is {equation}" if equation else ""
        out.append(sentence + (f" [{mark}]" if mark != "same" else ""))
    return out


def _option(change: Json) -> str:
    name = str(change["name"])
    return name if change["after"] is None else f"{name} = {change['after']}"


def _default(text: str | None) -> str:
    return "none" if text is None else text


def changed(data: Json) -> list[tuple[list[Json], list[str]]]:
    """The implementations that changed, together where it was in the same way."""
    found: dict[tuple[str, ...], list[Json]] = {}
    for row in data["implementations"]:
        if said := changes(row):
            found.setdefault((worst(row), *said), []).append(row)
    return [(rows, list(said[1:])) for said, rows in found.items()]


def names(rows: list[Json]) -> str:
    """What stands before the colon is said once."""
    every = [r["implementation"] for r in rows]
    where = every[0].rpartition(":")[0]
    if len(every) > 1 and where and all(n.rpartition(":")[0] == where for n in every):
        return f"{where}: {', '.join(n.rpartition(':')[2] for n in every)}"
    return ", ".join(every)


def unchanged(data: Json) -> list[Json]:
    return [r for r in data["implementations"] if not changes(r)]


def places(data: Json) -> list[Json]:
    """The cells with a first place where the second side leaves what the first follows."""
    return [
        {**cell, "implementation": row["implementation"],
         "json": pretty(cell["scenario_data"]) if cell.get("scenario_data") else ""}
        for row in data["implementations"]
        for cell in row["dtypes"]
        if "step" in cell
    ]  # fmt: skip


def alike(data: Json) -> Json:
    """What both environments have in the same version."""
    old, new = (data[role]["environment"] for role in ROLES)
    return {n: old[n] for n in sorted(old, key=str.lower) if old[n] == new.get(n)}


def others(data: Json) -> str:
    """What else differs between the two environments."""
    parts = [
        f"{e['name']} {e['before'] or '(none)'} → {e['after'] or '(none)'}"
        for e in data["environment"]
    ]
    return ", ".join(parts)


def summary(data: Json) -> str:
    """For the terminal."""
    lines = [title(data), ""]
    for rows, sentences in changed(data):
        lines.append(names(rows))
        lines += [f"  {sentence}" for sentence in sentences]
    if same := unchanged(data):
        lines.append(f"the same: {names(same)}")
    if others(data):
        lines.append(f"environments: {others(data)}")
    lines += ["", headline(data)]
    return "\n".join(" ".join(s.split()) if not s.startswith("  ") else s for s in lines) + "\n"


def to_markdown(data: Json) -> str:
    lines = [f"## {escape(title(data))}", "", escape(headline(data)), ""]
    if rows := changed(data):
        lines += ["| implementation | numerics | what changed |", "| --- | --- | --- |"]
        for some, sentences in rows:
            level = SHORT[worst(some[0])] if some[0]["presence"] == "both" else ""
            told = "<br>".join(escape(s) for s in sentences)
            who = "<br>".join(code(r["implementation"]) for r in some)
            lines.append(f"| {who} | {escape(level)} | {told} |")
        lines.append("")
    if same := unchanged(data):
        lines += [f"The same: {', '.join(code(r['implementation']) for r in same)}.", ""]
    if others(data):
        lines.append(f"<sub>{escape(others(data))}</sub>")
    return "\n".join(lines).rstrip() + "\n"


def to_html(data: Json) -> str:
    """The page: no network, no script, every string of the record escaped."""
    folder = resources.files("optconform.reports") / "templates"
    style = "".join((folder / f).read_text("utf-8") for f in ("report.css", "compare.css"))
    dtypes = list(dict.fromkeys(c["dtype"] for r in data["implementations"] for c in r["dtypes"]))
    page: str = (
        environment()
        .get_template("difference.html.j2")
        .render(
            data=data,
            title=title(data),
            headline=headline(data),
            sides=sides(data),
            alike=alike(data),
            places=places(data),
            dtypes=dtypes,
            short=SHORT,
            rows=[
                (some, sentences, {c["dtype"]: c for c in some[0]["dtypes"]})
                for some, sentences in changed(data)
            ],
            same=names(same) if (same := unchanged(data)) else "",
            style=Markup(style),  # the package's own files, nothing of the record
        )
    )
    return page
