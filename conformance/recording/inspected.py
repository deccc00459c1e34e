"""What else can be seen of an implementation: its options, its state, what it refuses."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from ..formats import FORMATS
from ..implementation import Implementation, Unsupported, world
from ..scenario import Group, Param, Recipe, Scenario, Step, gradient
from ..spec import Spec, Value


def there(i: Implementation) -> bool:
    """Whether this release of the library has it; of those that choose a backend when they are
    imported, the runs will say."""
    return not hasattr(i, "entry") or bool(world(i)) or _callable(i) is not None


def _callable(i: Implementation) -> Any:
    """What a user calls, where that can be told."""
    if hasattr(i, "subject"):
        return i.subject
    if hasattr(i, "entry"):
        from ..impls.adapters.driven import named

        try:
            return named(i.entry.make)
        except AttributeError:  # another release
            return None
    return None


def signature(i: Implementation) -> dict[str, str | None]:
    """Its options and their defaults, as source; None for one that must be given."""
    try:
        found = inspect.signature(_callable(i)).parameters
    except (TypeError, ValueError):
        return {}
    return {
        ("*" * (p.kind is p.VAR_POSITIONAL) + "**" * (p.kind is p.VAR_KEYWORD)) + n: None
        if p.default is p.empty
        else _text(p.default)
        for n, p in found.items()
        if n != "self"
    }


def _text(x: Any) -> str:
    """A default as source; addresses tell nothing."""
    if isinstance(x, type) or callable(x):
        return str(getattr(x, "__qualname__", type(x).__name__))
    try:
        text = repr(x)
    except Exception:
        text = f"<{type(x).__name__}>"
    return re.sub(r" at 0x[0-9a-f]+", "", text)[:200]


def own_defaults(i: Implementation, spec: Spec) -> dict[str, Value]:
    """The defaults of the classic hyperparameters, for an optimizer that no spec describes."""
    found: dict[str, Value] = {}
    try:
        options = inspect.signature(_callable(i)).parameters
    except (TypeError, ValueError):
        return found
    for name, p in options.items():
        if name == "betas" and isinstance(p.default, tuple) and len(p.default) == 2:
            found |= dict(zip(("beta1", "beta2"), map(float, p.default), strict=True))
        elif name in spec.hypers and p.default is p.empty:
            found[name] = spec.defaults[name]
        elif name in spec.hypers and isinstance(p.default, int | float):
            found[name] = p.default if isinstance(p.default, bool) else float(p.default)
    return {n: v for n, v in found.items() if n in spec.hypers}


def states(implementation: Implementation, spec: Spec, scenario: Scenario) -> dict[str, str]:
    """The names of the state after one step, as the library has them, and what each is."""
    first = replace(scenario, events=(Step(),))
    try:
        session: Any = implementation.start(first, spec)
        fmt = FORMATS[scenario.dtype]
        session.step([[gradient(p, 0, fmt) for p in g.params] for g in first.groups])
        return {str(name): kind for name, kind in sorted(_raw_names(session))}
    except Exception:  # the run itself tells what it raised
        return {}


def _raw_names(session: Any) -> Iterator[tuple[str, str]]:
    optimizer = getattr(session, "optimizer", None)
    if optimizer is not None and hasattr(optimizer, "state"):
        for held in optimizer.state.values():
            if isinstance(held, dict):
                yield from ((str(n), _kind(x)) for n, x in held.items())
    elif hasattr(session, "driver"):
        for some in session.driver.state():
            for held in some:
                yield from ((str(n), "tensor") for n in held)


def _kind(x: Any) -> str:
    if not hasattr(x, "dim"):
        return type(x).__name__
    return "tensor" if x.dim() else "tensor of one number"


def refusals(implementation: Implementation, spec: Spec, dtype: str) -> dict[str, str]:
    """What it says to values outside of each domain: the exception's name, or accepted."""
    fixed = implementation.fixed(spec)
    plain = Param((3,), Recipe("ones"), Recipe("normal"))
    found: dict[str, str] = {}
    own = own_defaults(implementation, spec)
    usual = own if spec.name == "any" else {**spec.defaults, **fixed}
    try:
        valid = Group(usual, (plain,))
        implementation.start(Scenario(spec.name, dtype, (valid,), (Step(),)), spec)
    except Exception:  # the runs will say why
        return found
    for name, hyper in spec.hypers.items():
        if hyper.domain is None or name in fixed or name not in usual:
            continue
        for value in _outside(hyper.domain):
            setting = {**usual, name: value}
            scenario = Scenario(spec.name, dtype, (Group(setting, (plain,)),), (Step(),))
            try:
                implementation.start(scenario, spec)
                said = "accepted"
            except Unsupported:
                continue
            except (Exception, SystemExit) as e:
                said = type(e).__name__
            found[f"{name} = {value:g}"] = said
    return found


def _outside(domain: Any) -> list[float]:
    """Values next to the ends of a domain, and NaN."""
    ends = [domain.low - 1.0, domain.high if domain.high not in domain else domain.high + 1.0]
    return [v for v in ends if np.isfinite(v)] + [float("nan")]
