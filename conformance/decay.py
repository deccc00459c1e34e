"""Which weight decay an implementation really applies, and whether it says so.

Two optimizers of one name may decay differently, and most people learn of it from a worse model.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .errors import SpecError
from .implementation import Implementation
from .named import announced
from .spec import Spec
from .spec_file import load

AXIS, HYPER = "decay", "weight_decay"


def applied_decay(
    implementation: Implementation,
    spec: Spec,
    variant: Mapping[str, str] | None,
    *,
    drawn: bool,
    rivals: Sequence[str],
    alike: Sequence[str] = (),
    apart: str = "",
) -> dict[str, Any] | None:
    """The entry ``decay`` of a result; None for a spec without the axis ``decay``.

    ``variant`` is what the implementation was seen to follow, ``drawn`` whether any weight decay
    was on, ``rivals`` the other decays that no run told apart from it, ``alike`` those that are the
    same formula in these runs, ``apart`` in which runs alone it follows ``variant``, if not in all.
    ``applies`` is None where that leaves the decay unknown; then ``why`` says why, and else what
    ``apart`` says.  ``says`` holds what name and docstring announce (l2, decoupled or None) and
    the default; ``agrees`` whether neither of them announces another decay.
    """
    if AXIS not in spec.axes:
        return None
    says = {
        "name": said_by_name(implementation.name),
        "docstring": said_by_docstring(_text(implementation, "docstring")),
        "default": _default(implementation),
    }
    applies = why = None
    if not drawn:
        why = "no weight decay was drawn"
    elif variant is None:
        why = "no named variant explains what it computes"
    else:
        follows = variant.get(AXIS, spec.axes[AXIS].default)
        others = [r for r in dict.fromkeys(rivals) if r != follows]
        if others:
            why = f"no run told {follows} from {', '.join(others)}"
        else:
            applies, why = follows, apart or None
    announced = {s for s in (says["name"], says["docstring"]) if s}
    same = [d for d in dict.fromkeys(alike) if d != applies] if applies else []
    return {
        "applies": applies,
        "alike": same,
        "effect": spec.choice(AXIS, applies).effect if applies else None,
        "why": why,
        "says": says,
        "agrees": None if applies is None else announced <= {_kind(d) for d in (applies, *same)},
    }


def _kind(decay: str) -> str:
    """l2, decoupled or none: what a name or a docstring tells apart."""
    return decay.split("-")[0]


def said_by_name(name: str) -> str | None:
    """What the name of a class announces: ``AdamW`` and ``SGDW`` decouple, ``Adam`` does not."""
    plain = re.sub(r"\[.*\]\Z", "", name).rpartition(":")[2].rpartition(".")[2]
    if "decoupled" in plain.lower().replace("_", ""):
        return "decoupled"
    found = announced(plain)
    if found is None:
        return None
    spec, decouples = found
    try:
        return "decoupled" if decouples else _kind(load(spec).axes[AXIS].default)
    except (SpecError, KeyError):
        return None


def said_by_docstring(text: str) -> str | None:
    """What a docstring announces: by what it says of weight_decay, else anywhere.

    What it says of another option, such as Adam's ``decoupled_weight_decay``, does not count.
    """
    entry = re.compile(r"^\s*[`*]*(\w+)[`*]*\s*(?:\([^\n]*\))?\s*:.*(?:\n(?!\s*[`*]*\w+[`*]*\s*"
                       r"(?:\([^\n]*\))?\s*:).*\S.*)*", re.M)  # fmt: skip
    own = " ".join(m[0] for m in entry.finditer(text) if m[1] == HYPER)
    rest = entry.sub(lambda m: "" if "decoupled" in m[1] else m[0], text)
    for part in (own, rest):
        decoupled = re.search(r"decoupl", part, re.I)
        l2 = re.search(r"\bL2\b|\bL_2\b", part)
        if bool(decoupled) != bool(l2):
            return "decoupled" if decoupled else "l2"
    return None


def _text(implementation: Implementation, name: str) -> str:
    """An attribute that an implementation may have beyond its protocol."""
    value = getattr(implementation, name, "")
    return value if isinstance(value, str) else ""


def _default(implementation: Implementation) -> float | None:
    """The default of its weight_decay, where the implementation tells its defaults."""
    defaults = getattr(implementation, "defaults", None)
    value = defaults.get(HYPER) if isinstance(defaults, Mapping) else None
    return float(value) if isinstance(value, int | float) else None
