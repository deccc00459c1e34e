"""``optconform list``: what optconform knows, and the defaults of the installed libraries."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .errors import RequestError
from .implementation import LIBRARIES, installed, targets
from .naming import told_apart
from .options import output_file
from .printing import say
from .record import environment, write
from .serve import Message
from .spec_file import bundled, load
from .tables import by_lines
from .worker import START_TIMEOUT, ask, known_checks, list_target

SCHEMA = "optconform/defaults/1"
EVERY = "installed"  # the target that names every library that is there


def implementations_of(
    targets: Sequence[str], spec: str | None, *, processes: int
) -> list[tuple[str, list[Message]]]:
    """What each target has, as ``list_target`` tells it, so many asked at a time.

    The target ``installed`` stands for every released library that is there; of those, one that
    cannot be driven here is left out, and said so.  Raises RequestError, for a target that was
    named as for nothing at all.
    """
    named = list(dict.fromkeys(t for t in targets if t != EVERY))
    others = [t for t in installed() if t not in named] if EVERY in targets else []

    def ask_for(target: str) -> list[Message] | RequestError:
        try:
            return list_target(target, spec)
        except RequestError as e:
            return e

    with ThreadPoolExecutor(processes) as pool:
        answers = list(pool.map(ask_for, [*named, *others]))
    found = []
    for target, answer in zip([*named, *others], answers, strict=True):
        if not isinstance(answer, RequestError):
            found.append((target, answer))
        elif target in named:
            raise answer
        else:
            say(f"left out: {target}: {answer}", err=True)
    if not found:
        raise RequestError("no library that is installed can be judged")
    return told_apart(found)


@click.command("list")
@click.argument(
    "what",
    type=click.Choice(["specs", "implementations", "checks", "defaults"]),
    default="specs",
)
@click.argument("named", nargs=-1, metavar="[TARGET]...")
@click.option("--json", "json_path", help="Write the defaults to this file.")
def listing(what: str, named: tuple[str, ...], json_path: str | None) -> None:
    """List what optconform knows; with `defaults`, those of every optimizer that is installed, or
    of each TARGET, beside the spec's."""
    if what != "defaults" and (named or json_path):
        raise RequestError(f"list {what} takes neither a target nor --json")
    if what == "specs":
        for name in bundled():
            s = load(name)
            say(f"{name:<10} {s.title}: {s.cite}")
    elif what == "implementations":
        for library in targets():
            try:
                listed = list_target(library, None)
            except RequestError as e:  # not installed
                say(str(e))
                continue
            for found in listed:
                say(
                    f"{found['implementation']:<38} {found['spec']:<10} "
                    f"{found['library']} {found['version']}"
                )
    elif what == "checks":
        for name, sentence in known_checks().items():
            say(f"{name:<22} {sentence}")
    else:
        _defaults(named, json_path)


def _defaults(named: Sequence[str], json_path: str | None) -> None:
    output = output_file(json_path)
    rows: list[dict[str, Any]] = []
    missing: dict[str, str] = {}
    for target in named or (name for name, known in LIBRARIES.items() if not known.ours):
        try:
            told = ask({"do": "defaults", "target": target, "spec": None}, START_TIMEOUT)["rows"]
        except RequestError as e:
            if named:
                raise
            missing[target] = str(e)
            continue
        seen = {r["constructor"] for r in rows}  # what a wrapper wraps has its row by then
        rows += [r for r in told if r["constructor"] not in seen]
    found = {
        "schema": SCHEMA,
        "environment": environment({r["library"]: r["version"] for r in rows}),
        "missing": missing,
        "classes": rows,
    }
    # as wide as its longest line: it is to be read in a pager or a file, and not to be folded
    console = Console(highlight=False, width=400)
    for name in dict.fromkeys(r["spec"] for r in rows):
        with console.capture() as shown:
            console.print(defaults_table(name, [r for r in rows if r["spec"] == name]), crop=False)
        # bold as rich writes it; what processes tell is visible already
        click.echo("\n".join(line.rstrip() for line in shown.get().splitlines()) + "\n")
    if rows:
        versions = dict.fromkeys(f"{r['library']} {r['version']}".strip() for r in rows)
        say("* differs from the spec's default   — cannot be chosen for a group")
        say(", ".join(versions))
    for sentence in missing.values():
        say(sentence)
    if output is not None:
        write(output, by_lines(found))
        say(f"wrote {output}")


def defaults_table(spec: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    """The classes that follow a spec, below its own defaults; a column for each hyperparameter."""
    hypers = load(spec).hypers
    out = Table(spec, *hypers, box=None, pad_edge=False)
    out.add_row("the spec", *(_value(h.default) for h in hypers.values()))
    for row in rows:
        cells = (_cell(name, row["hypers"][name]) for name in hypers)
        out.add_row(escape(row["implementation"]), *(escape(c) for c in cells))
    return out


def _cell(name: str, told: Mapping[str, Any]) -> str:
    """The default, a star where it differs from the spec's, and the keyword if named otherwise."""
    if told["keyword"] is None:
        return "—"
    value = "required" if told["required"] else _value(told["default"])
    if not (told["known"] or told["required"]):
        value = "?"
    star = "*" if told["differs"] else ""
    named = "" if told["keyword"] == name else f" ({told['keyword']})"
    return f"{value}{star}{named}"


def _value(x: Any) -> str:
    return f"{x:g}" if isinstance(x, float) else str(x)
