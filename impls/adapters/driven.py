"""What the adapters of libraries without torch-like optimizers share.

Such an adapter is a table of what the library offers (``Entry``) and a *driver*: a class that runs
an optimizer with the library alone, numpy arrays in and out.  The driver's own source stands at the
head of every repro script, so a script does what was done when the finding was seen.
"""

import ast
import importlib
import importlib.metadata
import inspect
import textwrap
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from optconform.formats import FORMATS
from optconform.implementation import Session, Unsupported
from optconform.scenario import (
    AddGroup,
    Group,
    Reload,
    Scenario,
    SetHyper,
    Step,
    as_source,
    gradient,
    initial,
)
from optconform.spec import Hypers, Spec, Value

Floats = NDArray[np.float64]
Keywords = dict[str, Any]
Arrays = list[list[Floats | None]]


class Driver(Protocol):
    """One run of an optimizer.  Lists run over groups, then parameters."""

    def __init__(
        self, make: Any, dtype: str, groups: Sequence[tuple[Keywords, Sequence[Floats]]]
    ) -> None:
        """``make`` is the library's class or function; a group is its keywords and parameters."""

    def step(self, gradients: Arrays) -> None: ...

    def parameters(self) -> list[list[Floats]]: ...

    def state(self) -> list[list[dict[str, Floats]]]:
        """The state tensors by the names that the library gives them."""

    def set(self, group: int, keywords: Keywords) -> None:
        """From now on a group has these keywords."""

    def reload(self) -> None: ...


@dataclass(frozen=True)
class Entry:
    """One optimizer of a library, or one way to ask for it, and how the spec's words are spelled.

    ``keywords`` maps the spec's hyperparameters to the library's keywords; those that are missing
    cannot be chosen, and have the value in ``fixed`` or the spec's default.  ``options`` are passed
    besides.  ``state`` maps the spec's state to the library's, with a minus sign where the library
    keeps the negative.  ``variant`` is what the library documents at ``link``; where that is silent
    it is what the source does, and ``silent`` names these axes.
    """

    name: str  # as a target has it after the colon, perhaps with a [path]
    make: str  # the expression that is called, as "optax.adamw"
    spec: str
    keywords: Mapping[str, str]
    state: Mapping[str, str]
    link: str
    variant: Mapping[str, str] = field(default_factory=dict)
    silent: Sequence[str] = ()
    fixed: Mapping[str, Value] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    adjust: Callable[[Keywords], Keywords] = lambda keywords: keywords


@dataclass(frozen=True)
class Driven:
    """An implementation made of an entry and a driver; see ``implementation.Implementation``."""

    entry: Entry
    where: str  # what stands before the colon of the target
    distribution: str
    driver: Callable[..., Driver]
    imports: str  # the statements that the driver's source needs
    lacks: Collection[str] = ()
    clock: str = "parameter"
    world: str = ""
    dtypes: Collection[str] = tuple(FORMATS)
    slow: bool = False
    changes: Sequence[str] = ()  # the hyperparameters that may change; all of them if empty

    @property
    def name(self) -> str:
        return f"{self.where}:{self.entry.name}"

    @property
    def library(self) -> str:
        return self.distribution

    @property
    def version(self) -> str:
        return importlib.metadata.version(self.distribution)

    @property
    def spec(self) -> str:
        return self.entry.spec

    @property
    def link(self) -> str:
        return self.entry.link

    @property
    def silent(self) -> Sequence[str]:
        return self.entry.silent

    @property
    def constructor(self) -> Any:
        return named(self.entry.make)

    @property
    def variant(self) -> Mapping[str, str]:
        return self.entry.variant

    def fixed(self, spec: Spec) -> dict[str, Value]:
        rest = {n: h.default for n, h in spec.hypers.items() if n not in self.entry.keywords}
        return {**rest, **{n: v for n, v in self.entry.fixed.items() if n in rest}}

    def changeable(self, spec: Spec) -> Sequence[str]:
        rest = [h.name for h in spec.hypers.values() if not h.is_flag and h.name != "lr"]
        return self.changes or ("lr", *rest)

    def keywords(self, hyper: Hypers) -> Keywords:
        named = {word: hyper[n] for n, word in self.entry.keywords.items()}
        return self.entry.adjust({**named, **self.entry.options})

    def start(self, scenario: Scenario, spec: Spec) -> Session:
        if scenario.dtype not in self.dtypes:
            raise Unsupported(f"{self.library} has no optimizers in {scenario.dtype}")
        return DrivenSession(self, scenario)

    def repro(self, scenario: Scenario, spec: Spec) -> str:
        return script(self, scenario)


