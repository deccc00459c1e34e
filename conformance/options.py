"""What the options of the command line mean: text in, checked values out."""

import ast
import contextlib
import errno
import math
import os
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from .errors import RequestError
from .record import is_stream
from .spec import Spec, Value
from .strategies import refuse_unsatisfiable


def parse_variant(pairs: Sequence[str]) -> dict[str, str]:
    out: dict[str, str] = {}
    for pair in pairs:
        axis, sep, value = pair.partition("=")
        if not sep or not axis or not value:
            raise RequestError(f"--variant {pair!r} is not AXIS=VALUE")
        if out.setdefault(axis, value) != value:
            raise RequestError(f"--variant {axis} is given twice, as {out[axis]} and as {value}")
    return out


def parse_hyper(pairs: Sequence[str]) -> dict[str, Value]:
    """``beta2=0.99`` or the target's own ``betas=(0.9, 0.99)``, values as Python literals."""
    out: dict[str, Value] = {}
    for pair in pairs:
        name, sep, text = pair.partition("=")
        if not sep or not name:
            raise RequestError(f"--hyper {pair!r} is not NAME=VALUE")
        try:
            value = ast.literal_eval(text)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            raise RequestError(f"--hyper {pair!r}: {text!r} is not a Python literal") from None
        if name == "betas":
            if not isinstance(value, tuple | list) or len(value) != 2:
                raise RequestError(f"--hyper {pair!r}: betas is a pair of numbers")
            named = dict(zip(("beta1", "beta2"), value, strict=True))
        else:
            named = {name: value}
        for key, x in named.items():
            number = x if isinstance(x, bool) and name != "betas" else _number(x, pair)
            if out.setdefault(key, number) != number:
                raise RequestError(f"--hyper {key} is given twice, as {out[key]} and as {number}")
    return out


def _number(value: Any, pair: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RequestError(f"--hyper {pair!r}: {value!r} is not a number")
    try:
        return float(value)
    except OverflowError:
        name = pair.partition("=")[0]
        raise RequestError(f"--hyper {name}: the number is larger than any double") from None


def renamed(
    hypers: Mapping[str, Value], spec: Spec, keywords: Mapping[str, str]
) -> dict[str, Value]:
    """Settings under the spec's names, where they have those of a target."""
    return {n if n in spec.hypers else keywords.get(n, n): v for n, v in hypers.items()}


def claimable(
    spec: Spec,
    variant: Mapping[str, str],
    hypers: Mapping[str, Value],
    who: Mapping[str, Any] | None = None,
) -> None:
    """Raises RequestError for a variant or a setting that ``spec`` does not have; or, of an
    implementation as it is listed, for one that does not go with what it does not let one choose.
    """
    spec.variant(variant)
    spec.check_hypers(hypers)
    refuse_unsatisfiable(spec, hypers)
    if hypers and who is not None:
        refuse_unsatisfiable(spec, {**who["fixed"], **hypers}, who["implementation"])


def output_files(*paths: str | None, reads: Iterable[str | None] = ()) -> list[Path | None]:
    """Files to be written, each its own and none of those that are read; see :func:`output_file`.

    ``reads`` are the command's other arguments: files, FILE.py:CLASS, folders; what is no file is
    looked over.
    """
    found = [output_file(p) for p in paths]
    named = [p.resolve() for p in found if p is not None and not is_stream(p)]
    read = _files(filter(None, reads))
    for path in named:
        if named.count(path) > 1:
            raise RequestError(f"{path.name} would be written twice, one over the other")
        if path in read:
            raise RequestError(f"{path.name} is read, and would be written over")
    return found


def _files(arguments: Iterable[str]) -> set[Path]:
    found: set[Path] = set()
    for argument in arguments:
        file, colon, _ = argument.rpartition(":")
        path = Path(file if colon and file.endswith(".py") else argument)
        with contextlib.suppress(OSError):  # a name too long for one
            found |= {
                p.resolve() for p in (path.iterdir() if path.is_dir() else [path]) if p.exists()
            }
    return found


def output_file(path: str | None) -> Path | None:
    """A file to be written: that it can be is tried before anything is run."""
    if path is None:
        return None
    if not path:
        raise RequestError("cannot write a file without a name")
    out = Path(path)
    if out.is_dir():
        raise RequestError(f"cannot write {path}: it is a folder")
    whole = out if is_stream(out) else out.resolve()  # where a link leads
    if not whole.parent.is_dir():
        folder = out.parent if whole == out.absolute() else whole.parent
        raise RequestError(f"cannot write {path}: there is no folder {folder}")
    try:
        if whole.exists():
            if not os.access(whole, os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        else:
            with tempfile.TemporaryFile(dir=whole.parent):
                pass
    except OSError as e:
        raise RequestError(f"cannot write {path}: {e.strerror}") from None
    return out


Option = Callable[[Callable[..., Any]], Callable[..., Any]]


def _options(*options: Option) -> Option:
    def apply(f: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            f = option(f)
        return f

    return apply


class Positive(click.FloatRange):
    """A finite number above 0; NaN would pass as one, for it is not below."""

    def __init__(self) -> None:
        super().__init__(min=0, min_open=True)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is no finite number", param, ctx)
        return number


_amount = _options(
    click.option(
        "--examples",
        type=click.IntRange(1),
        default=60,
        show_default=True,
        help="Scenarios drawn for each implementation and dtype; 2 for what is compiled each time.",
    ),
    click.option(
        "--steps",
        type=click.IntRange(1),
        default=8,
        show_default=True,
        help="Most steps in a scenario.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(0),
        default=0,
        show_default=True,
        help="Reproduces a run bit for bit.",
    ),
)

drawing = _options(
    click.option(
        "--hyper", "hypers", multiple=True, metavar="NAME=VALUE", help="Fix a hyperparameter."
    ),
    _amount,
    click.option(
        "--timeout",
        type=Positive(),
        default=120.0,
        show_default=True,
        help="Seconds a subject may take for one scenario.",
    ),
)

trial = _options(
    click.option(
        "--dtype",
        "dtypes",
        multiple=True,
        help="float32, float64, bfloat16 or float16; default all.",
    ),
    _amount,
    click.option(
        "--jobs", type=click.IntRange(1), default=None, help="Processes; default one a core."
    ),
    click.option("--json", "json_path", help="Write the record to this file."),
    click.option("--markdown", "markdown_path", help="Write the tables to this file."),
)
