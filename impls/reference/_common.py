"""The frame the optimizers share: options and their domains, state, checkpoints, the loop.

An optimizer is then a constructor, a table of option domains (``_domains``), what it remembers
and where from (``_initial``), and the equations for one tensor (``_update``).

Arithmetic. ``_update`` sees real tensors of at least float32. A complex parameter comes as its
(re, im) pairs, which share its memory. A float16 or bfloat16 parameter is widened to float32
with its state, and each result is rounded once, when it is stored; so an ``eps`` too small for
float16 still keeps the denominator from zero. Scalars (bias corrections, ``1 - beta``) are
Python floats, that is doubles.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from copy import deepcopy
from numbers import Real
from typing import Any, ClassVar, NamedTuple, overload

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.optimizer import ParamsT

__all__ = [
    "BETAS",
    "LEARNING_RATE",
    "NON_NEGATIVE",
    "UNIT",
    "Group",
    "ParamsT",
    "ReferenceOptimizer",
    "State",
    "l2",
]

Group = dict[str, Any]
State = dict[str, Tensor]


class Domain(NamedTuple):
    """Where the values of an option lie: in words, for the refusal, and as a test."""

    words: str
    holds: Callable[[Any], bool]


def _in(low: float, high: float, value: Any, *, closed: bool) -> bool:
    """Whether ``value`` is a number with low <= value < high, or <= high if closed (NaN is not)."""
    if not isinstance(value, Real):
        return False
    return low <= float(value) < high or (closed and float(value) == high)


def _is_rate(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.is_complex() and _is_rate(value.item())
    return _in(0, math.inf, value, closed=False)


def _are_betas(value: Any) -> bool:
    return (
        isinstance(value, (tuple, list))
        and len(value) == 2
        and all(_in(0, 1, beta, closed=False) for beta in value)
    )


LEARNING_RATE = Domain("a finite number >= 0, or a tensor of one such element", _is_rate)
NON_NEGATIVE = Domain("a finite number >= 0", lambda x: _in(0, math.inf, x, closed=False))
UNIT = Domain("a number in [0, 1]", lambda x: _in(0, 1, x, closed=True))
BETAS = Domain("two numbers in [0, 1)", _are_betas)


def l2(g: Tensor, p: Tensor, weight_decay: float) -> Tensor:
    """g + λθ in a new tensor: the gradient of the loss plus λ/2 ‖θ‖²."""
    return g if weight_decay == 0 else g.add(p, alpha=weight_decay)


def _pairs(x: Tensor) -> Tensor:
    """A complex tensor as its (re, im) pairs, in the same memory; any other as it is."""
    return torch.view_as_real(x) if x.is_complex() else x


def _wide(x: Tensor) -> Tensor:
    """The tensor to compute with: real, and float32 in place of a narrower type."""
    x = _pairs(x)
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


class ReferenceOptimizer(Optimizer):
    """The common part; see the module's docstring for what a subclass adds."""

    _domains: ClassVar[Mapping[str, Domain]]
    _counts_steps: ClassVar[bool] = True  # whether the state has a `step`

    def __init__(self, params: ParamsT, defaults: Group) -> None:
        self._check(defaults)
        super().__init__(params, defaults)

    # What a subclass says.

    def _check(self, options: Mapping[str, Any]) -> None:
        """Raise ValueError if an option is out of its domain."""
        for name, domain in self._domains.items():
            value = options.get(name)
            if not domain.holds(value):
                raise ValueError(
                    f"{type(self).__name__} needs {name} to be {domain.words}, got {value!r}."
                )

    def _initial(self, group: Group) -> Mapping[str, float]:
        """The state tensors which exist before the first update, and the value that fills them."""
        return {}

    def _update(self, p: Tensor, g: Tensor, state: State, group: Group) -> None:
        """Update ``p`` and ``state`` in place by the gradient ``g``, which is only read.

        What is put in ``state`` under a new name is copied into the optimizer's.
        """
        raise NotImplementedError

    # The loop.

    @overload
    def step(self, closure: None = None) -> None: ...

    @overload
    def step(self, closure: Callable[[], float]) -> float: ...

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:
        """Update every parameter that has a gradient; those whose ``grad`` is None are left.

        Args:
            closure: evaluates the model again, with gradients on, and returns the loss.

        Returns:
            The closure's loss, or None without a closure.

        Raises:
            RuntimeError: a gradient is not dense. Nothing has been updated then.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()

        todo: list[tuple[Tensor, Tensor, Group]] = []
        for group in self.param_groups:
            options = {**group, "lr": float(group["lr"])}
            todo += [(p, p.grad, options) for p in group["params"] if p.grad is not None]
        for _, grad, _ in todo:
            if grad.layout is not torch.strided:
                raise RuntimeError(
                    f"{type(self).__name__} takes dense gradients only, got one of layout "
                    f"{grad.layout}: build the layer with sparse=False, or give its parameters "
                    "to torch.optim.SparseAdam."
                )
        for p, grad, options in todo:
            self._advance(p, grad, options)
        return loss

    def _advance(self, p: Tensor, grad: Tensor, group: Group) -> None:
        """One step of one parameter: widen, update, round back."""
        state = self._state_of(p, group)
        if self._counts_steps:
            state["step"] += 1
        theta, g = _wide(p), _wide(grad.resolve_conj())
        work = {name: _wide(x) for name, x in state.items() if isinstance(x, Tensor)}
        self._update(theta, -g if group["maximize"] else g, work, group)
        _pairs(p).copy_(theta)  # nothing to do where theta is p itself
        for name, x in work.items():
            if name not in state:
                state[name] = torch.empty_like(p, memory_format=torch.preserve_format)
            _pairs(state[name]).copy_(x)
        if state:
            self.state[p] = state

    def _state_of(self, p: Tensor, group: Group) -> State:
        """The state of ``p``, with what it lacks filled in.

        The count is a float32 on the CPU whatever the type of ``p``: bfloat16 stops at 256.
        """
        state: State = self.state.get(p, {})
        if self._counts_steps and "step" not in state:
            state["step"] = torch.tensor(0.0, dtype=torch.float32)
        for name, value in self._initial(group).items():
            if name not in state:
                fill = complex(value, value) if p.is_complex() else value
                state[name] = torch.full_like(p, fill, memory_format=torch.preserve_format)
        return state

    # Options and checkpoints.

    def add_param_group(self, param_group: Group) -> None:
        """Add parameters, with options of their own or else the constructor's.

        Args:
            param_group: ``params`` and any of the constructor's options. It is copied.

        Raises:
            ValueError: an option is out of its domain. Nothing has been added then.
        """
        if isinstance(param_group, dict):  # else the TypeError of torch
            param_group = dict(param_group)
            self._check({**self.defaults, **param_group})
        super().add_param_group(param_group)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a checkpoint of this class, or of the torch.optim class of the same name.

        The checkpoint is copied: later steps leave it as it is.

        Raises:
            ValueError: the groups do not match, or an option is out of its domain. Nothing has
                been loaded then.
        """
        super().load_state_dict({**state_dict, "state": deepcopy(state_dict["state"])})

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore from a pickle or a checkpoint, perhaps an old one or one of torch.optim.

        Options it lacks get the constructor's defaults, options unknown here stay for the way
        back, a `step` of any type becomes a float32, and empty entries go.
        """
        for group in state["param_groups"]:
            self._complete(group)
            self._check(group)
        for slots in state["state"].values():
            if isinstance(slots, dict):
                for name in [name for name, x in slots.items() if x is None]:
                    del slots[name]  # old SGD wrote `momentum_buffer: None`
                if "step" in slots:
                    slots["step"] = torch.tensor(float(slots["step"]), dtype=torch.float32)
        super().__setstate__(state)

    def _complete(self, group: Group) -> None:
        """Give a restored group the options it was written without."""
        for name, parameter in inspect.signature(type(self).__init__).parameters.items():
            if parameter.default is not parameter.empty:
                group.setdefault(name, parameter.default)
