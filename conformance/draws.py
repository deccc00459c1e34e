"""Drawn scenarios, and where they are kept: to draw one takes about as long as to judge it."""

import contextlib
import functools
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path

import hypothesis

from .brinks import brinks
from .caches import cached
from .errors import RequestError
from .scenario import Scenario, from_json, to_json
from .spec import Spec, Value
from .strategies import look_at_each, scenarios
from .without import without

_KEEP = ContextVar("keep", default=True)


@contextlib.contextmanager
def keeping(keep: bool) -> Iterator[None]:
    """Whether what is drawn inside is kept: a seed that comes but once would fill the folder."""
    token = _KEEP.set(keep)
    try:
        yield
    finally:
        _KEEP.reset(token)


def drawn(
    spec: Spec,
    *,
    dtype: str,
    examples: int,
    seed: int,
    max_steps: int = 8,
    fixed: Mapping[str, Value] | None = None,
    changeable: Sequence[str] = ("lr", "weight_decay"),
    small: bool = False,
    lacks: Collection[str] = (),
) -> Sequence[Scenario]:
    """So many scenarios, after those at the brink of a sign, if the equations have one; the same
    ones for the same arguments, and drawn once for all the implementations that are judged by them.
    What an implementation ``lacks`` is left out of them, and so is what it can change and ``spec``
    has not."""
    kept = tuple(sorted((fixed or {}).items()))
    names = tuple(n for n in changeable if n in spec.hypers)
    found = _drawn(spec, dtype, examples, seed, max_steps, kept, names, small)
    return [without(s, lacks) for s in found]


@functools.lru_cache(maxsize=8)  # the dtypes of a spec, for the code paths of a library
def _drawn(
    spec: Spec,
    dtype: str,
    examples: int,
    seed: int,
    max_steps: int,
    fixed: tuple[tuple[str, Value], ...],
    changeable: tuple[str, ...],
    small: bool,
) -> Sequence[Scenario]:
    def draw() -> bytes:
        brink = () if small else brinks(spec, dtype=dtype, fixed=dict(fixed), seed=seed)
        found = list(brink)
        strategy = scenarios(
            spec,
            dtype=dtype,
            max_steps=max_steps,
            fixed=dict(fixed),
            changeable=changeable,
            small=small,
        )
        look_at_each(strategy, found.append, spec=spec, dtype=dtype, examples=examples, seed=seed)
        return json.dumps([to_json(s) for s in found]).encode()

    if not _KEEP.get():
        return _read(draw())
    asked = (dtype, examples, seed, max_steps, fixed, changeable, small)
    try:
        path = cached((_origin(), repr(spec), repr(asked)), ".draws", draw)
        text = path.read_bytes()
    except OSError:  # a folder that cannot be written: nothing is kept
        return _read(draw())
    try:
        return _read(text)
    except (ValueError, TypeError, RequestError):  # damaged
        path.unlink(missing_ok=True)
        return _read(draw())


def _read(text: bytes) -> list[Scenario]:
    kept = json.loads(text)
    if not isinstance(kept, list):
        raise ValueError("not a list of scenarios")
    return [from_json(s) for s in kept]


@functools.cache
def _origin() -> str:
    """All that makes a seed draw what it draws, beside the spec and the settings."""
    here = Path(__file__).parent
    modules = ("draws", "brinks", "lattice", "strategies", "scenario", "spec", "expr", "formats")
    sources = [(here / f"{name}.py").read_text(encoding="utf-8") for name in modules]
    return "\0".join((hypothesis.__version__, *sources))
