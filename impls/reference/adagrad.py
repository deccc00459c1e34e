"""Adagrad."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from ._common import LEARNING_RATE, NON_NEGATIVE, Group, ParamsT, ReferenceOptimizer, State, l2


class Adagrad(ReferenceOptimizer):
    """Adagrad, in its diagonal form.

    Source: J. Duchi, E. Hazan, Y. Singer, "Adaptive Subgradient Methods for Online Learning and
    Stochastic Optimization", JMLR 12, 2011, Figure 1 with diagonal matrices and no regularizer:
    θ ← θ - γ g / (δ + √s). The decay of lr and the start of the sum are PyTorch's.

    Args:
        params: tensors, or groups (dicts with ``params`` and options of their own).
        lr: learning rate γ, in units of the parameter; a finite number >= 0, or a tensor of one,
            read anew at each step.
        lr_decay: η >= 0, per step: lr becomes γ / (1 + (t-1)η).
        weight_decay: λ >= 0 of the L2 penalty, in units of gradient per unit of parameter.
        initial_accumulator_value: s_0 >= 0, in units of the gradient squared.
        eps: ε >= 0 (the paper's δ), in units of the gradient. With 0, a parameter whose
            gradients have all been 0 becomes 0/0.
        maximize: ascend instead of descend.

    State, made with the group: ``step`` (float32, no dimension, on the CPU; exact up to 2**24)
    and ``sum``, of the parameter's shape and dtype.
    Parameters: any shape; float16, bfloat16, float32, float64, or complex as (re, im) pairs.

    Raises:
        ValueError: an option is out of its domain, here or in a group.
        RuntimeError: in ``step``, a gradient is sparse.
    """

    _domains: ClassVar = {
        "lr": LEARNING_RATE,
        "lr_decay": NON_NEGATIVE,
        "weight_decay": NON_NEGATIVE,
        "initial_accumulator_value": NON_NEGATIVE,
        "eps": NON_NEGATIVE,
    }

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def add_param_group(self, param_group: Group) -> None:
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        for p in group["params"]:
            self.state[p] = self._state_of(p, group)

    def share_memory(self) -> None:
        """Move the sums into shared memory, for several processes to train together."""
        for group in self.param_groups:
            for p in group["params"]:
                self.state[p]["sum"].share_memory_()

    def _initial(self, group: Group) -> Mapping[str, float]:
        return {"sum": group["initial_accumulator_value"]}

    def _update(self, p: Tensor, g: Tensor, state: State, group: Group) -> None:
        lr, lr_decay, eps = group["lr"], group["lr_decay"], group["eps"]
        t, s = state["step"].item(), state["sum"]

        g = l2(g, p, group["weight_decay"])  # g ← g + λθ
        s.addcmul_(g, g)  # s ← s + g²
        rate = lr / (1 + (t - 1) * lr_decay)  # γ_t = γ / (1 + (t-1)η)
        p.addcdiv_(g, s.sqrt().add_(eps), value=-rate)  # θ ← θ - γ_t g / (√s + ε)
