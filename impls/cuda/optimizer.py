"""What the six classes share: a step that runs generated kernels on the state of torch's class."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch._compile import _disable_dynamo
from torch.optim import Optimizer

from optconform import expr
from optconform.impls.cuda import body, host
from optconform.impls.cuda import device as device_program
from optconform.impls.cuda.emit import Kernel
from optconform.impls.cuda.launch import NAMES, Key, Launch, Member
from optconform.impls.cuda.plan import Plan
from optconform.impls.cuda.program import Program
from optconform.spec import Spec
from optconform.spec_file import load

PARAMS = operator.itemgetter("params")

Shape = tuple[str, frozenset[str], frozenset[str], bool]
"""The spec of a group, the conditions that hold, what is 0, and whether it is capturable."""


@dataclass(frozen=True, slots=True)
class Build:
    """Where and how the kernels run; see :class:`Generated`."""

    device: str
    state_dtype: torch.dtype | None
    stochastic_rounding: bool
    seed: int

    def __post_init__(self) -> None:
        kind = torch.device(self.device).type
        if kind not in ("cuda", "cpu"):
            raise ValueError(f"device is 'cuda' or 'cpu', not {self.device!r}")
        if kind == "cuda" and not torch.cuda.is_available():
            raise RuntimeError(
                "these kernels need a CUDA device, and torch finds none; device='cpu' chooses the "
                "build of the same kernels for the host"
            )
        if self.state_dtype not in (None, torch.float32):
            raise ValueError(f"state_dtype is None or torch.float32, not {self.state_dtype}")
        if isinstance(self.seed, bool) or not 0 <= self.seed < 2**64:
            raise ValueError(f"seed is an integer in [0, 2**64), not {self.seed!r}")

    @property
    def gpu(self) -> bool:
        return not self.device.startswith("cpu")


class Generated(Optimizer):
    """A class of torch.optim whose step runs kernels that were generated from its spec.

    Constructor, state and checkpoints are those of the class of torch.optim of the same name, which
    each subclass also derives from.  ``foreach`` and ``fused`` choose a code path in torch and have
    no effect here; ``differentiable`` is refused.
    """

    _step_supports_amp_scaling = True
    _build: Build
    _plan: Plan | None = None
    _captured: tuple[object, ...] = ()
    """What CUDA graphs read, whose end nobody tells us."""
    grad_scale: Tensor | None
    found_inf: Tensor | None

    _spec: ClassVar[str]

    def _choose(
        self,
        device: str | None,
        state_dtype: torch.dtype | None,
        stochastic_rounding: bool,
        seed: int,
        differentiable: bool,
    ) -> None:
        """Settle where the kernels run, before the constructor of torch's class."""
        if differentiable:
            raise ValueError(f"{type(self).__name__} cannot be differentiated through")
        self._build = Build(device or "cuda", state_dtype, stochastic_rounding, seed)

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add parameters, as torch does; those that the kernels cannot step are refused.

        Raises:
            ValueError: a parameter is on another kind of device, or twice in the group. Nothing has
                been added then.
            TypeError: a parameter has no memory of its own, as a DTensor. Nor then.
        """
        super().add_param_group(param_group)
        params = self.param_groups[-1]["params"]
        try:
            self._refuse_parameters(params)
        except (ValueError, TypeError):
            self.param_groups.pop()
            raise
        self._plan = None

    def _refuse_parameters(self, params: Sequence[Tensor]) -> None:
        own, kind = type(self).__name__, torch.device(self._build.device).type
        if len(set(map(id, params))) < len(params):
            raise ValueError(f"{own} was given a parameter twice in one group")
        for p in params:
            if p.device.type != kind:
                raise ValueError(f"{own} was built for {kind}, and a parameter is on {p.device}")
            if p.numel() and not p.data_ptr():
                raise TypeError(
                    f"{own} steps tensors in memory, and {type(p).__name__} has none of its own"
                )

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_build": self._build}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        self._plan = None

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a checkpoint of this class, or of the class of torch.optim of the same name.

        It is copied: later steps leave it as it is.
        """
        super().load_state_dict({**state_dict, "state": deepcopy(state_dict["state"])})
        if self._build.state_dtype is None:
            return
        # torch rounds to the parameter's dtype what it loads
        saved = [i for g in state_dict["param_groups"] for i in g["params"]]
        for i, p in zip(saved, self._all(), strict=True):
            for name, x in state_dict["state"].get(i, {}).items():
                if isinstance(x, Tensor) and name != "step":
                    self.state[p][name] = x.to(p.device, self._held(p), copy=True)

    def _all(self) -> list[Tensor]:
        return list(itertools.chain.from_iterable(map(PARAMS, self.param_groups)))

    # The step.  What calls torch's operations turns gradients off itself: a step of a small tensor
    # takes little longer than that.

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update every parameter that has a gradient; those whose ``grad`` is None are left.

        Args:
            closure: evaluates the model again, with gradients on, and returns the loss.

        Returns:
            The closure's loss, or None without a closure.

        Raises:
            RuntimeError: a gradient is sparse. Nothing has been updated then.
            TypeError: a gradient's dtype is not its parameter's, or one that no kernel is for;
                nor then.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if torch.compiler.is_compiling():
            _not_compiled(self)
        else:
            self._step()
        return loss

    def _step(self) -> None:
        grad_scale, found_inf = getattr(self, "grad_scale", None), getattr(self, "found_inf", None)
        groups = self.param_groups
        if found_inf is not None and not all(g.get("capturable", False) for g in groups):
            if found_inf.item():
                return
            found_inf = None
        hypers = [_hypers(self._spec_of(g), g) for g in groups]
        shapes = [self._shape(g, h) for g, h in zip(groups, hypers, strict=True)]
        params = self._all()
        plan = self._plan
        if plan is None or not plan.holds(params, shapes, self.state):
            plan = self._plan = self._planned(params, hypers, shapes)
        capturing = self._build.gpu and torch.cuda.is_current_stream_capturing()
        if capturing:
            self._refuse_to_repeat(shapes)
        torch.autograd.graph.increment_version(plan.moving)
        rates = [g["lr"] for g in groups]
        for launch in plan.launches:
            launch.run(hypers, rates, grad_scale, found_inf)
        if capturing:
            self._captured += (plan, *(launch.tables() for launch in plan.launches))

    def _refuse_to_repeat(self, shapes: Sequence[Shape]) -> None:
        """Raise RuntimeError for a step that a CUDA graph cannot repeat."""
        for spec, _, _, capturable in shapes:
            # SGD counts for its random numbers alone
            if not capturable and (spec != "sgd" or self._build.stochastic_rounding):
                raise RuntimeError(
                    f"a CUDA graph is being captured, and would repeat this step of "
                    f"{type(self).__name__} with its number; capturable=True counts in the graph"
                )

    def _spec_of(self, group: Mapping[str, Any]) -> Spec:
        if self._spec in ("adam", "adamw"):
            return load("adamw" if group["decoupled_weight_decay"] else "adam")
        return load(self._spec)

    def _shape(self, group: Mapping[str, Any], hypers: Mapping[str, float]) -> Shape:
        """What of a group decides which program runs."""
        spec = self._spec_of(group).name
        rest = {**hypers, "lr": 1.0}  # which changes every step
        truths, zero = _settled(spec, tuple(rest.values()))
        return spec, truths, zero, bool(group.get("capturable", False))

    def _refuse(self, params: Iterable[Tensor]) -> None:
        """Raise what :meth:`step` says for a gradient that no kernel reads."""
        own = type(self).__name__
        for p in params:
            g = p.grad
            if g is None:
                continue
            if g.layout is not torch.strided:
                raise RuntimeError(
                    f"{own} takes dense gradients only, and one is sparse ({g.layout})"
                )
            if p.dtype not in NAMES:
                raise TypeError(f"{own} has no kernel for {p.dtype}")
            if g.dtype is not p.dtype:
                raise TypeError(
                    f"{own} takes gradients of their parameter's dtype, and that of a parameter of "
                    f"{p.dtype} is of {g.dtype}"
                )

    @torch.no_grad()
    def _planned(
        self,
        params: Sequence[Tensor],
        hypers: Sequence[Mapping[str, float]],
        shapes: Sequence[Shape],
    ) -> Plan:
        if self._build.gpu:
            device_program.refuse_capture()
        self._refuse(params)
        together: dict[Key, list[Member]] = {}
        before = self._plan
        known = set(map(id, before.params if before and before.shapes == shapes else ()))
        once = False
        numbers = itertools.count()
        for index, (group, shape) in enumerate(zip(self.param_groups, shapes, strict=True)):
            spec, truths, zero, capturable = shape
            states = body.states(spec, truths)
            names = {s.name: s.torch_name for s in states}
            starts = self._starts(shape, hypers[index])
            alike: dict[tuple[object, ...], list[Member]] = {}
            for p, number in zip(group["params"], numbers, strict=False):
                if p.grad is None and not (
                    id(p) in known and starts.keys() <= self.state[p].keys()
                ):
                    continue  # what took part before rests
                state, first = self._completed(p, starts)
                some = alike.get((p.dtype, p.device, first))
                if some is None:
                    now = truths
                    if first and "t == 1" in body.conditions(spec):
                        now, once = truths | {"t == 1"}, True
                    key = Key(
                        spec=spec,
                        truths=now,
                        zero=zero,
                        param=NAMES[p.dtype],
                        state=NAMES[self._held(p)],
                        stochastic=self._build.stochastic_rounding,
                        capturable=capturable,
                        device=p.device,
                    )
                    some = together.setdefault(key, [])
                    alike[p.dtype, p.device, first] = some
                some.append(Member(p, number, index, state, names))
        launches = [
            Launch(key, members, functools.partial(built, device=key.device), self._build.seed)
            for key, members in together.items()
        ]
        return Plan(params, launches, shapes, self.state, once=once)

    def _held(self, p: Tensor) -> torch.dtype:
        """The dtype of the state of ``p``."""
        narrow = p.dtype in (torch.float16, torch.bfloat16)
        return self._build.state_dtype or p.dtype if narrow else p.dtype

    def _starts(self, shape: Shape, hypers: Mapping[str, float]) -> dict[str, float]:
        """What the state of a parameter begins with, by torch's names."""
        spec, truths, *_ = shape
        out = {"step": 0.0} if spec != "sgd" or self._build.stochastic_rounding else {}
        for s in body.states(spec, truths):
            out[s.torch_name] = hypers[s.init] if s.init in hypers else float(s.init)
        return out

    def _start(self, group: dict[str, Any]) -> None:
        """Give the parameters of a group their state before the first step."""
        hypers = _hypers(self._spec_of(group), group)
        starts = self._starts(self._shape(group, hypers), hypers)
        for p in group["params"]:
            self._completed(p, starts)

    def _completed(self, p: Tensor, starts: Mapping[str, float]) -> tuple[dict[str, Any], bool]:
        """The state of ``p`` with all that it needs, and whether it had to be started."""
        if not starts:
            return self.state.get(p, {}), False
        state, dtype = self.state[p], self._held(p)
        first = False
        for name, fill in starts.items():
            x = state.get(name)
            if name == "step":
                if x is None:
                    state["step"] = torch.tensor(fill, dtype=torch.float32)
            elif x is None:
                first = True
                state[name] = torch.full_like(
                    p,
                    complex(fill, fill) if p.is_complex() else fill,
                    dtype=dtype,
                    memory_format=torch.preserve_format,
                    requires_grad=False,
                )
            elif x.dtype != dtype:
                state[name] = x.to(dtype)
        return state, first