class DrivenSession:
    """A driver between the events of a scenario."""

    def __init__(self, impl: Driven, scenario: Scenario) -> None:
        self.impl = impl
        fmt = FORMATS[scenario.dtype]
        if len(scenario.groups) > 1 and "groups" in impl.lacks:
            raise Unsupported("it has no parameter groups")
        self.hypers = [dict(g.hyper) for g in scenario.groups]
        self.shapes = [[p.shape for p in g.params] for g in scenario.groups]
        groups = [
            (impl.keywords(g.hyper), [initial(p, fmt).reshape(p.shape) for p in g.params])
            for g in scenario.groups
        ]
        self.driver = impl.driver(named(impl.entry.make), scenario.dtype, groups)

    def step(self, gradients: Sequence[Sequence[Floats | None]]) -> None:
        missing = any(g is None for some in gradients for g in some)
        if missing and "none-gradient" in self.impl.lacks:
            raise Unsupported("it has no notion of a gradient that is None")
        if all(g is None for some in gradients for g in some):
            raise Unsupported("a step without any gradient")
        shaped = zip(gradients, self.shapes, strict=True)
        self.driver.step(
            [
                [g if g is None else g.reshape(shape) for g, shape in zip(*some, strict=True)]
                for some in shaped
            ]
        )

    def parameters(self) -> list[list[Floats]]:
        return [[flat(x) for x in some] for some in self.driver.parameters()]

    def state(self) -> list[list[Mapping[str, Floats]]]:
        return [[self._state(held) for held in some] for some in self.driver.state()]

    def _state(self, held: Mapping[str, Floats]) -> dict[str, Floats]:
        found = {}
        for name, there in self.impl.entry.state.items():
            x = held.get(there.lstrip("-"))
            if x is not None:
                found[name] = -flat(x) if there.startswith("-") else flat(x)
        return found

    def gradients(self) -> list[list[Floats | None]] | None:
        return None

    def set_hyper(self, group: int, hyper: Mapping[str, Value]) -> None:
        self.hypers[group].update(hyper)
        self.driver.set(group, self.impl.keywords(self.hypers[group]))

    def add_group(self, group: Group) -> None:
        raise Unsupported("no group can join in mid-training")

    def reload(self) -> None:
        self.driver.reload()


def named(make: str) -> Any:
    """What an expression like ``optax.adamw`` or ``keras.optimizers.Adam`` stands for."""
    module, _, name = make.rpartition(".")
    return getattr(importlib.import_module(module), name)


def flat(x: Any) -> Floats:
    return np.array(x, np.float64).reshape(-1)


# ---- repro scripts ---------------------------------------------------------------------------

SHOW = """
def show(run):
    position = 0
    for params, states in zip(run.parameters(), run.state()):
        for p, held in zip(params, states):
            for key, x in {"param": p, **held}.items():
                values = np.asarray(x, np.float64).reshape(-1).tolist()
                print(f"  p{position} {key}:", values)
            position += 1
"""


def script(impl: Driven, scenario: Scenario) -> str:
    """A script that replays ``scenario`` with the library alone and prints every tensor."""
    fmt = FORMATS[scenario.dtype]
    hypers = [dict(g.hyper) for g in scenario.groups]
    groups = [
        f"    ({impl.keywords(g.hyper)!r}, "
        f"[{', '.join(_array(initial(p, fmt), p.shape) for p in g.params)}]),"
        for g in scenario.groups
    ]
    out = [
        impl.imports,
        "",
        _source(impl.driver),
        SHOW,
        f"run = Driver({impl.entry.make}, {scenario.dtype!r}, [",
        *groups,
        "])",
    ]
    step = 0
    for event in scenario.events:
        match event:
            case Step(skipped):
                rows = [
                    [
                        "None" if (g, k) in skipped else _array(gradient(p, step, fmt), p.shape)
                        for k, p in enumerate(group.params)
                    ]
                    for g, group in enumerate(scenario.groups)
                ]
                lists = ", ".join(f"[{', '.join(row)}]" for row in rows)
                step += 1
                out += [f"run.step([{lists}])", f"print('step {step}')", "show(run)"]
            case SetHyper(group, hyper):
                hypers[group].update(hyper)
                out.append(f"run.set({group}, {impl.keywords(hypers[group])!r})")
            case Reload():
                out.append("run.reload()")
            case AddGroup():
                raise Unsupported("no group can join in mid-training")
    return "\n".join(out) + "\n"


class _Plain(ast.NodeTransformer):
    """Takes annotations away: they name what only we have."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        for argument in node.args.args:
            argument.annotation = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        assert node.value is not None
        return ast.Assign([node.target], node.value, lineno=node.lineno)


def _source(driver: Callable[..., Driver]) -> str:
    """A driver's source under the name ``Driver``, without docstrings and annotations."""
    tree = _Plain().visit(ast.parse(textwrap.dedent(inspect.getsource(driver))))
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    assert isinstance(tree.body[0], ast.ClassDef)
    tree.body[0].name = "Driver"
    tree.body[0].bases = []
    return ast.unparse(ast.fix_missing_locations(tree))


def _array(values: Floats, shape: tuple[int, ...]) -> str:
    reshaped = "" if shape == (values.size,) else f".reshape({shape!r})"
    return f"np.array({as_source(values.tolist())}){reshaped}"
