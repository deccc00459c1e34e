"""Who is judged: the protocol an implementation follows, and how a target's name becomes one.

An implementation of another framework needs one small class with these methods; it is found
through the entry-point group ``optconform.implementations`` (see docs/add-an-implementation.md).
Tensors cross this border as flat float64 arrays, which hold every value of every judged dtype.
"""

import importlib
import importlib.metadata
import importlib.util
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from .declared import is_meant, refuse_malformed
from .errors import RequestError, one_line
from .named import announced, is_another
from .scenario import Group, Scenario
from .spec import Spec, Value
from .spec_file import bundled

Floats = NDArray[np.float64]


class Unsupported(Exception):
    """The subject does not take this dtype, option or event.  No verdict on its numerics."""


@runtime_checkable
class Session(Protocol):
    """One optimizer under test, alive between the events of a scenario.

    Lists run over groups, in the order in which they were added, then parameters.  An array is flat
    float64, the elements in logical order whatever the memory layout.  It may be the live one: what
    is shown is copied, and the gradients that a step is given are the session's own.  Any method
    may raise Unsupported, which drops the scenario without a verdict; any other exception is a
    finding.
    """

    def step(self, gradients: Sequence[Sequence[Floats | None]]) -> None:
        """Take one step; a gradient may be None."""

    def parameters(self) -> list[list[Floats]]:
        """The parameters' values, flat."""

    def state(self) -> list[list[Mapping[str, Floats]]]:
        """The state tensors that can be seen, by their name in the spec, flat; {} if none."""

    def gradients(self) -> list[list[Floats | None]] | None:
        """The gradients as the last step left them; None where the framework's are immutable."""

    def set_hyper(self, group: int, hyper: Mapping[str, Value]) -> None:
        """Change hyperparameters (spec names) of a group."""

    def add_group(self, group: Group) -> None:
        """Add a parameter group."""

    def reload(self) -> None:
        """Save the state, build a new optimizer on the same parameters, load the state."""


