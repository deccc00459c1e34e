"""The command line.  Exit status: 0 everything conforms, 1 something does not, 2 the request itself
cannot be carried out (one clear line, no traceback)."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from . import __version__, known
from .adopting import conformed, known_command, mark, with_known
from .cluster import run_on_cluster
from .comparing import compare
from .errors import RequestError
from .formats import FORMATS, format_named
from .identifying import identify
from .journal import Journal
from .listing import implementations_of, listing
from .options import (
    Positive,
    claimable,
    drawing,
    output_files,
    parse_hyper,
    parse_variant,
    renamed,
)
from .printing import say, to_whom_it_concerns, visible
from .record import command_line, dumps, record, write
from .recording.commands import audit_command, diff_command, record_command
from .render import box, latex
from .reporting import report
from .serve import Message
from .spec_file import load
from .trials import detectability, mutants
from .worker import Job, known_checks, run_jobs

VERDICTS = {
    "conforms": "[green]conforms[/]",
    "variant": "[yellow]variant[/]",
    "diverges": "[red]diverges[/]",
    "undecided": "[magenta]undecided[/]",
    "unsupported": "[dim]unsupported[/]",
    "error": "[bold red]error[/]",
}


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="optconform")
def cli() -> None:
    """Prove which equations a deep-learning optimizer computes."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: one line and status 2 for whatever the user got wrong."""
    try:
        status = cli.main(args=arguments, standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as e:
        click.echo(e.format_message())
        sys.exit(2)
    except click.ClickException as e:
        _fail(" ".join(e.format_message().split()))
    except RequestError as e:
        _fail(str(e))
    except OSError as e:  # a disk that is full, a folder that went while the run was under way
        _fail(f"{e.filename}: {e.strerror}" if e.filename else str(e))
    except (click.Abort, KeyboardInterrupt):
        say("optconform: interrupted", err=True)
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)


def _fail(message: str) -> None:
    say("optconform: " + " ".join(message.split()), err=True)
    sys.exit(2)


# ---- check -----------------------------------------------------------------------------------


@cli.command()
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option(
    "--spec",
    "spec_option",
    help="The spec that the targets claim to follow: a name or a .toml file.",
)
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="AXIS=VALUE",
    help="A variant that the targets claim.",
)
@click.option(
    "--dtype", "dtypes", multiple=True, help="float32, float64, bfloat16 or float16; default all."
)
@drawing
@click.option("--jobs", type=click.IntRange(1), default=None, help="Processes; default one a core.")
@click.option("--cluster", metavar="ADDRESS", help="Judge on the workers of this dask scheduler.")
@click.option(
    "--memory",
    type=Positive(),
    default=None,
    help="GiB a process may take; default three quarters of the machine's, shared by all.",
)
@click.option("--json", "json_path", help="Write the record to this file.")
@click.option("--html", "html_path", help="Write the report to this file.")
@click.option("--markdown", "markdown_path", help="Write a summary to this file.")
@click.option("--known", "known_path", help="A TOML file of known divergences.")
@click.option("--resume", is_flag=True, help="Go on with an interrupted run that had this --json.")
def check(
    targets: tuple[str, ...],
    spec_option: str | None,
    variants: tuple[str, ...],
    dtypes: tuple[str, ...],
    hypers: tuple[str, ...],
    examples: int,
    steps: int,
    seed: int,
    timeout: float,
    jobs: int | None,
    cluster: str | None,
    memory: float | None,
    json_path: str | None,
    html_path: str | None,
    markdown_path: str | None,
    known_path: str | None,
    resume: bool,
) -> int:
    """Judge implementations by the equations they claim.

    TARGET is a library (torch), a class (torch.optim:AdamW, package.module:Class), a file's class
    (path/to/file.py:Class), or installed: every library of `list implementations` that is there.
    """
    reads = (*targets, spec_option, known_path)
    outputs = output_files(json_path, html_path, markdown_path, reads=reads)
    if resume and outputs[0] is None:
        raise RequestError("--resume needs the --json of the run that was interrupted")
    wanted = [format_named(d).name for d in dtypes] or list(FORMATS)
    claimed = parse_variant(variants)
    fixed = parse_hyper(hypers)
    divergences = known.read(Path(known_path)) if known_path is not None else ()
    settings = {
        "examples": examples, "steps": steps, "seed": seed, "dtypes": wanted,
    }  # fmt: skip
    if spec_option is not None:
        claimable(load(spec_option), claimed, {})
    todo: list[Job] = []
    processes = jobs or os.cpu_count() or 1
    for target, implementations in implementations_of(targets, spec_option, processes=processes):
        for found in implementations:
            spec = load(found["spec"])
            here = renamed(fixed, spec, found["keywords"])
            claimable(spec, claimed, here, found)
            todo += [
                Job(
                    target=target,
                    spec_option=spec_option,
                    implementation=found["implementation"],
                    spec=found["spec"],
                    spec_name=spec.name,
                    dtype=dtype,
                    variant={**found["variant"], **claimed},
                    settings={**settings, "hyper": here},
                    slow=found["slow"],
                    library=found["library"],
                    version=found["version"],
                    world=found["world"],
                    own=found.get("own", ""),
                )
                for dtype in wanted
            ]
    checks = known_checks()
    begin = time.monotonic()
    todo, entries = with_known(todo, divergences, checks)
    where = (
        partial(run_on_cluster, address=cluster)
        if cluster is not None
        else (partial(run_jobs, processes=processes))
    )
    judge = partial(where, timeout=timeout, memory=memory)
    journal = Journal(outputs[0], todo, resume=resume) if outputs[0] is not None else None
    results = [
        known.settle(r, some) for r, some in zip(_run(todo, judge, journal), entries, strict=True)
    ]
    made = record(
        results,
        {
            "command": command_line(),
            "seed": seed,
            "examples": examples,
            "steps": steps,
            "dtypes": wanted,
            "seconds": round(time.monotonic() - begin, 1),
        },
        [job.spec for job in todo],
        checks,
    )
    data = json.loads(dumps(made))
    _write(data, outputs)  # before anything is printed: what is found is not lost with a terminal
    if journal is not None:
        journal.done()
    with to_whom_it_concerns():
        _tell(data)
        for path in filter(None, outputs):
            say(f"wrote {path}")
        if not any(outputs) and any(r["findings"] for r in data["results"]):
            say("For equations, scenarios and scripts run it again with --html report.html")
    return 0 if conformed(results) else 1


