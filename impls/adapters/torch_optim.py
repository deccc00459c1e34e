"""torch.optim, and every class that behaves like a torch.optim.Optimizer.

Each code path (single tensor, foreach, fused, differentiable, compiled) is an implementation of its
own.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch._dynamo
import torch._inductor.config
from numpy.typing import NDArray

from optconform.contracts.contract import Script, Variation
from optconform.errors import RequestError
from optconform.formats import FORMATS
from optconform.implementation import Implementation, Session, Unsupported
from optconform.impls import reference
from optconform.impls.adapters.torch_contracts import contracts
from optconform.impls.adapters.torch_repro import GRADIENTS, TENSORS, other_dtype, script
from optconform.scenario import Group, Param, Scenario, initial
from optconform.spec import Hypers, Spec, Value

Floats = NDArray[np.float64]

CLASSES = ("SGD", "Adagrad", "RMSprop", "Adadelta", "Adam", "AdamW")
"""Those that have kernels of ours, and run sharded."""

TORCH = (*CLASSES, "Adamax")
REFERENCE = (*CLASSES, "Adamax", "Lion")

PATHS: Mapping[str, Mapping[str, Any]] = {
    "single": {"foreach": False},
    "foreach": {"foreach": True},
    "fused": {"fused": True},
    "differentiable": {"differentiable": True},
    "compiled": {},
}

BETAS = ("beta1", "beta2")

DOCS = "https://docs.pytorch.org/docs/stable/generated"


def library(name: str) -> list[Implementation]:
    """The classes of ``torch`` that a spec describes (every path), or those of ``reference``."""
    if name == "reference":
        return [
            TorchLike(
                getattr(reference, c), f"reference:{c}", "optconform.impls.reference", c.lower()
            )
            for c in REFERENCE
        ]
    return [
        path
        for c in TORCH
        for path in implementations(
            getattr(torch.optim, c), name=f"torch.optim:{c}", module="torch.optim", spec=c.lower()
        )
    ]


def implementations(subject: Any, *, name: str, module: str, spec: str) -> list[Implementation]:
    """The code paths of a class (or factory) that makes torch-like optimizers."""
    if not callable(subject):
        raise RequestError(f"{name} is neither a class nor a function")
    accepted = parameters_of(subject)
    if not getattr(subject, "__module__", "").startswith("torch.optim") or not accepted:
        return [TorchLike(subject, name, module, spec)]
    return [
        TorchLike(subject, f"{name}[{path}]", module, spec, options, compiled=path == "compiled")
        for path, options in PATHS.items()
        if set(options) <= set(accepted)
    ]


def parameters_of(subject: Any) -> dict[str, inspect.Parameter]:
    try:
        return dict(inspect.signature(subject).parameters)
    except (TypeError, ValueError):
        return {}


@dataclass(frozen=True)
class TorchLike:
    """A class that is driven as a torch.optim.Optimizer with the classic keyword names.

    ``guise`` is a circumstance in which a contract drives it (``torch_contracts.GUISES``).
    """

    subject: Callable[..., Any]
    name: str
    module: str
    spec: str
    options: Mapping[str, Any] = field(default_factory=dict)
    compiled: bool = False
    variant: Mapping[str, str] = field(default_factory=dict)
    guise: str = ""
    preamble: Sequence[str] = ()  # what scripts do after ``import torch``

    @property
    def library(self) -> str:
        top = self.module.split(".")[0]
        return "file" if self.module.endswith(".py") else top

    @property
    def version(self) -> str:
        if self.library == "torch":
            return str(torch.__version__)
        if self.library == "file":
            return ""
        import importlib.metadata

        try:
            return importlib.metadata.version(self.library)
        except importlib.metadata.PackageNotFoundError:
            return ""

    @property
    def link(self) -> str:
        """The page of a class of torch.optim."""
        name = getattr(self.subject, "__name__", "")
        return f"{DOCS}/torch.optim.{name}.html" if self.module == "torch.optim" else ""

    @property
    def constructor(self) -> Callable[..., Any]:
        return self.subject

    @property
    def slow(self) -> bool:
        return self.compiled

    @property
    def docstring(self) -> str:
        return inspect.getdoc(self.subject) or ""

    @property
    def defaults(self) -> dict[str, Any]:
        """The defaults of its constructor's keywords."""
        return {n: p.default for n, p in parameters_of(self.subject).items()}

    def accepts(self, name: str) -> bool:
        accepted = parameters_of(self.subject)
        if any(p.kind is p.VAR_KEYWORD for p in accepted.values()):
            return True
        return name in accepted or (name in BETAS and "betas" in accepted)

    def fixed(self, spec: Spec) -> dict[str, Value]:
        return {n: h.default for n, h in spec.hypers.items() if not self.accepts(n)}

    def changeable(self, spec: Spec) -> Sequence[str]:
        # a changed float makes a compiled step compile again; lr is the one that matters
        if self.compiled:
            return ("lr",)
        # schedulers change lr, and some of them momentum and betas; a group holds them all
        rest = [h.name for h in spec.hypers.values() if not h.is_flag and h.name != "lr"]
        return ("lr", *rest)

    def keywords(self, hyper: Hypers) -> dict[str, Any]:
        """Spec names to constructor keywords; betas are a pair, unless each has a keyword."""
        pair = not any(b in parameters_of(self.subject) for b in BETAS)
        out: dict[str, Any] = {
            n: v for n, v in hyper.items() if self.accepts(n) and not (pair and n in BETAS)
        }
        if pair and all(b in hyper for b in BETAS) and self.accepts("beta1"):
            out["betas"] = (hyper["beta1"], hyper["beta2"])
        return out

    def group(self, keywords: Mapping[str, Any]) -> dict[str, Any]:
        """The constructor's keywords as a parameter group holds them."""
        return dict(keywords)

    def changed(self, hypers: Hypers, new: Mapping[str, Value]) -> dict[str, Any]:
        """What a change of hyperparameters is to the options of a parameter group."""
        before = self.group(self.keywords(hypers))
        after = self.group(self.keywords({**hypers, **new}))
        return {k: v for k, v in after.items() if before[k] != v}

    def state_names(self, spec: Spec) -> dict[str, Sequence[str]]:
        """What each state of the spec may be called in ``optimizer.state[p]``."""
        states = (*spec.states.values(), *_variant_states(spec))
        return {s.name: (s.torch_name, s.name) for s in states}

    def start(self, scenario: Scenario, spec: Spec) -> Session:
        return TorchSession(self, scenario, spec)

    def repro(self, scenario: Scenario, spec: Spec) -> str:
        return script(self, scenario)

    def contracts(self, spec: Spec, hyper: Hypers, dtype: str) -> Sequence[Script | Variation]:
        return contracts(self, spec, hyper, dtype)

    def build(self, groups: list[dict[str, Any]], keywords: Mapping[str, Any]) -> Any:
        """The optimizer; options of the code path ride along in every group."""
        return self.subject(groups, **keywords, **self.options)


