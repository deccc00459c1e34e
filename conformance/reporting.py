"""The command ``report``: the files that a record can be told in, from the record alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click

from .errors import RequestError
from .options import output_files
from .printing import say
from .record import write


@click.command()
@click.argument("record", metavar="RECORD.json")
@click.option("--html", "-o", "html_path", help="Write the report to this file.")
@click.option("--markdown", "markdown_path", help="Write a summary to this file.")
@click.option("--badge", "badge_path", help="Write the JSON of a badge to this file.")
@click.option(
    "--baseline", "baseline_path", metavar="RECORD.json", help="Tell what changed since this run."
)
@click.option(
    "--power",
    "power_paths",
    multiple=True,
    metavar="TRIALS.json",
    help="Show what mutants or detectability wrote.",
)
def report(
    record: str,
    html_path: str | None,
    markdown_path: str | None,
    badge_path: str | None,
    baseline_path: str | None,
    power_paths: tuple[str, ...],
) -> int:
    """Render a record that check --json wrote: optconform report RECORD.json -o report.html."""
    from .reports import render_badge, render_html, render_markdown

    reads = (record, baseline_path, *power_paths)
    outputs = output_files(html_path, markdown_path, badge_path, reads=reads)
    if not any(outputs):
        raise RequestError("nothing to write: give --html, --markdown or --badge")
    made = read_json(record)
    before = None if baseline_path is None else read_json(baseline_path)
    trials = [read_json(p) for p in power_paths]
    renders: tuple[Callable[[], str], ...] = (
        lambda: render_html(made, before=before, trials=trials),
        lambda: render_markdown(made, before=before),
        lambda: render_badge(made),
    )
    try:
        rendered = [(path, render()) for path, render in zip(outputs, renders, strict=True) if path]
    except ValueError as e:
        raise RequestError(str(e)) from None
    except RecursionError:
        raise RequestError(f"cannot render {record}: it is nested too deeply") from None
    for path, text in rendered:
        write(path, text)
        say(f"wrote {path}")
    return 0


def read_json(path: str) -> Any:
    """The JSON of a file; RequestError when there is none.  NaN and infinities are no JSON."""

    def refuse(constant: str) -> NoReturn:
        raise ValueError(f"{constant} is no JSON")

    try:
        return json.loads(Path(path).read_text("utf-8"), parse_constant=refuse)
    except OSError as e:
        raise RequestError(f"cannot read {path}: {e.strerror or e}") from None
    except RecursionError:
        raise RequestError(f"cannot read {path}: it is nested too deeply") from None
    except ValueError as e:
        raise RequestError(f"cannot read {path}: {e}") from None