@_disable_dynamo  # as torch.optim does: torch.compiler.disable imports the compiler at once
def _not_compiled(optimizer: Generated) -> None:
    """A step within a function that torch.compile compiles, which would trace the arrays of numpy
    that kernels read as tensors of its own."""
    optimizer._step()


def built(kernel: Kernel, *, device: torch.device) -> Program:
    """The kernel for tensors on this device."""
    if device.type == "cpu":
        return host.program(kernel)
    return device_program.program(kernel, device)


def _hypers(spec: Spec, group: Mapping[str, Any]) -> dict[str, float]:
    """A group's options by the spec's names.

    An lr that is a tensor of a capturable group is left where it is, and 0 here.
    """
    out = {}
    for name in spec.hypers:
        value = group["betas"][name == "beta2"] if name in ("beta1", "beta2") else group[name]
        if name == "lr" and isinstance(value, Tensor) and group.get("capturable"):
            value = 0.0
        out[name] = value if type(value) is float else float(value)
    return out


@functools.lru_cache(maxsize=1024)
def _settled(spec: str, hypers: tuple[float, ...]) -> tuple[frozenset[str], frozenset[str]]:
    """The conditions that hold beyond the first step, and what is 0."""
    values = {**dict(zip(load(spec).hypers, hypers, strict=True)), "t": 2.0}
    truths = frozenset(c for c in body.conditions(spec) if expr.holds(c, values))
    return truths, body.zeros(values)