def _run(
    todo: Sequence[Job],
    judge: Callable[..., Iterator[tuple[Job, Message]]],
    journal: Journal | None,
) -> list[Message]:
    """The results, in the order of the jobs; those in the journal are there already."""
    found: dict[int, Message] = dict(journal.found) if journal is not None else {}
    place = {id(job): k for k, job in enumerate(todo)}
    rest = [job for k, job in enumerate(todo) if k not in found]
    console = Console(stderr=True)
    running: dict[str, int] = {}
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[checks]:,} checks, {task.fields[findings]} findings"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("judging", total=len(rest), checks=0, findings=0)

        def progress(job: Job, message: Message) -> None:
            if message["event"] == "progress":
                running[f"{job.implementation} {job.dtype}"] = message["counts"]["total"]
                bar.update(task, checks=sum(running.values()))

        findings = 0
        for job, result in judge(rest, progress=progress):
            found[place[id(job)]] = result
            if journal is not None:
                journal.add(place[id(job)], result)
            findings += len(result["findings"])
            name = f"{job.implementation} {job.dtype}"
            running[name] = result["checks"].get("total", 0)
            bar.update(task, advance=1, findings=findings, checks=sum(running.values()))
            if not console.is_terminal:
                console.print(
                    visible(f"[{len(found)}/{len(todo)}] {name}: {result['verdict']}"),
                    markup=False,
                    highlight=False,
                    soft_wrap=True,
                )
    return [found[k] for k in range(len(todo))]


def _tell(made: Mapping[str, Any]) -> None:
    """The matrix and the findings, for people; all that a record says is visible."""
    console = Console(soft_wrap=True, highlight=False)
    rows: dict[tuple[str, str], dict[str, Message]] = {}
    for r in made["results"]:
        rows.setdefault((r["implementation"], r["spec"]), {})[r["dtype"]] = r
    dtypes = list(dict.fromkeys(r["dtype"] for r in made["results"]))
    table = Table("implementation", "spec", *dtypes, box=None, pad_edge=False)
    for (name, spec), cells in rows.items():
        table.add_row(
            _escape(name),
            _escape(spec),
            *(VERDICTS[cells[d]["verdict"]] if d in cells else "" for d in dtypes),
        )
    wide = Console(highlight=False, width=max(console.width, 160))
    wide.print(table, crop=False)
    # what differs between dtypes in its numbers alone is told once
    shown: dict[tuple[str, str, str], tuple[str, dict[str, None]]] = {}
    for r in made["results"]:
        told = [(f["kind"], f["summary"] + mark(f)) for f in r["findings"]]
        if r["message"] and not told:
            told = [(r["verdict"], r["message"])]
        for kind, summary in told:
            key = (r["implementation"], kind, known.reason(summary))
            shown.setdefault(key, (summary, {}))[1][r["dtype"]] = None
    if shown:
        console.print()
    for (name, kind, _), (summary, where) in shown.items():
        console.print(f"{name} ({', '.join(where)}): {kind}: {summary}", markup=False)
    checks = sum(r["checks"].get("total", 0) for r in made["results"])
    undecided = sum(r["checks"].get("undecided", 0) for r in made["results"])
    vacuous = sum(r["checks"].get("vacuous", 0) for r in made["results"])
    console.print(
        f"\n{checks:,} element-checks, {_share(undecided, checks)} undecided, "
        f"{_share(vacuous, checks)} vacuous, in {made['run']['seconds']} s"
    )


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0 %"


def _escape(text: str) -> str:
    from rich.markup import escape

    return escape(text)


def _write(data: Mapping[str, Any], outputs: Sequence[Path | None]) -> None:
    from .reports import render_html, render_markdown

    renders: tuple[Callable[[Any], str], ...] = (dumps, render_html, render_markdown)
    for path, render in zip(outputs, renders, strict=True):
        if path is not None:
            write(path, render(data))


# ---- show ------------------------------------------------------------------------------------


@cli.command()
@click.argument("spec")
@click.option("--variant", "variants", multiple=True, metavar="AXIS=VALUE")
@click.option("--latex", "as_latex", is_flag=True, help="LaTeX instead of text.")
def show(spec: str, variants: tuple[str, ...], as_latex: bool) -> None:
    """Print the algorithm box of SPEC, a name or a .toml file."""
    loaded = load(spec)
    variant = loaded.variant(parse_variant(variants))
    say((latex if as_latex else box)(loaded, variant))


cli.add_command(listing)
cli.add_command(compare)
cli.add_command(identify)
cli.add_command(known_command)
cli.add_command(record_command)
cli.add_command(diff_command)
cli.add_command(audit_command)
cli.add_command(mutants)
cli.add_command(report)
cli.add_command(detectability)


if __name__ == "__main__":
    main()
