"""What is printed holds only what can be seen: text of a subject can neither break the output, as
half of a surrogate pair does, nor give the terminal orders."""

import contextlib
import os
import re
import sys
from collections.abc import Iterator

import click

_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ud800-\udfff]"
)


def visible(value: str) -> str:
    """Control, bidirectional and lone-surrogate characters spelled out, so that none misleads."""
    plain = value.replace("\r\n", "\n")
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", plain)


def say(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print ``text``, visible."""
    click.echo(visible(text), err=err, nl=nl)


@contextlib.contextmanager
def to_whom_it_concerns() -> Iterator[None]:
    """Print to a reader who may go, as ``head`` does: the status says what was found all the same.

    click and rich end the program then, with the status that stands for a divergence.
    """
    try:
        yield
        sys.stdout.flush()
    except (BrokenPipeError, SystemExit):
        with open(os.devnull, "w") as nowhere:  # what is flushed at the end goes there
            os.dup2(nowhere.fileno(), sys.__stdout__.fileno() if sys.__stdout__ else 1)
