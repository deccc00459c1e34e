"""The record: everything a run found, as JSON that any report can be rendered from."""

import json
import math
import platform
import secrets
import stat
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__
from .printing import visible
from .render import box, equations, latex, symbols
from .spec import Spec, Variant, equations_of, states_of
from .spec_file import load

SCHEMA = "optconform/report/1"


def environment(versions: Mapping[str, str]) -> dict[str, str]:
    """What the run was made with; ``versions`` adds the judged libraries."""
    out = {
        "optconform": __version__,
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}",
    }
    for name in ("numpy", "torch", "hypothesis", "python-flint"):
        try:
            out[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return out | {k: v for k, v in versions.items() if k and v}


def spec_summary(name: str, seen: Iterable[Variant] = ()) -> dict[str, Any]:
    """What a report says about a spec: its programs are the default, what differs from it on one
    axis, and the variants that were ``seen``."""
    from .coverage import neighbours  # brings torch, see below

    spec = load(name)
    one_axis = [dict(v) for v in neighbours(spec, {})]
    chosen = {tuple(spec.variant(v).items()): None for v in ({}, *one_axis, *seen)}
    return {
        "title": spec.title,
        "cite": spec.cite,
        "text": box(spec, {}),
        "latex": latex(spec, {}),
        "equations": equations(spec, {}),
        "symbols": {n: s for v in chosen for n, s in symbols(spec, dict(v)).items()},
        "hypers": {
            h.name: {"default": h.default, "domain": None if h.is_flag else str(h.domain)}
            for h in spec.hypers.values()
        },
        "programs": [_program(spec, dict(v)) for v in chosen],
        "axes": {
            axis.name: {
                "default": axis.default,
                "values": {
                    value: {"effect": c.effect, "links": list(c.links)}
                    for value, c in axis.choices.items()
                },
            }
            for axis in spec.axes.values()
        },
    }


def _program(spec: Spec, variant: Variant) -> dict[str, Any]:
    """The equations of a variant in the language of the specs, and what its state starts from."""
    states = states_of(spec, variant).values()
    return {
        "variant": dict(variant),
        "forms": {name: forms[0] for name, forms in equations_of(spec, variant).items()},
        "states": {
            s.name: {"init": s.init, "torch_name": s.torch_name, "when": s.when} for s in states
        },
    }


def _seen(rows: Iterable[Mapping[str, Any]], spec: str) -> list[Variant]:
    """The variants of a spec that the results claim or follow."""
    found: list[Variant] = []
    for r in rows:
        if r["spec"] == spec:
            matched = [f.get("variant_match") for f in r["findings"]]
            found += [v for v in (r["claimed"], r["variant"], *matched) if v]
    return found


def record(
    results: Iterable[Mapping[str, Any]],
    run: Mapping[str, Any],
    specs: Iterable[str],
    checks: Mapping[str, str],
) -> dict[str, Any]:
    """The whole record; ``specs`` are the specs it judged by, as :func:`load` takes them, and
    ``checks`` what each check says, in a sentence."""
    rows = [dict(r) for r in results]
    return {
        "schema": SCHEMA,
        "environment": environment({r["library"]: r["version"] for r in rows}),
        "run": dict(run),
        "checks": dict(checks),
        "specs": {
            load(n).name: spec_summary(n, _seen(rows, load(n).name)) for n in dict.fromkeys(specs)
        },
        "results": rows,
    }


def plain(x: Any) -> Any:
    """``x`` in strict JSON: non-finite numbers become the strings nan, inf and -inf, and what a
    text hides is spelled out."""
    if isinstance(x, str):
        return visible(x)
    if isinstance(x, Mapping):
        return {visible(str(k)): plain(v) for k, v in x.items()}
    if isinstance(x, list | tuple):
        return [plain(v) for v in x]
    if isinstance(x, np.generic):
        x = x.item()
    if isinstance(x, float) and not math.isfinite(x):
        return str(x)
    return x


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    A link stays one, and a file keeps its mode; what is no file, as a pipe or a device, is written
    to as it is.
    """
    if is_stream(path):
        with path.open("w", encoding="utf-8") as stream:
            stream.write(text)
        return
    whole = path.resolve()
    part = whole.with_name(f"{whole.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("x", encoding="utf-8") as file:
            file.write(text)
        if whole.exists():
            part.chmod(stat.S_IMODE(whole.stat().st_mode))
        part.replace(whole)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def is_stream(path: Path) -> bool:
    """Whether what is there is written to and never replaced."""
    held_open = path.absolute().is_relative_to("/dev") or path.absolute().is_relative_to("/proc")
    return path.exists() and (held_open or not path.is_file())


def dumps(data: Mapping[str, Any]) -> str:
    return json.dumps(plain(data), indent=1, allow_nan=False) + "\n"


def command_line() -> str:
    return " ".join(["optconform", *sys.argv[1:]])
