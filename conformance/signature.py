"""What an optimizer's constructor calls each hyperparameter, and its default, read from the code.

Nothing is written by hand.  A hyperparameter's keyword is the one whose value changes when the
hyperparameter does, in what the implementation passes to its constructor; its default stands in the
constructor's signature.
"""

import inspect
from collections.abc import Mapping
from typing import Any

from .errors import RequestError, one_line
from .implementation import Implementation
from .spec import Spec, Value

Row = dict[str, Any]

PLAIN = (bool, int, float, str, type(None))


def defaults_of(implementation: Implementation, spec: Spec) -> Row | None:
    """An implementation's constructor beside the spec; None where it does not show its own.

    It is shown by two attributes that an implementation need not have: ``constructor``, what is
    called, and ``keywords``, a function of hyperparameters that gives what it is called with.
    ``hypers`` has for each of the spec's hyperparameters the ``keyword`` (``betas[1]`` is an
    element of one) or None, the ``default``, whether it is ``required``, whether the signature
    makes it ``known``, and whether it ``differs`` from the spec's; no value at all (None) is as
    good as 0 or False.  ``others`` are the remaining keywords with their defaults.
    """
    constructor = getattr(implementation, "constructor", None)
    if constructor is None or not hasattr(implementation, "keywords"):
        return None
    try:
        accepted = dict(inspect.signature(constructor).parameters)
    except (TypeError, ValueError):
        return None
    hypers = {}
    taken = set()
    for name, hyper in spec.hypers.items():
        keyword, index = _keyword(implementation, spec, name)
        known = accepted.get(keyword or "")
        taken.add(keyword)
        required = known is not None and known.default is known.empty
        default = None if known is None or required else known.default
        if index is not None and isinstance(default, list | tuple) and index < len(default):
            default = default[index]
        said = known is not None and not required
        hypers[name] = {
            "keyword": keyword if index is None else f"{keyword}[{index}]",
            "default": _plain(default),
            "required": required,
            "known": said,
            "spec": hyper.default,
            "differs": said and (0 if default is None else default) != hyper.default,
        }
    others = {
        n: _plain(p.default)
        for n, p in accepted.items()
        if n not in taken
        and p.default is not p.empty
        and p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)
    }
    return {
        "implementation": implementation.name,
        "library": implementation.library,
        "version": implementation.version,
        "spec": spec.name,
        "constructor": f"{constructor.__module__}.{constructor.__qualname__}",
        "hypers": hypers,
        "others": others,
    }


def own_names(implementation: Implementation, spec: Spec) -> dict[str, str]:
    """The spec's hyperparameters by the keywords that pass them on unchanged under another name."""
    if not hasattr(implementation, "keywords"):
        return {}
    found = {}
    for name, hyper in spec.hypers.items():
        keyword, index = _keyword(implementation, spec, name)
        value: Value = True if hyper.is_flag else 0.25
        if keyword is None or index is not None or keyword in spec.hypers:
            continue
        if _keywords(implementation, spec, {name: value})[keyword] == value:
            found[keyword] = name
    return found


def _keyword(
    implementation: Implementation, spec: Spec, name: str
) -> tuple[str | None, int | None]:
    """The keyword, or its element, that moves with a hyperparameter."""
    before = _keywords(implementation, spec, {})
    after = _keywords(implementation, spec, {name: True if spec.hypers[name].is_flag else 0.25})
    for keyword, value in after.items():
        old = before.get(keyword)
        if isinstance(value, list | tuple) and isinstance(old, list | tuple):
            for k, (a, b) in enumerate(zip(old, value, strict=True)):
                if a != b:
                    return keyword, k
        elif value != old:
            return keyword, None
    return None, None


def _keywords(
    implementation: Implementation, spec: Spec, changed: Mapping[str, Value]
) -> Mapping[str, Any]:
    usual = {n: False if h.is_flag else 0.5 for n, h in spec.hypers.items()}
    try:
        made = getattr(implementation, "keywords")({**usual, **changed})  # noqa: B009
    except Exception as e:  # the subject's own code
        raise RequestError(f"{implementation.name}: keywords() raised {one_line(e)}") from None
    if not isinstance(made, Mapping):
        raise RequestError(f"{implementation.name}: keywords() gives {made!r:.80}, and no mapping")
    return made


def _plain(default: Any) -> Any:
    """A default as JSON has it; of what is no literal only the type is told."""
    if isinstance(default, PLAIN):
        return default
    if isinstance(default, list | tuple) and all(isinstance(x, PLAIN) for x in default):
        return list(default)
    return f"<{type(default).__name__}>"


def distinct(rows: list[Row]) -> list[Row]:
    """One row for all code paths of one constructor."""
    found: dict[tuple[str, str], Row] = {}
    for row in rows:
        found.setdefault((row["constructor"], row["implementation"].partition("[")[0]), row)
    return [{**r, "implementation": r["implementation"].partition("[")[0]} for r in found.values()]
