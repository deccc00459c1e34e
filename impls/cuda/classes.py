"""The six classes: torch's constructors, and where the kernels run.

Beyond the options of torch.optim each takes these, and says no more of them:

``device``
    "cuda" (default) runs on the GPUs that hold the parameters; "cpu" chooses the build of the same
    kernels for the host.
``state_dtype``
    torch.float32 keeps the state of 16-bit parameters in float32; None in the parameter's dtype.
``stochastic_rounding``
    whether bfloat16 parameters and state are rounded up or down by chance, right on average.
``seed``
    of that chance, an integer in [0, 2**64).

State and checkpoints are those of torch.optim.  Parameters have any shape and strides; float16,
bfloat16, float32, float64, or complex as (re, im) pairs.  Arithmetic is float64 for float64 and
float32 for all others, and scalars are computed in double precision.

Constructors raise RuntimeError where there is no CUDA device, and ValueError for an option out of
its domain or a parameter that is not on ``device``.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from optconform.impls.cuda.optimizer import Generated


class SGD(Generated, torch.optim.SGD):
    """SGD with heavy-ball or Nesterov momentum.

    A drop-in replacement for torch.optim.SGD; see the module for what it adds.
    """

    _spec: ClassVar[str] = "sgd"

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
        device: str | None = None,
        state_dtype: torch.dtype | None = None,
        stochastic_rounding: bool = False,
        seed: int = 0,
    ) -> None:
        self._choose(device, state_dtype, stochastic_rounding, seed, differentiable)
        super().__init__(
            params,
            lr,
            momentum,
            dampening,
            weight_decay,
            nesterov,
            maximize=maximize,
            foreach=foreach,
            differentiable=differentiable,
            fused=fused,
        )


class Adagrad(Generated, torch.optim.Adagrad):
    """Adagrad.

    A drop-in replacement for torch.optim.Adagrad; see the module for what it adds.
    """

    _spec: ClassVar[str] = "adagrad"

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        device: str | None = None,
        state_dtype: torch.dtype | None = None,
        stochastic_rounding: bool = False,
        seed: int = 0,
    ) -> None:
        self._choose(device, state_dtype, stochastic_rounding, seed, differentiable)
        super().__init__(
            params,
            lr,
            lr_decay,
            weight_decay,
            initial_accumulator_value,
            eps,
            foreach,
            maximize=maximize,
            differentiable=differentiable,
            fused=fused,
        )
        # each group starts from its own accumulator, and in the dtype of the state
        self.state.clear()
        for group in self.param_groups:
            self._start(group)


class RMSprop(Generated, torch.optim.RMSprop):
    """RMSprop, centered or not, with momentum.

    A drop-in replacement for torch.optim.RMSprop; see the module for what it adds.
    """

    _spec: ClassVar[str] = "rmsprop"

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        capturable: bool = False,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        *,
        device: str | None = None,
        state_dtype: torch.dtype | None = None,
        stochastic_rounding: bool = False,
        seed: int = 0,
    ) -> None:
        self._choose(device, state_dtype, stochastic_rounding, seed, differentiable)
        super().__init__(
            params,
            lr,
            alpha,
            eps,
            weight_decay,
            momentum,
            centered,
            capturable,
            foreach,
            maximize,
            differentiable,
        )


class Adadelta(Generated, torch.optim.Adadelta):
    """Adadelta.

    A drop-in replacement for torch.optim.Adadelta; see the module for what it adds.
    """

    _spec: ClassVar[str] = "adadelta"

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        *,
        capturable: bool = False,
        maximize: bool = False,
        differentiable: bool = False,
        device: str | None = None,
        state_dtype: torch.dtype | None = None,
        stochastic_rounding: bool = False,
        seed: int = 0,
    ) -> None:
        self._choose(device, state_dtype, stochastic_rounding, seed, differentiable)
        super().__init__(
            params,
            lr,
            rho,
            eps,
            weight_decay,
            foreach,
            capturable=capturable,
            maximize=maximize,
            differentiable=differentiable,
        )


class Adam(Generated, torch.optim.Adam):
    """Adam with L2 decay, or AMSGrad.

    A drop-in replacement for torch.optim.Adam; see the module for what it adds.
    """

    _spec: ClassVar[str] = "adam"

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
        device: str | None = None,
        state_dtype: torch.dtype | None = None,
        stochastic_rounding: bool = False,
        seed: int = 0,
    ) -> None:
        self._choose(device, state_dtype, stochastic_rounding, seed, differentiable)
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=decoupled_weight_decay,
        )


class AdamW(Generated, torch.optim.AdamW):
    """Adam with decoupled decay, or AMSGrad.

    A drop-in replacement for torch.optim.AdamW; see the module for what it adds.
    """

    _spec: ClassVar[str] = "adamw"

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        device: str | None = None,
        state_dtype: torch.dtype | None = None,
        stochastic_rounding: bool = False,
        seed: int = 0,
    ) -> None:
        self._choose(device, state_dtype, stochastic_rounding, seed, differentiable)
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            maximize=maximize,
            foreach=foreach,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
        )
