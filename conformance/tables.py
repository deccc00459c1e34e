"""What the trials of the judge found, as Markdown and as JSON with one line an entry."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from .record import plain

Data = Mapping[str, Any]


def by_lines(data: Data) -> str:
    """Strict JSON; what is in a list takes a line each."""
    parts = []
    for key, value in plain(data).items():
        if isinstance(value, list):
            rows = ",\n".join(json.dumps(x, allow_nan=False) for x in value)
            parts.append(f"{json.dumps(key)}: [\n{rows}\n]")
        else:
            parts.append(f"{json.dumps(key)}: {json.dumps(value, allow_nan=False)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def label(row: Data) -> str:
    """``adam[eps=hat]``."""
    variant = ", ".join(f"{a}={v}" for a, v in row["variant"].items())
    return f"{row['spec']}[{variant}]" if variant else str(row["spec"])


def table(head: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    """A Markdown table."""
    cells = [[str(c).replace("|", "\\|") for c in row] for row in rows]
    rule = ["---" if k == 0 else "---:" for k in range(len(head))]
    return ["| " + " | ".join(r) + " |" for r in [list(head), rule, *cells]]


def mutants_table(data: Data) -> str:
    """Programs, operators, and whatever was not killed."""
    run = data["run"]
    programs = data["programs"]
    total = {v: sum(p[v] for p in programs) for v in ("killed", "equivalent", "survived")}
    lines = [
        "# Mutants",
        "",
        f"`{run['command']}`: {sum(total.values()):,} mutants of {len(programs)} programs: "
        f"{total['killed']:,} killed, {total['equivalent']} equivalent, "
        f"{total['survived']} survived.",
        "",
        data["definition"],
        "",
        "## Programs",
        "",
    ]
    head = ("program", "control", "killed", "equivalent", "survived", "scenarios", "checks")
    rows = [
        (label(p), p["control"], p["killed"], p["equivalent"], p["survived"],
         _spread(p["scenarios"]), _spread(p["checks"]))
        for p in programs
    ]  # fmt: skip
    lines += [*table(head, rows), "", "*scenarios* and *checks* to kill: median, largest.", ""]
    lines += ["## Operators", "", *_operators(data), ""]
    for verdict, title in (("survived", "Survivors"), ("equivalent", "Equivalent")):
        lines += [f"## {title}", ""]
        told = [m for m in data["mutants"] if m["verdict"] == verdict]
        alike: dict[tuple[str, ...], list[str]] = {}
        for m in told:
            key = (m["operator"], m["where"], m["change"], m.get("reason", ""))
            alike.setdefault(key, []).append(m["program"])
        found = [
            (f"`{change}`", operator, where, _several(names), reason or "")
            for (operator, where, change, reason), names in alike.items()
        ]
        columns = ("change", "operator", "equation", "programs", "reason")
        lines += table(columns, found) if found else ["None."]
        lines.append("")
    return "\n".join(lines)


def _operators(data: Data) -> list[str]:
    sums: dict[str, list[int]] = {}
    for p in data["programs"]:
        for name, row in p["operators"].items():
            have = sums.setdefault(name, [0, 0, 0, 0])
            for k, verdict in enumerate(("killed", "equivalent", "survived")):
                have[k] += row[verdict]
            have[3] = max(have[3], row["scenarios"]["max"] or 0)
    head = ("operator", "killed", "equivalent", "survived", "most scenarios", "what it does")
    return table(head, [(n, *sums[n], told) for n, told in data["operators"].items() if n in sums])


def _spread(x: Mapping[str, Any]) -> str:
    return "-" if x["median"] is None else f"{x['median']:,g}, {x['max']:,}"


def _several(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"


def detectability_table(data: Data) -> str:
    """One table a spec: hyperparameters down, dtypes across."""
    lines = ["# Detectability", "", f"`{data['run']['command']}`", "", data["definition"], ""]
    rows = data["thresholds"]
    dtypes = list(dict.fromkeys(r["dtype"] for r in rows))
    for spec in dict.fromkeys(r["spec"] for r in rows):
        lines += [f"## {spec}", ""]
        found = {(r["hyper"], r["dtype"]): r for r in rows if r["spec"] == spec}
        head = ["hyperparameter", "default"]
        head += [f"{d}: {what}" for d in dtypes for what in ("optconform", "p", "p and state")]
        body = []
        for name in dict.fromkeys(h for h, _ in found):
            cells: list[Any] = [name, f"{found[name, dtypes[0]]['default']:g}"]
            for d in dtypes:
                r = found[name, d]
                cells += [_delta(r[k]) for k in ("judge", "close_parameters", "close_all")]
            body.append(cells)
        lines += [*table(head, body), ""]
    return "\n".join(lines)


def _delta(x: float | None) -> str:
    return "never" if x is None else f"{x:.1g}"
