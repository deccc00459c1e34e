"""The commands ``record``, ``diff`` and ``audit``."""

import tempfile
from pathlib import Path
from typing import Any

import click
from packaging.utils import canonicalize_name

from ..errors import RequestError
from ..formats import FORMATS, format_named
from ..options import output_files
from ..printing import say, to_whom_it_concerns
from ..record import command_line, dumps, write
from . import tape
from .difference import difference, worse
from .environments import besides, cache_folder, environment, requirement
from .host import Interpreter
from .make import Side, ask_who, record


def dtypes_option(f: Any) -> Any:
    return click.option(
        "--dtype",
        "dtypes",
        multiple=True,
        help="float32, float64, bfloat16 or float16; default all.",
    )(f)


def timeout_option(f: Any) -> Any:
    return click.option(
        "--timeout",
        type=click.FloatRange(min=0, min_open=True),
        default=300.0,
        show_default=True,
        help="Seconds an implementation may take for its scenarios in one dtype.",
    )(f)


@click.command("record")
@click.argument("targets", nargs=-1, required=True, metavar="TARGET...")
@click.option("-o", "--output", "folder", required=True, help="The folder to record into.")
@click.option("--spec", "spec_option", help="The spec that the targets claim to follow.")
@dtypes_option
@timeout_option
def record_command(
    targets: tuple[str, ...],
    folder: str,
    spec_option: str | None,
    dtypes: tuple[str, ...],
    timeout: float,
) -> None:
    """Record what each TARGET does in a fixed corpus of scenarios, for optconform diff.

    TARGET is as for check, or an installed distribution: then all of its classes that derive from
    torch.optim.Optimizer are recorded, those that no spec describes as well.
    """
    wanted = [format_named(d).name for d in dtypes] or list(FORMATS)
    out = tape.folder_for(folder)
    side = Side(Interpreter(), out, {"name": ", ".join(targets), "command": command_line()})
    try:
        ask_who(side, targets, spec_option)
        if not side.listed:
            raise RequestError(f"{' and '.join(targets)}: there is no optimizer to record")
        record([side], wanted, timeout, lambda line: say(line, err=True))
    finally:
        side.team.stop()
    say(f"recorded {len(side.listed)} implementations in {folder}")


def output_options(f: Any) -> Any:
    for name, text in (
        ("markdown", "Write a summary to this file."),
        ("html", "Write the report to this file."),
        ("json", "Write the differences to this file."),
    ):
        f = click.option(f"--{name}", f"{name}_path", help=text)(f)
    return click.option("--bits", is_flag=True, help="Let other roundings count as well.")(f)


@click.command("diff")
@click.argument("before")
@click.argument("after")
@output_options
def diff_command(
    before: str,
    after: str,
    bits: bool,
    json_path: str | None,
    html_path: str | None,
    markdown_path: str | None,
) -> int:
    """Compare the recordings in two folders.

    Exit status 1 when numerics, defaults or names changed.
    """
    outputs = output_files(json_path, html_path, markdown_path, reads=(before, after))
    data = difference(tape.read(Path(before)), tape.read(Path(after)))
    return tell(data, outputs, bits=bits, names=(before, after))


def tell(
    data: dict[str, Any], outputs: list[Path | None], *, bits: bool, names: tuple[str, str]
) -> int:
    """Print and write the differences; the exit status."""
    from ..reports.difference import summary, to_html, to_markdown

    for side, name in zip(("before", "after"), names, strict=True):
        data[side]["name"] = data[side]["name"] or name
        data[side]["folder"] = name
    data["breaks"] = worse(data, bits=bits)
    for path, render in zip(outputs, (dumps, to_html, to_markdown), strict=True):
        if path is not None:
            write(path, render(data))
    with to_whom_it_concerns():
        say(summary(data), nl=False)
        for path in filter(None, outputs):
            say(f"wrote {path}")
    return 1 if data["breaks"] else 0


@click.command("audit")
@click.argument("before")
@click.argument("after")
@click.option(
    "--target", "targets", multiple=True, help="What to record; default the whole library."
)
@click.option(
    "--with",
    "extra",
    multiple=True,
    metavar="REQUIREMENT",
    help="What both environments have besides, such as the jax of that time.",
)
@click.option("--cache", "cache", help="The folder in which environments are kept.")
@dtypes_option
@timeout_option
@output_options
def audit_command(
    before: str,
    after: str,
    targets: tuple[str, ...],
    extra: tuple[str, ...],
    cache: str | None,
    dtypes: tuple[str, ...],
    timeout: float,
    bits: bool,
    json_path: str | None,
    html_path: str | None,
    markdown_path: str | None,
) -> int:
    """Say what changes when a library is upgraded: 'NAME==VERSION' twice.

    Each release is installed into an environment of its own, over the one that optconform runs in,
    recorded there, and the recordings are compared.  Exit status 1 when numerics, defaults or names
    changed.
    """
    outputs = output_files(json_path, html_path, markdown_path)
    wanted = [format_named(d).name for d in dtypes] or list(FORMATS)
    asked = [requirement(before), requirement(after)]
    if canonicalize_name(asked[0].name) != canonicalize_name(asked[1].name):
        raise RequestError(f"{before} and {after} are two libraries; an audit takes two releases")
    more = [besides(x) for x in extra]
    kept = cache_folder(cache)

    def tell_line(line: str) -> None:
        say(line, err=True)

    with tempfile.TemporaryDirectory(prefix="optconform-") as scratch:
        sides = []
        for name, release in zip(("before", "after"), asked, strict=True):
            interpreter = environment(release, more, kept, tell_line)
            folder = tape.folder_for(str(Path(scratch) / name))
            sides.append(Side(interpreter, folder, {"name": str(release)}))
        try:
            for side, release in zip(sides, asked, strict=True):
                ask_who(side, targets or (release.name,), None)
            record(sides, wanted, timeout, tell_line)
        finally:
            for side in sides:
                side.team.stop()
        data = difference(*(tape.read(side.folder) for side in sides))
    return tell(data, outputs, bits=bits, names=(before, after))
