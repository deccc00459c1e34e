"""The record: everything a run found, as JSON that any report can be rendered from."""

import json
import math
import platform
import sys
from collections.abc import Iterable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from . import __version__
from .render import box, equations, latex
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


def spec_summary(name: str) -> dict[str, Any]:
    """What a report says about a spec."""
    spec = load(name)
    return {
        "title": spec.title,
        "cite": spec.cite,
        "text": box(spec, {}),
        "latex": latex(spec, {}),
        "equations": equations(spec, {}),
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


def record(
    results: Iterable[Mapping[str, Any]], run: Mapping[str, Any], specs: Iterable[str]
) -> dict[str, Any]:
    """The whole record; ``specs`` are the specs it judged by, as :func:`load` takes them."""
    from .examine import CHECKS  # it brings torch, which no other command of the parent needs

    rows = [dict(r) for r in results]
    return {
        "schema": SCHEMA,
        "environment": environment({r["library"]: r["version"] for r in rows}),
        "run": dict(run),
        "checks": CHECKS,
        "specs": {load(n).name: spec_summary(n) for n in dict.fromkeys(specs)},
        "results": rows,
    }


def plain(x: Any) -> Any:
    """``x`` in strict JSON: non-finite numbers become the strings nan, inf and -inf."""
    if isinstance(x, Mapping):
        return {str(k): plain(v) for k, v in x.items()}
    if isinstance(x, list | tuple):
        return [plain(v) for v in x]
    if isinstance(x, np.generic):
        x = x.item()
    if isinstance(x, float) and not math.isfinite(x):
        return str(x)
    return x


def write(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)


def dumps(data: Mapping[str, Any]) -> str:
    return json.dumps(plain(data), indent=1, allow_nan=False) + "\n"


def command_line() -> str:
    return " ".join(["optconform", *sys.argv[1:]])
