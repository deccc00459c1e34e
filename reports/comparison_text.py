"""A comparison for a person at a terminal, and as Markdown."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from optconform.printing import visible
from optconform.reports import comparison as view
from optconform.reports.comparison import Table
from optconform.reports.html import is_link
from optconform.reports.markdown import code, escape
from optconform.reports.view import Json

WIDE = 140  # columns where the output is no terminal


def tell_comparison(record: Json) -> None:
    """Print the comparison."""
    record = view.checked(record)
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDE)

    def say(text: str, style: str = "") -> None:
        console.print(Text(visible(text), style=style))

    def title(text: str) -> None:
        console.print()
        say(text, "bold")

    def show(table: Table, *, style: str = "") -> None:
        made = RichTable(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
        for k, head in enumerate(table.heads):
            made.add_column(Text(visible(head)), style=style if k else "", overflow="fold")
        for row in table.rows:
            made.add_row(*(Text(visible(cell)) for cell in row))
        console.print(made)

    say(view.headline(record), "bold green" if record["same"] else "bold")
    if record["defaults"]:
        title("Defaults that differ")
        show(view.defaults_table(record))
    if record["axes"]:
        title("Axes that differ")
        for axis, both in view.axes(record):
            for label, value, effect, links in both:
                say(f"  {axis} = {value} ({label}): {effect}")
                for link in links:
                    say(f"    {link}", "dim")
    if any(e["differs"] for e in record["equations"]):
        title("Equations that differ")
        show(view.equations_table(record))
    title("Where they coincide")
    for sentence in view.proofs(record):
        say(f"  {sentence}")
    if record["same"]:
        return
    title("The smallest input that separates them")
    if record["separation"] is None:
        say(f"  {view.NOTHING_SEPARATES}")
    else:
        facts = view.separation_facts(record)
        width = max(len(what) for what, _ in facts)
        for what, text in facts:
            say(f"  {what:<{width}}  {text}")
        console.print()
        show(view.separation_table(record))
        say(view.BOUNDS, "dim")
    if record["trajectories"] is None:
        return
    title("How fast they part")
    say(view.conditions(record))
    console.print()
    show(view.distances_by_gradient(record))
    if by_setting := view.distances_by_setting(record):
        console.print()
        say("N(0, 1) gradients:")
        show(by_setting)
    say(view.distance_meaning(record), "dim")
    if own := view.own_defaults(record):
        console.print()
        say(own)
    if decay := view.decay_table(record):
        title("What decay does")
        first, *others = view.decay_sentences(record)
        say(first)
        show(decay)
        for sentence in others:
            say(f"  {sentence}")


def comparison_markdown(record: Json) -> str:
    """The comparison as GitHub-flavoured Markdown."""
    record = view.checked(record)
    out = [f"## {escape(' against '.join(view.labels(record)))}", ""]
    out += [escape(view.headline(record)), ""]
    if record["defaults"]:
        out += ["### Defaults that differ", "", *_table(view.defaults_table(record)), ""]
    if record["axes"]:
        out += ["### Axes that differ", ""]
        for axis, both in view.axes(record):
            for label, value, effect, links in both:
                said = f"- {code(f'{axis} = {value}')} ({escape(label)}): {escape_all(effect)}"
                out.append(" ".join([said, *(f"<{x}>" for x in links if _may_stand(x))]))
        out.append("")
    if any(e["differs"] for e in record["equations"]):
        out += ["### Equations that differ", "", *_table(view.equations_table(record)), ""]
    out += ["### Where they coincide", ""]
    out += [f"- {escape_all(sentence)}" for sentence in view.proofs(record)] + [""]
    if not record["same"]:
        out += ["### The smallest input that separates them", ""]
        if record["separation"] is None:
            out += [view.NOTHING_SEPARATES, ""]
        else:
            facts = Table(("", ""), tuple(view.separation_facts(record)))
            out += [*_table(facts), "", *_table(view.separation_table(record)), ""]
            out += [escape_all(view.BOUNDS), ""]
    if not record["same"] and record["trajectories"] is not None:
        out += ["### How fast they part", "", escape_all(view.conditions(record)), ""]
        out += [*_table(view.distances_by_gradient(record)), ""]
        if by_setting := view.distances_by_setting(record):
            out += ["N(0, 1) gradients:", "", *_table(by_setting), ""]
        out += [escape_all(view.distance_meaning(record)), ""]
        if own := view.own_defaults(record):
            out += [escape_all(own), ""]
        if decay := view.decay_table(record):
            first, *others = view.decay_sentences(record)
            out += ["### What decay does", "", escape_all(first), "", *_table(decay), ""]
            out += [f"- {escape_all(sentence)}" for sentence in others] + [""]
    out.append(f"<sub>{escape_all(str(record['run']['command']))}</sub>")
    return "\n".join(out) + "\n"


def _table(table: Table) -> list[str]:
    rows = [table.heads, ("---",) * len(table.heads), *table.rows]
    return [
        "| " + " | ".join(cell if k == 1 else escape(cell) or " " for cell in row) + " |"
        for k, row in enumerate(rows)
    ]


def escape_all(text: str) -> str:
    """Any length of text as one line of Markdown."""
    words = text.split(" ")
    return " ".join(escape(word) for word in words)


def _may_stand(link: str) -> bool:
    return is_link(link) and not set(link) & set("<> \n")