@runtime_checkable
class Implementation(Protocol):
    """Something that can be judged."""

    @property
    def name(self) -> str:
        """As in reports, such as ``torch.optim:Adam[foreach]``."""

    @property
    def library(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def spec(self) -> str:
        """The name of the spec it claims to follow."""

    @property
    def variant(self) -> Mapping[str, str]:
        """The axes on which it declares to differ from the spec's defaults."""

    @property
    def slow(self) -> bool:
        """Whether a session takes seconds to start, as a compiled one does: fewer are drawn."""

    def fixed(self, spec: Spec) -> dict[str, Value]:
        """The hyperparameters that it does not let one choose, with the value they have."""

    def changeable(self, spec: Spec) -> Sequence[str]:
        """The hyperparameters that may be changed between steps."""

    def start(self, scenario: Scenario, spec: Spec) -> Session:
        """A session with the scenario's initial groups.  Raises Unsupported."""

    def repro(self, scenario: Scenario, spec: Spec) -> str:
        """A script that replays a scenario with the library alone and prints every tensor."""


# What an implementation may say of itself besides; most have no reason to.


def lacks(implementation: Implementation) -> frozenset[str]:
    """Its attribute ``lacks``: what scenarios must do without, names of ``without.LACKS``."""
    return frozenset(getattr(implementation, "lacks", ()))


def shares_clock(implementation: Implementation) -> bool:
    """Whether its attribute ``clock`` is ``"optimizer"``: t counts the steps of the optimizer, and
    not those in which the parameter had a gradient."""
    return getattr(implementation, "clock", "parameter") == "optimizer"


def world(implementation: Implementation) -> str:
    """Its attribute ``world``: implementations of unlike worlds share no process, as those of a
    library that settles on its backend when it is imported."""
    return str(getattr(implementation, "world", ""))


def documented(implementation: Implementation) -> dict[str, Any]:
    """Its attributes ``link``, the page or source that the declared variant is taken from, and
    ``silent``, the axes on which that page says nothing and the source was read."""
    link = str(getattr(implementation, "link", ""))
    silent = [str(axis) for axis in getattr(implementation, "silent", ())]
    return {"link": link, "silent": silent} if link else {}


# ---- targets ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Library:
    """A library with an adapter of our own: the module in ``impls/adapters`` whose function
    ``library`` gives its implementations.  It is imported when a target asks for it.

    ``where`` is what stands before the colon of its targets; "" where any module may.  ``needs``
    are the modules that must be installed, ``extra`` the optional dependencies that bring them.
    What else a library ``like_torch`` has is driven as a torch.optim.Optimizer.  ``ours`` comes
    with optconform, to judge by or to be judged, and is no library that somebody released.
    """

    adapter: str
    where: str
    needs: tuple[str, ...] = ()
    extra: str = ""
    like_torch: bool = False
    ours: bool = False


def _like_torch(where: str) -> Library:
    name = where.partition(".")[0]
    extra = name.replace("_", "-")  # as package indexes write it
    return Library("optconform.impls.adapters.torch_libraries", where, (name,), extra, True)


LIBRARIES: Mapping[str, Library] = {
    "torch": Library("optconform.impls.adapters.torch_optim", ""),
    "reference": Library("optconform.impls.adapters.torch_optim", "reference", ours=True),
    "torch.distributed.optim": Library(
        "optconform.impls.adapters.torch_distributed", "torch.distributed.optim"
    ),
    "torch.distributed.fsdp": Library(
        "optconform.impls.adapters.torch_distributed", "torch.distributed.fsdp"
    ),
    "cuda": Library("optconform.impls.adapters.cuda_optim", "optconform.impls.cuda", ours=True),
    "optax": Library("optconform.impls.adapters.optax_optim", "optax", ("optax",), "optax"),
    "jax": Library(
        "optconform.impls.adapters.jax_optim", "jax.example_libraries.optimizers", ("jax",), "jax"
    ),
    "keras": Library(
        "optconform.impls.adapters.keras_optim", "keras.optimizers", ("keras",), "keras"
    ),
    "tensorflow": Library(
        "optconform.impls.adapters.tensorflow_optim",
        "tensorflow.compat.v1.train",
        ("tensorflow",),
        "tensorflow",
    ),
    "paddle": Library(
        "optconform.impls.adapters.paddle_optim", "paddle.optimizer", ("paddle",), "paddle"
    ),
    "mlx": Library("optconform.impls.adapters.mlx_optim", "mlx.optimizers", ("mlx",), "mlx"),
    "tinygrad": Library(
        "optconform.impls.adapters.tinygrad_optim", "tinygrad.nn.optim", ("tinygrad",), "tinygrad"
    ),
    "pytorch_optimizer": _like_torch("pytorch_optimizer"),
    "torch_optimizer": _like_torch("torch_optimizer"),
    "optimi": _like_torch("optimi"),
    "bitsandbytes": _like_torch("bitsandbytes.optim"),
    "heavyball": _like_torch("heavyball"),
}


def installed() -> list[str]:
    """The released libraries with an adapter that are there, none of them imported to find out."""
    return [
        name
        for name, library in LIBRARIES.items()
        if not library.ours and all(importlib.util.find_spec(m) for m in library.needs)
    ]


def resolve(target: str, spec: str | None) -> list[Implementation]:
    """The implementations that a target names.

    ``target`` is a library (``torch``), one class of it (``torch.optim:AdamW``), any importable
    ``package.module:Class``, or ``path/to/file.py:Class``.  ``spec`` is what the user says it
    follows, or None to go by its name.  Raises RequestError, with one clear sentence.
    """
    target, path = _path(target)
    if target.endswith(".py"):
        raise RequestError(f"{target} is a file; name a class in it: {target}:CLASS")
    if ":" not in target:
        return _on(path, _library(target, spec))
    where, _, name = target.rpartition(":")
    for key, library in LIBRARIES.items():
        if where and where == library.where:
            every = _library(key, None)
            found = [i for i in every if _path(i.name)[0] == target]
            if not found and library.like_torch:
                break
            if not found:
                known = ", ".join(dict.fromkeys(_path(i.name)[0].rpartition(":")[2] for i in every))
                raise RequestError(f"{where} has no {name!r} that a spec describes; it has {known}")
            return _on(path, _follow(found, spec))
    if any(point.name == where for point in _points()):
        found = [i for i in _library(where, None) if _path(i.name)[0] == target]
        if found:
            return _on(path, _follow(found, spec))
    if not where or not name:
        raise RequestError(f"target {target!r} is not LIBRARY, MODULE:CLASS or FILE.py:CLASS")
    module, label = _module(where, target)
    subject: Any = module
    for part in name.split("."):
        subject = getattr(subject, part, None)
        if subject is None:
            raise RequestError(f"{where} has no {name!r}")
    if is_meant(subject):
        return _on(path, [given(subject, target, None)])
    adapter = importlib.import_module("optconform.impls.adapters.torch_optim")
    made: list[Implementation] = adapter.implementations(
        subject, name=f"{label}:{name}", module=where, spec=spec or guess_spec(subject, name)
    )
    return _on(path, made)


def given(subject: Any, where: str, spec: str | None) -> Implementation:
    """What comes from outside as an implementation, if it is one.  Raises RequestError.

    ``where`` is how the user named it; ``spec`` is what it is judged by, None for its own.
    """
    refuse_malformed(subject, where, spec)
    found: Implementation = subject
    return found


def _path(target: str) -> tuple[str, str]:
    """``torch.optim:Adam[fused]`` is the path ``fused`` of a target."""
    match = re.fullmatch(r"(.+)\[([^\[\]]+)\]", target)
    return (match[1], match[2]) if match else (target, "")


def _on(path: str, found: list[Implementation]) -> list[Implementation]:
    if not path:
        return found
    kept = [i for i in found if i.name.endswith(f"[{path}]")]
    if not kept:
        raise RequestError(
            f"there is no path {path!r}; there are {', '.join(i.name for i in found)}"
        )
    return kept


def _points() -> importlib.metadata.EntryPoints:
    """What other packages bring."""
    return importlib.metadata.entry_points(group="optconform.implementations")


def targets() -> list[str]:
    """Every library that can be named: ours to judge, and those that other packages bring."""
    return list(dict.fromkeys([*LIBRARIES, *(point.name for point in _points())]))


def _library(target: str, spec: str | None) -> list[Implementation]:
    for point in _points():
        if point.name == target:
            try:
                made = list(point.load()())
            except Exception as e:
                raise RequestError(f"{point.value} failed to load: {one_line(e)}") from None
            return _follow([given(i, point.value, None) for i in made], spec)
    if target not in LIBRARIES:
        raise RequestError(
            f"unknown target {target!r}; name a library ({', '.join(LIBRARIES)}), MODULE:CLASS or "
            "FILE.py:CLASS"
        )
    known = LIBRARIES[target]
    for module in known.needs:
        if importlib.util.find_spec(module) is None:
            raise RequestError(
                f"{module} is not installed; pip install 'optconform[{known.extra}]'"
            )
    try:
        library: list[Implementation] = importlib.import_module(known.adapter).library(target)
    except RequestError:
        raise
    except Exception as e:  # what is installed, but in parts that do not go together
        raise RequestError(f"{target} cannot be loaded: {one_line(e)}") from None
    return _follow(library, spec)


def _follow(found: list[Implementation], spec: str | None) -> list[Implementation]:
    kept = [i for i in found if spec is None or i.spec == spec]
    if not kept:
        raise RequestError(f"the target has no implementation of {spec!r}")
    return kept


def _module(where: str, target: str) -> tuple[ModuleType, str]:
    if where.endswith(".py") or "/" in where:
        path = Path(where)
        if not path.is_file():
            raise RequestError(f"no such file: {where}")
        name = f"optconform_subject_{path.stem}"
        loader = importlib.util.spec_from_file_location(name, path)
        assert loader is not None and loader.loader is not None
        module = importlib.util.module_from_spec(loader)
        sys.modules[name] = module
        sys.path.insert(0, str(path.parent.resolve()))
        try:
            loader.loader.exec_module(module)
        except BaseException as e:
            raise RequestError(f"{where} fails on import: {one_line(e)}") from None
        return module, path.name
    if where not in sys.path:
        sys.path.append("")
    try:
        return importlib.import_module(where), where
    except ModuleNotFoundError as e:
        if e.name and where.split(".")[0] == e.name.split(".")[0]:
            raise RequestError(f"target {target!r}: no module named {e.name!r}") from None
        raise RequestError(f"{where} fails on import: {one_line(e)}") from None
    except BaseException as e:
        raise RequestError(f"{where} fails on import: {one_line(e)}") from None


def guess_spec(subject: Any, name: str) -> str:
    """The spec a class follows by its name, or by that of a class it derives from."""
    own = name.rpartition(".")[2]
    for candidate in (own, *(c.__name__ for c in getattr(subject, "__mro__", ()))):
        if (plain := str(candidate).lower().replace("_", "")) in bundled():
            return plain
    if not is_another(own) and (found := announced(own)):
        return found[0]
    raise RequestError(f"cannot tell which spec {name} claims to follow; say it with --spec")


def repro_of(implementation: Implementation, scenario: Scenario, spec: Spec) -> str:
    """Its script of a scenario; where it has none to give, a comment that says why: what was found
    is not lost with it."""
    try:
        text = implementation.repro(scenario, spec)
    except Exception as e:
        return f"# no script: repro() of {implementation.name} raised {one_line(e)}\n"
    if isinstance(text, str):
        return text
    return f"# no script: repro() of {implementation.name} gave a {type(text).__name__}\n"


def traceback_of(e: BaseException) -> str:
    """The end of an exception's traceback, without the folders in which packages are installed."""
    text = "".join(traceback.format_exception(e))[-4000:]
    return re.sub(r'File "[^"]*/(?=site-packages/)', 'File "', text)
