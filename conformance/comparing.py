"""The command ``compare``: two specs or variants, told at the terminal and in files."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from .comparison.compare import SCHEMA, as_dict
from .comparison.compare import compare as compared
from .options import output_files, parse_hyper
from .printing import say
from .record import dumps, environment, write
from .spec import Value


@click.command()
@click.argument("a", metavar="SPEC[axis=value,...]")
@click.argument("b", metavar="SPEC[axis=value,...]")
@click.option(
    "--hyper", "hypers", multiple=True, metavar="NAME=VALUE", help="Fix a hyperparameter of both."
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Draws the N(0, 1) gradients.",
)
@click.option("--json", "json_path", help="Write the comparison to this file.")
@click.option("--html", "html_path", help="Write the report, with plots, to this file.")
@click.option("--markdown", "markdown_path", help="Write the report as Markdown to this file.")
def compare(
    a: str,
    b: str,
    hypers: tuple[str, ...],
    seed: int,
    json_path: str | None,
    html_path: str | None,
    markdown_path: str | None,
) -> int:
    """Say what differs between two specs or variants, where they are the same, and how fast they
    part: compare adam adamw.

    SPEC is a name or a .toml file.  Both sides see the same hyperparameters: their defaults, moved
    where a difference would have no effect.
    """
    from .reports import comparison_html, comparison_markdown, tell_comparison

    outputs = output_files(json_path, html_path, markdown_path, reads=(a, b))
    fixed = parse_hyper(hypers)
    text = dumps(record_of(a, b, fixed, seed))
    made = json.loads(text)
    rendered: list[tuple[Path, str]] = []
    for path, kind in zip(outputs, ("json", "html", "markdown"), strict=True):
        if path is not None:
            other = comparison_html if kind == "html" else comparison_markdown
            rendered.append((path, text if kind == "json" else other(made)))
    for path, whole in rendered:
        write(path, whole)
    tell_comparison(made)
    for path, _ in rendered:
        say(f"wrote {path}")
    return 0


def record_of(a: str, b: str, fixed: Mapping[str, Value], seed: int) -> dict[str, Any]:
    """The whole record of a comparison; what it says depends on its arguments alone."""
    command = ["optconform", "compare", a, b, *(f"--hyper={n}={v}" for n, v in fixed.items())]
    return {
        "schema": SCHEMA,
        "environment": environment({}),
        "run": {"command": shlex.join([*command, f"--seed={seed}"]), "seed": seed},
        **as_dict(compared(a, b, hypers=fixed, seed=seed)),
    }
