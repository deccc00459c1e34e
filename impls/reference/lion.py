"""Lion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from ._common import (
    BETAS,
    LEARNING_RATE,
    NON_NEGATIVE,
    Group,
    ParamsT,
    ReferenceOptimizer,
    State,
)


class Lion(ReferenceOptimizer):
    """Lion: the sign of an interpolated momentum, with decoupled weight decay.

    Source: X. Chen et al., "Symbolic Discovery of Optimization Algorithms", 2023,
    arXiv:2302.06675, Algorithm 2.

    Args:
        params: tensors, or groups (dicts with ``params`` and options of their own).
        lr: learning rate γ (the paper's η), in units of the parameter: by so much each element
            moves. A finite number >= 0, or a tensor of one, read anew at each step.
        betas: β1 and β2 in [0, 1), the weights of the past in the direction and in the momentum.
        weight_decay: λ >= 0; γλ is the part of the parameter taken away at each step.
        maximize: ascend instead of descend.

    State: ``exp_avg``, of the parameter's shape and dtype.
    Parameters: any shape; float16, bfloat16, float32, float64, or complex as (re, im) pairs.

    Raises:
        ValueError: an option is out of its domain, here or in a group.
        RuntimeError: in ``step``, a gradient is sparse.
    """

    _domains: ClassVar = {"lr": LEARNING_RATE, "betas": BETAS, "weight_decay": NON_NEGATIVE}
    _counts_steps: ClassVar[bool] = False

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "weight_decay": weight_decay, "maximize": maximize}
        super().__init__(params, defaults)

    def _initial(self, group: Group) -> Mapping[str, float]:
        return {"exp_avg": 0.0}

    def _update(self, p: Tensor, g: Tensor, state: State, group: Group) -> None:
        lr, (beta1, beta2), m = group["lr"], group["betas"], state["exp_avg"]

        c = m.mul(beta1).add_(g, alpha=1 - beta1)  # c = β1 m + (1-β1) g
        p.mul_(1 - lr * group["weight_decay"])  # θ ← θ - γλθ
        p.add_(c.sign_(), alpha=-lr)  # θ ← θ - γ sign(c)
        m.mul_(beta2).add_(g, alpha=1 - beta2)  # m ← β2 m + (1-β2) g