class TorchSession:
    """One torch optimizer and its parameters."""

    def __init__(self, impl: TorchLike, scenario: Scenario, spec: Spec) -> None:
        self.impl, self.spec, self.guise = impl, spec, impl.guise
        self.dtype: torch.dtype = getattr(torch, scenario.dtype)
        if self.guise == "complex" and scenario.dtype not in ("float32", "float64"):
            raise Unsupported(f"torch has no optimizers of complex {scenario.dtype}")
        self.other: torch.dtype = getattr(torch, other_dtype(scenario.dtype))
        self.count = 0
        self.fmt = FORMATS[scenario.dtype]
        self.shapes: list[list[Param]] = []
        self.tensors: list[list[torch.Tensor]] = []
        self.hypers: list[dict[str, Value]] = []
        self.keywords: list[dict[str, Any]] = []
        self.states = impl.state_names(spec)
        groups = [self._group(g) for g in scenario.groups]
        self.optimizer = impl.build(groups, self.keywords[0])
        self._step = self._compiled() if impl.compiled else self.optimizer.step

    def _compiled(self) -> Callable[[], Any]:
        # past its limit of recompilations the step silently runs eagerly: make that an error
        torch._dynamo.reset()
        config = torch._dynamo.config
        name = "recompile" if hasattr(config, "recompile_limit") else "cache_size"  # until 2.6
        setattr(config, f"{name}_limit", 1024)
        setattr(config, f"accumulated_{name}_limit", 4096)
        if name == "recompile":
            config.fail_on_recompile_limit_hit = True
        torch._inductor.config.compile_threads = 1  # processes already run side by side
        optimizer = self.optimizer
        return torch.compile(lambda: optimizer.step())

    def _group(self, group: Group) -> dict[str, Any]:
        tensors = [self._tensor(initial(p, self.fmt), p, p.layout) for p in group.params]
        if not self.impl.options.get("differentiable"):
            for x in tensors:
                x.requires_grad_()
        self.shapes.append(list(group.params))
        self.tensors.append(tensors)
        keywords = self.impl.keywords(group.hyper)
        if self.guise == "lr-tensor":
            keywords["lr"] = torch.tensor(keywords["lr"])
        self.hypers.append(dict(group.hyper))
        self.keywords.append(keywords)
        made = {"params": list(tensors), **self.impl.group(keywords)}
        if self.guise == "mixed-dtypes":
            companion = torch.ones(3, dtype=self.other)
            companion.grad = torch.ones(3, dtype=self.other)
            made["params"].append(companion)
        return made

    def _tensor(
        self, values: Floats, p: Param, layout: str, guises: Mapping[str, Any] = TENSORS
    ) -> torch.Tensor:
        made = tensor(values, p.shape, layout, self.dtype)
        return guises[self.guise](made) if self.guise in guises else made

    def step(self, gradients: Sequence[Sequence[Floats | None]]) -> None:
        for params, tensors, grads in zip(self.shapes, self.tensors, gradients, strict=True):
            for p, x, g in zip(params, tensors, grads, strict=True):
                layout = "strided" if p.layout == "grad-strided" else p.layout
                x.grad = None if g is None else self._tensor(g, p, layout, GRADIENTS)
        self.count += 1
        # what a subject draws, it draws again in a rerun; torch.manual_seed would take 1 ms
        torch.default_generator.manual_seed(self.count)
        self._step()

    def parameters(self) -> list[list[Floats]]:
        return [[flat(x) for x in tensors] for tensors in self.tensors]

    def state(self) -> list[list[Mapping[str, Floats]]]:
        return [[self._state_of(x) for x in tensors] for tensors in self.tensors]

    def _state_of(self, x: torch.Tensor) -> dict[str, Floats]:
        states = getattr(self.optimizer, "state", None)
        held = states.get(x) if isinstance(states, Mapping) else None
        if not isinstance(held, Mapping):  # kept in another form, and so out of sight
            return {}
        found: dict[str, Floats] = {}
        for name, candidates in self.states.items():
            for candidate in candidates:
                value = held.get(candidate)
                if isinstance(value, torch.Tensor) and value.shape == x.shape:
                    found[name] = flat(value)
                    break
        return found

    def gradients(self) -> list[list[Floats | None]] | None:
        return [
            [None if x.grad is None else flat(x.grad) for x in tensors] for tensors in self.tensors
        ]

    def set_hyper(self, group: int, hyper: Mapping[str, Value]) -> None:
        changed = self.impl.changed(self.hypers[group], hyper)
        self.hypers[group].update(hyper)
        self.keywords[group].update({k: v for k, v in changed.items() if k in self.keywords[group]})
        self.optimizer.param_groups[group].update(changed)

    def add_group(self, group: Group) -> None:
        self.optimizer.add_param_group(self._group(group))

    def reload(self) -> None:
        saved = self.optimizer.state_dict()
        groups = [
            {"params": list(tensors), **self.impl.group(keywords)}
            for tensors, keywords in zip(self.tensors, self.keywords, strict=True)
        ]
        self.optimizer = self.impl.build(groups, self.keywords[0])
        self.optimizer.load_state_dict(saved)
        self._step = self._compiled() if self.impl.compiled else self.optimizer.step


def _variant_states(spec: Spec) -> list[Any]:
    return [s for a in spec.axes.values() for c in a.choices.values() for s in c.states.values()]


def tensor(values: Floats, shape: tuple[int, ...], layout: str, dtype: torch.dtype) -> torch.Tensor:
    """A tensor with these values (flat, in logical order) and this memory layout."""
    x = torch.from_numpy(np.ascontiguousarray(values).reshape(shape)).to(dtype)
    if layout == "transposed" and x.dim() >= 2:
        order = list(range(x.dim()))[::-1]
        return x.permute(order).contiguous().permute(order)
    if layout == "strided" and x.dim() >= 1:
        return torch.stack([x, torch.full_like(x, 7.0)], dim=-1)[..., 0]
    return x.clone()


def flat(x: torch.Tensor) -> Floats:
    """A tensor's values as flat doubles, copied; a complex one as its (re, im) pairs."""
    x = x.detach()
    if x.is_complex():
        x = torch.view_as_real(x)
    out: Floats = x.to_dense().to("cpu", torch.float64, copy=True).reshape(-1).numpy()
    return out
