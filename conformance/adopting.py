"""Known divergences on the command line: ``check --known`` and the command ``known``."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from . import known
from .errors import RequestError
from .implementation import LIBRARIES
from .known import Divergence, for_cell, replays
from .options import output_files
from .printing import say
from .record import SCHEMA, plain, write
from .scenario import to_json
from .spec_file import load
from .worker import Job


def with_known(
    jobs: Sequence[Job], divergences: Sequence[Divergence], checks: Collection[str]
) -> tuple[list[Job], list[tuple[Divergence, ...]]]:
    """The jobs with the scenarios of what is known of them, and the entries about each; entries
    about none are told.  ``checks`` are all that optconform has; libraries that other packages
    bring may have more."""
    made, entries, cells = [], [], []
    for job in jobs:
        cell = {**asdict(job), "spec": job.spec_name}
        ours = ":" in job.target or job.target in LIBRARIES
        about = for_cell(divergences, cell, load(job.spec), checks if ours else None)
        saved = [to_json(d.scenario) for d in replays(about) if d.scenario is not None]
        made.append(replace(job, settings={**job.settings, "replay": saved}) if saved else job)
        entries.append(about)
        cells.append(cell)
    for sentence in known.unmatched(divergences, cells):
        say(f"optconform: {sentence}", err=True)
    return made, entries


def conformed(results: Sequence[Mapping[str, Any]]) -> bool:
    """Whether something conforms, and nothing fails that is not known to."""
    judged = [r for r in results if r["verdict"] != "unsupported"]
    return bool(judged) and all(
        known.all_known(r) or (r["verdict"] == "conforms" and not r["findings"]) for r in judged
    )


def mark(finding: Mapping[str, Any]) -> str:
    """What is said of a known finding besides."""
    if "known" not in finding or finding["kind"] == "stale":
        return ""
    return f" (known: {finding['issue'] or finding['known']})"


@click.command("known")
@click.argument("record")
@click.option("--issue", default="", help="A link to the issue.")
@click.option("-o", "--output", help="Add the entries to this file, instead of printing them.")
def known_command(record: str, issue: str, output: str | None) -> None:
    """Write the findings of RECORD, a JSON record of check, as entries of a known-file.

    What is already in the file stays; findings that are in it are left out.
    """
    (path,) = output_files(output, reads=[record])
    there = known.read(path) if path is not None and path.exists() else ()
    taken = {d.id for d in there}
    entries = []
    for result, finding in _findings(record):
        cell = {k: str(result[k]) for k in ("implementation", "spec", "dtype", "version")}
        about = [d for d in there if d.concerns(*cell.values())]
        if any(d.is_about(finding) for d in about):
            continue
        entries.append(known.entry_of(result, finding, issue=issue, taken=taken))
    text = "\n".join(entries)
    if path is None:
        say(text, nl=False)
        return
    if there and text:
        text = path.read_text(encoding="utf-8").rstrip() + "\n\n" + text
    if text:
        write(path, text)
    say(f"wrote {path}: {len(entries)} new, {len(there)} there before")


def _findings(record: str) -> list[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """The findings of a record that are not marked as known, each with its result."""
    try:
        data = plain(json.loads(Path(record).read_text(encoding="utf-8")))
        if data["schema"] != SCHEMA:
            raise ValueError(f"its schema is {data['schema']!r}")
        found = [(r, f) for r in data["results"] for f in r["findings"] if "known" not in f]
        for result, finding in found:
            known.entry_of(result, finding)
            str(result["version"])
    except OSError as e:
        raise RequestError(f"cannot read {record}: {e.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as e:
        raise RequestError(f"{record} is no record of optconform check: {e}") from None
    return found
