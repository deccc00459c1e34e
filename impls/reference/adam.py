"""Adam, and its AMSGrad variant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor

from ._common import (
    BETAS,
    LEARNING_RATE,
    NON_NEGATIVE,
    Group,
    ParamsT,
    ReferenceOptimizer,
    State,
    l2,
)


class Adam(ReferenceOptimizer):
    """Adam, with weight decay as an L2 penalty; or AMSGrad.

    Sources: D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015,
    arXiv:1412.6980, Algorithm 1; S. J. Reddi, S. Kale, S. Kumar, "On the Convergence of Adam and
    Beyond", ICLR 2018, Algorithm 2 (AMSGrad). As in PyTorch, AMSGrad keeps the maximum of the
    uncorrected v and then divides by the bias correction, which the paper has not.

    Args:
        params: tensors, or groups (dicts with ``params`` and options of their own).
        lr: learning rate γ (the paper's α), in units of the parameter; a finite number >= 0, or
            a tensor of one, read anew at each step.
        betas: β1 and β2 in [0, 1), the weights of the past in the two moments, pure numbers.
        eps: ε >= 0, in units of the gradient. With 0, a parameter whose gradients have all been
            0 becomes 0/0.
        weight_decay: λ >= 0 of the L2 penalty, in units of gradient per unit of parameter.
        amsgrad: divide by the largest second moment so far.
        maximize: ascend instead of descend.

    State: ``step`` (float32, no dimension, on the CPU; exact up to 2**24), and, of the
    parameter's shape and dtype, ``exp_avg``, ``exp_avg_sq``, and ``max_exp_avg_sq`` if amsgrad.
    Parameters: any shape; float16, bfloat16, float32, float64, or complex as (re, im) pairs.

    Raises:
        ValueError: an option is out of its domain, here or in a group; or a checkpoint decouples
            its weight decay, and so is one of AdamW.
        RuntimeError: in ``step``, a gradient is sparse.
    """

    _domains: ClassVar = {
        "lr": LEARNING_RATE,
        "betas": BETAS,
        "eps": NON_NEGATIVE,
        "weight_decay": NON_NEGATIVE,
    }
    _decoupled: ClassVar[bool] = False  # written in each group, as PyTorch does

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "decoupled_weight_decay": self._decoupled,
        }
        super().__init__(params, defaults)

    def _check(self, options: Mapping[str, Any]) -> None:
        super()._check(options)
        decoupled, decay = options["decoupled_weight_decay"], options["weight_decay"]
        if bool(decoupled) is not self._decoupled and decay != 0:
            raise ValueError(
                f"{type(self).__name__} has decoupled_weight_decay {self._decoupled}, "
                f"got {decoupled!r} with weight_decay {decay!r}: "
                f"use {'Adam' if self._decoupled else 'AdamW'} for that."
            )

    def _complete(self, group: Group) -> None:
        super()._complete(group)
        group.setdefault("decoupled_weight_decay", self._decoupled)

    def _initial(self, group: Group) -> Mapping[str, float]:
        names = ["exp_avg", "exp_avg_sq"]
        if group["amsgrad"]:
            names.append("max_exp_avg_sq")
        return dict.fromkeys(names, 0.0)

    def _update(self, p: Tensor, g: Tensor, state: State, group: Group) -> None:
        g = l2(g, p, group["weight_decay"])  # g ← g + λθ
        self._move(p, g, state, group)

    def _move(self, p: Tensor, g: Tensor, state: State, group: Group) -> None:
        """The step that Adam and AdamW have in common."""
        lr, (beta1, beta2), eps = group["lr"], group["betas"], group["eps"]
        t, m, v = state["step"].item(), state["exp_avg"], state["exp_avg_sq"]

        m.mul_(beta1).add_(g, alpha=1 - beta1)  # m ← β1 m + (1-β1) g
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)  # v ← β2 v + (1-β2) g²
        if group["amsgrad"]:
            v_max = state["max_exp_avg_sq"]
            v = torch.maximum(v_max, v, out=v_max)  # v^max ← max(v^max, v), and v^max for v below
        correction1 = 1 - beta1**t  # m̂ = m / (1 - β1^t)
        correction2 = 1 - beta2**t  # v̂ = v / (1 - β2^t)
        denominator = v.sqrt().div_(correction2**0.5).add_(eps)  # √v̂ + ε
        p.addcdiv_(m, denominator, value=-lr / correction1)  # θ ← θ - γ m̂ / (√v̂ + ε)
