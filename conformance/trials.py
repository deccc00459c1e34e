"""The commands that put the judge itself on trial: ``mutants`` and ``detectability``."""

import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from .detect import thresholds
from .errors import RequestError
from .formats import EXTENDED, FORMATS, format_named
from .lattice import deviations
from .mutants import OPERATORS
from .options import output_files, parse_variant, trial
from .power import Drawing, Row, report
from .printing import say
from .record import command_line, environment, write
from .spec_file import bundled, load
from .tables import by_lines, detectability_table, label, mutants_table

MUTANTS = """\
Each mutant is the equations of a spec with one thing changed, run in the arithmetic of the dtype \
and judged like any other optimizer, by the scenarios that `check` draws, the dtypes in turn. \
Killed: a scenario failed; *scenarios* and *checks* count all that was drawn and judged until \
then, in every dtype, the failing scenario included. \
Equivalent: the change has no effect, for the reason told. Survived: neither, which is a hole."""

DETECTABILITY = """\
The smallest relative error of a hyperparameter that is caught, to half a power of ten. \
*optconform*: the scenarios that `check` draws. *p*, *p and state*: `torch.testing.assert_close` \
with its default tolerances after ten steps of N(0, 1) gradients on 1000 elements at the default \
hyperparameters, on the parameters alone and with the state. It compares with the same program, \
so no rounding comes between: its best case, where optconform admits every faithful program. \
*never*: not even an error of 1, which where the default is 0 is no error. *0*: what is right \
fails as well, for it holds a NaN."""

Unit = tuple[Any, ...]


@click.command()
@click.argument("specs", nargs=-1, metavar="[SPEC]...")
@click.option(
    "--variant",
    "variants",
    multiple=True,
    metavar="AXIS=VALUE",
    help="Only this variant; default the spec and every single deviation from it.",
)
@trial
def mutants(
    specs: tuple[str, ...],
    variants: tuple[str, ...],
    dtypes: tuple[str, ...],
    examples: int,
    steps: int,
    seed: int,
    jobs: int | None,
    json_path: str | None,
    markdown_path: str | None,
) -> int:
    """Change the equations of each SPEC in every small way, and see whether the judge notices.

    SPEC is a name or a .toml file; default all.  Exit status 1 when a mutant survives that is not
    equivalent, or when the unchanged equations do not conform.
    """
    outputs = output_files(json_path, markdown_path, reads=specs)
    drawing = _drawing(dtypes, examples, steps, seed)
    wanted = parse_variant(variants)
    units: list[Unit] = []
    for name in specs or bundled():
        spec = load(name)
        for variant in [spec.variant(wanted)] if wanted else deviations(spec):
            units.append((name, tuple(variant.items()), drawing))
    begin = time.monotonic()
    programs = []
    entries = []
    for row in _each(report, units, jobs):
        found = row.pop("mutants")
        programs.append(row)
        # what was killed in a deviation is told by its operator
        whole = bool(wanted) or not row["variant"]
        entries += [
            {"program": label(row), **m} for m in found if whole or m["verdict"] != "killed"
        ]
        say(_line(row, len(found)))
        for m in found:
            if m["verdict"] == "survived":
                say(f"  survived: {m['operator']} in {m['where']}: {m['change']}")
    data = {
        **_head("optconform/mutants/1", begin, drawing),
        "definition": MUTANTS,
        "operators": OPERATORS,
        "programs": programs,
        "mutants": entries,
    }
    for m in _distinct(entries):
        say(f"equivalent: {m['program']}: {m['where']}: {m['change']}: {m['reason']}")
    total = {v: sum(p[v] for p in programs) for v in ("killed", "equivalent", "survived")}
    say(", ".join(f"{n:,} {v}" for v, n in total.items()) + f", in {data['run']['seconds']} s")
    _write(data, outputs, mutants_table)
    sound = all(p["control"] == "conforms" for p in programs)
    return 0 if sound and not total["survived"] else 1


def _line(row: Row, count: int) -> str:
    out = f"{label(row)}: {count} mutants, {row['killed']} killed"
    if row["scenarios"]["max"] is not None:
        many, checks = row["scenarios"], row["checks"]
        out += (
            f" (scenarios: median {many['median']:g}, most {many['max']}; "
            f"checks: median {checks['median']:,g}, most {checks['max']:,})"
        )
    out += f", {row['equivalent']} equivalent, {row['survived']} survived"
    if row["control"] != "conforms":
        out += f"; THE CONTROL FAILS: {row['control']}"
    return out


def _distinct(entries: Sequence[Row]) -> Iterator[Row]:
    seen = set()
    for m in entries:
        key = (m["program"].split("[")[0], m["where"], m["change"])
        if m["verdict"] == "equivalent" and key not in seen:
            seen.add(key)
            yield m


@click.command()
@click.argument("specs", nargs=-1, metavar="[SPEC]...")
@trial
def detectability(
    specs: tuple[str, ...],
    dtypes: tuple[str, ...],
    examples: int,
    steps: int,
    seed: int,
    jobs: int | None,
    json_path: str | None,
    markdown_path: str | None,
) -> int:
    """Say how wrong a hyperparameter of each SPEC must be for the judge to notice, and for
    torch.testing.assert_close.

    SPEC is a name or a .toml file; default all.
    """
    outputs = output_files(json_path, markdown_path, reads=specs)
    drawing = _drawing(dtypes, examples, steps, seed)
    units: list[Unit] = [
        (load(name) and name, dtype, drawing)
        for name in specs or bundled()
        for dtype in drawing.dtypes
    ]
    begin = time.monotonic()
    rows = [asdict(t) for found in _each(thresholds, units, jobs) for t in found]
    data = {
        **_head("optconform/detectability/1", begin, drawing),
        "definition": DETECTABILITY,
        "thresholds": rows,
    }
    say(detectability_table(data))
    _write(data, outputs, detectability_table)
    return 0


def _drawing(dtypes: Sequence[str], examples: int, steps: int, seed: int) -> Drawing:
    wanted = [format_named(d).name for d in dtypes] or list(FORMATS)
    judged = tuple(dict.fromkeys(d for d in wanted if d != "float64" or EXTENDED))
    if not judged:
        raise RequestError("float64 subjects need an 80-bit long double here")
    return Drawing(examples=examples, steps=steps, seed=seed, dtypes=judged)


def _each(work: Callable[..., Any], units: Sequence[Unit], jobs: int | None) -> Iterator[Any]:
    """The results in order, from so many processes."""
    processes = min(jobs or os.cpu_count() or 1, len(units))
    if processes == 1:
        for unit in units:
            yield work(*unit)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        yield from pool.map(work, *zip(*units, strict=True))


def _head(schema: str, begin: float, drawing: Drawing) -> Row:
    return {
        "schema": schema,
        "environment": environment({}),
        "run": {
            "command": command_line(),
            **asdict(drawing),
            "seconds": round(time.monotonic() - begin, 1),
        },
    }


def _write(
    data: Mapping[str, Any], outputs: Sequence[Path | None], markdown: Callable[[Row], str]
) -> None:
    for path, render in zip(outputs, (by_lines, markdown), strict=True):
        if path is not None:
            write(path, render(dict(data)))
            say(f"wrote {path}")
