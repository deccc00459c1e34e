"""Adamax."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

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


class Adamax(ReferenceOptimizer):
    """Adamax: Adam with the infinity norm in the place of the second moment.

    Source: D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015,
    arXiv:1412.6980, Algorithm 2. It has no ε; as in PyTorch, it is added to each |g|.

    Args:
        params: tensors, or groups (dicts with ``params`` and options of their own).
        lr: learning rate γ (the paper's α), in units of the parameter; a finite number >= 0, or
            a tensor of one, read anew at each step.
        betas: β1 and β2 in [0, 1), the weights of the past in the moment and in the norm.
        eps: ε >= 0, in units of the gradient. With 0, a parameter whose gradients have all been
            0 becomes 0/0.
        weight_decay: λ >= 0 of the L2 penalty, in units of gradient per unit of parameter.
        maximize: ascend instead of descend.

    State: ``step`` (float32, no dimension, on the CPU; exact up to 2**24), and ``exp_avg`` and
    ``exp_inf``, of the parameter's shape and dtype.
    Parameters: any shape; float16, bfloat16, float32, float64, or complex as (re, im) pairs.

    Raises:
        ValueError: an option is out of its domain, here or in a group.
        RuntimeError: in ``step``, a gradient is sparse.
    """

    _domains: ClassVar = {
        "lr": LEARNING_RATE,
        "betas": BETAS,
        "eps": NON_NEGATIVE,
        "weight_decay": NON_NEGATIVE,
    }

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _initial(self, group: Group) -> Mapping[str, float]:
        return {"exp_avg": 0.0, "exp_inf": 0.0}

    def _update(self, p: Tensor, g: Tensor, state: State, group: Group) -> None:
        lr, (beta1, beta2), eps = group["lr"], group["betas"], group["eps"]
        t, m, u = state["step"].item(), state["exp_avg"], state["exp_inf"]

        g = l2(g, p, group["weight_decay"])  # g ← g + λθ
        m.mul_(beta1).add_(g, alpha=1 - beta1)  # m ← β1 m + (1-β1) g
        torch.maximum(u.mul_(beta2), g.abs().add_(eps), out=u)  # u ← max(β2 u, |g| + ε)
        p.addcdiv_(m, u, value=-lr / (1 - beta1**t))  # θ ← θ - γ / (1-β1^t) · m / u
