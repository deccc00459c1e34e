"""What an implementation from outside says of itself, looked over before it is judged.

It is somebody's code: any attribute may be of the wrong type, and may raise when it is read.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from .errors import RequestError, SpecError, one_line
from .spec import Spec
from .spec_file import load
from .without import LACKS

CLOCKS = ("parameter", "optimizer")


def _is_text(x: Any) -> bool:
    return isinstance(x, str)


def _are_texts(x: Any) -> bool:
    return isinstance(x, Collection) and not isinstance(x, str) and all(map(_is_text, x))


def _maps_texts(x: Any) -> bool:
    return isinstance(x, Mapping) and all(map(_is_text, (*x, *x.values())))


REQUIRED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "name": (lambda x: _is_text(x) and x.strip() != "", "a text that is not empty"),
    "library": (_is_text, "a text"),
    "version": (_is_text, "a text"),
    "spec": (_is_text, "the name of a spec or the path of a .toml file"),
    "variant": (_maps_texts, "a mapping of axes to their values"),
    "slow": (lambda x: isinstance(x, bool), "True or False"),
    "fixed": (callable, "a method"),
    "changeable": (callable, "a method"),
    "start": (callable, "a method"),
    "repro": (callable, "a method"),
}
"""What every implementation has: a test of it, and what it must be."""

OPTIONAL: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "lacks": (_are_texts, "a collection of names"),
    "clock": (lambda x: _is_text(x) and x in CLOCKS, " or ".join(map(repr, CLOCKS))),
    "world": (_is_text, "a text"),
    "link": (_is_text, "a text"),
    "silent": (_are_texts, "a collection of axes"),
    "keywords": (callable, "a method"),
    "contracts": (callable, "a method"),
}
"""What some have besides."""


def is_meant(subject: Any) -> bool:
    """Whether ``subject`` is to be an Implementation, if a faulty one, or the class of some: what
    makes torch-like optimizers neither starts sessions nor writes scripts."""
    return all(hasattr(subject, method) for method in ("start", "repro"))


def refuse_malformed(subject: Any, where: str, spec: str | None) -> None:
    """Raise RequestError, one sentence with the implementation and the attribute, unless every
    attribute is what the protocol says.

    ``where`` is how the user named ``subject``; ``spec`` is what it is judged by, None for its own.
    """
    if isinstance(subject, type):
        raise RequestError(f"{where} is a class of implementations; name an object of it")
    who = where
    for attributes in (REQUIRED, OPTIONAL):
        for name, (fits, wanted) in attributes.items():
            try:
                value = getattr(subject, name)
            except AttributeError:
                if name in OPTIONAL:
                    continue
                raise RequestError(f"{who} is no implementation: it has no {name!r}") from None
            except Exception as e:  # a property runs code of the subject
                raise RequestError(f"{who}: {name} raised {one_line(e)}") from None
            if not fits(value):
                raise RequestError(f"{who}: {name} is {_told(value)}, and must be {wanted}")
            if name == "name":
                who = value
    _refuse_unknown(who, "lacks", getattr(subject, "lacks", ()), LACKS)
    try:
        judged_by = load(spec or subject.spec)
    except SpecError as e:
        raise RequestError(f"{who}: spec: {e}") from None
    _refuse_unfit(subject, who, judged_by)


def _refuse_unfit(subject: Any, who: str, spec: Spec) -> None:
    """What can be told only by the spec: axes and hyperparameters."""
    try:
        spec.variant(subject.variant)
    except SpecError as e:
        raise RequestError(f"{who}: variant: {e}") from None
    fixed = _called(subject, who, "fixed", spec)
    if not isinstance(fixed, Mapping):
        raise RequestError(f"{who}: fixed() gives {_told(fixed)}, and not a mapping")
    _refuse_unknown(who, "fixed()", fixed, spec.hypers)
    try:
        spec.check_hypers(fixed)
    except RequestError as e:
        raise RequestError(f"{who}: fixed(): {e}") from None
    changeable = _called(subject, who, "changeable", spec)
    if not _are_texts(changeable):
        raise RequestError(
            f"{who}: changeable() gives {_told(changeable)}, and not a sequence of names"
        )
    _refuse_unknown(who, "changeable()", changeable, spec.hypers)


def _refuse_unknown(who: str, place: str, names: Collection[Any], known: Collection[str]) -> None:
    for name in names:
        if name not in known:
            raise RequestError(
                f"{who}: {place} names {_told(name)}, and knows only {', '.join(known)}"
            )


def _called(subject: Any, who: str, method: str, spec: Spec) -> Any:
    try:
        return getattr(subject, method)(spec)
    except Exception as e:  # the subject's own code
        raise RequestError(f"{who}: {method}() raised {one_line(e)}") from None


def _told(value: Any) -> str:
    """A value as in a message, where its own repr may be long, or raise."""
    try:
        text = repr(value)
    except Exception:
        text = f"a {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:79]}…"
