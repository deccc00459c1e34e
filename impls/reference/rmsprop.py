"""RMSprop."""

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


class RMSprop(ReferenceOptimizer):
    """RMSprop, plain or centered, with momentum on the scaled gradient.

    Sources: T. Tieleman, G. Hinton, "Lecture 6.5 - rmsprop: Divide the gradient by a running
    average of its recent magnitude", COURSERA: Neural Networks for Machine Learning, 2012;
    A. Graves, "Generating Sequences With Recurrent Neural Networks", 2013, arXiv:1308.0850,
    page 23 (centered). ε stands outside the root, as in PyTorch; Graves has it inside.

    Args:
        params: tensors, or groups (dicts with ``params`` and options of their own).
        lr: learning rate γ, in units of the parameter; a finite number >= 0, or a tensor of one,
            read anew at each step.
        alpha: α in [0, 1], the weight of the past in the averages, a pure number.
        eps: ε >= 0, in units of the gradient. With 0, a parameter whose gradients have all been
            0 becomes 0/0.
        weight_decay: λ >= 0 of the L2 penalty, in units of gradient per unit of parameter.
        momentum: μ >= 0, a pure number; 0 keeps no buffer.
        centered: divide by the standard deviation instead of the root mean square.
        maximize: ascend instead of descend.

    State: ``step`` (float32, no dimension, on the CPU; exact up to 2**24), and, of the
    parameter's shape and dtype, ``square_avg``, ``momentum_buffer`` if momentum > 0, and
    ``grad_avg`` if centered.
    Parameters: any shape; float16, bfloat16, float32, float64, or complex as (re, im) pairs.

    Raises:
        ValueError: an option is out of its domain, here or in a group.
        RuntimeError: in ``step``, a gradient is sparse.
    """

    _domains: ClassVar = {
        "lr": LEARNING_RATE,
        "alpha": UNIT,
        "eps": NON_NEGATIVE,
        "weight_decay": NON_NEGATIVE,
        "momentum": NON_NEGATIVE,
    }

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "alpha": alpha,
            "eps": eps,
            "centered": centered,
            "weight_decay": weight_decay,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _initial(self, group: Group) -> Mapping[str, float]:
        names = ["square_avg"]
        if group["momentum"] > 0:
            names.append("momentum_buffer")
        if group["centered"]:
            names.append("grad_avg")
        return dict.fromkeys(names, 0.0)

    def _update(self, p: Tensor, g: Tensor, state: State, group: Group) -> None:
        lr, alpha, eps, momentum = group["lr"], group["alpha"], group["eps"], group["momentum"]
        v = state["square_avg"]

        g = l2(g, p, group["weight_decay"])  # g ← g + λθ
        v.mul_(alpha).addcmul_(g, g, value=1 - alpha)  # v ← αv + (1-α)g²
        if group["centered"]:
            a = state["grad_avg"]
            a.mul_(alpha).add_(g, alpha=1 - alpha)  # a ← αa + (1-α)g
            v = v.addcmul(a, a, value=-1).clamp_min_(0)  # v - a², a variance: below 0 by rounding
        denominator = v.sqrt().add_(eps)  # √v + ε
        if momentum > 0:
            b = state["momentum_buffer"]
            b.mul_(momentum).addcdiv_(g, denominator)  # b ← μb + g / (√v + ε)
            p.add_(b, alpha=-lr)  # θ ← θ - γb
        else:
            p.addcdiv_(g, denominator, value=-lr)  # θ ← θ - γ g / (√v + ε)
