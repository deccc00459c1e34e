"""Adadelta."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from ._common import (
    LEARNING_RATE,
    NON_NEGATIVE,
    UNIT,
    Group,
    ParamsT,
    ReferenceOptimizer,
    State,
    l2,
)


class Adadelta(ReferenceOptimizer):
    """Adadelta.

    Source: M. D. Zeiler, "ADADELTA: An Adaptive Learning Rate Method", 2012, arXiv:1212.5701,
    Algorithm 1. Its update, with the units of the parameter, is Δ up to sign; the factor lr is
    PyTorch's (the paper's is 1).

    Args:
        params: tensors, or groups (dicts with ``params`` and options of their own).
        lr: γ, a pure number; finite and >= 0, or a tensor of one, read anew at each step.
        rho: ρ in [0, 1], the weight of the past in the averages, a pure number.
        eps: ε >= 0, added to averages of gradients squared and of updates squared alike. With 0
            the updates never leave 0, or are 0/0.
        weight_decay: λ >= 0 of the L2 penalty, in units of gradient per unit of parameter.
        maximize: ascend instead of descend.

    State: ``step`` (float32, no dimension, on the CPU; exact up to 2**24), and ``square_avg``
    and ``acc_delta``, of the parameter's shape and dtype.
    Parameters: any shape; float16, bfloat16, float32, float64, or complex as (re, im) pairs.

    Raises:
        ValueError: an option is out of its domain, here or in a group.
        RuntimeError: in ``step``, a gradient is sparse.
    """

    _domains: ClassVar = {
        "lr": LEARNING_RATE,
        "rho": UNIT,
        "eps": NON_NEGATIVE,
        "weight_decay": NON_NEGATIVE,
    }

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "rho": rho,
            "eps": eps,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _initial(self, group: Group) -> Mapping[str, float]:
        return {"square_avg": 0.0, "acc_delta": 0.0}

    def _update(self, p: Tensor, g: Tensor, state: State, group: Group) -> None:
        lr, rho, eps = group["lr"], group["rho"], group["eps"]
        v, u = state["square_avg"], state["acc_delta"]

        g = l2(g, p, group["weight_decay"])  # g ← g + λθ
        v.mul_(rho).addcmul_(g, g, value=1 - rho)  # E[g²] ← ρE[g²] + (1-ρ)g²
        delta = u.add(eps).sqrt_()  # RMS[Δ]_{t-1} = √(E[Δ²] + ε)
        delta.div_(v.add(eps).sqrt_()).mul_(g)  # Δ = RMS[Δ]_{t-1} / RMS[g]_t · g
        u.mul_(rho).addcmul_(delta, delta, value=1 - rho)  # E[Δ²] ← ρE[Δ²] + (1-ρ)Δ²
        p.add_(delta, alpha=-lr)  # θ ← θ - γΔ
