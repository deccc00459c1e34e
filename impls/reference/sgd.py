"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

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


class SGD(ReferenceOptimizer):
    """Stochastic gradient descent, with heavy-ball or Nesterov momentum.

    Sources: B. T. Polyak, "Some methods of speeding up the convergence of iteration methods",
    1964 (the heavy ball); I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of
    initialization and momentum in deep learning", ICML 2013, section 2, equations 1 to 4.

    Where lr sits: the papers keep it inside the velocity, v ← μv - γg and θ ← θ + v. Here, as in
    PyTorch, it stands outside, b ← μb + (1-τ)g and θ ← θ - γb. With a constant lr and τ = 0 the
    two are the same (v = -γb); when lr changes, here the whole velocity is scaled with it at
    once. The first b is the gradient itself: the dampening τ is left out of it.

    Args:
        params: tensors, or groups (dicts with ``params`` and options of their own).
        lr: learning rate γ, in units of parameter per unit of gradient; a finite number >= 0, or
            a tensor of one, read anew at each step.
        momentum: μ >= 0, a pure number; 0 keeps no buffer.
        dampening: τ in [0, 1], a pure number; without effect when momentum is 0.
        weight_decay: λ >= 0 of the L2 penalty, in units of gradient per unit of parameter.
        nesterov: look ahead along the buffer; needs momentum > 0 and dampening 0.
        maximize: ascend instead of descend.

    State: ``momentum_buffer``, of the parameter's shape and dtype, if momentum is not 0.
    Parameters: any shape; float16, bfloat16, float32, float64 or complex.

    Raises:
        ValueError: an option is out of its domain, here or in a group.
        RuntimeError: in ``step``, a gradient is sparse.
    """

    _domains: ClassVar = {
        "lr": LEARNING_RATE,
        "momentum": NON_NEGATIVE,
        "dampening": UNIT,
        "weight_decay": NON_NEGATIVE,
    }
    _counts_steps = False

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
        }
        super().__init__(params, defaults)

    def _check(self, options: Mapping[str, Any]) -> None:
        super()._check(options)
        momentum, dampening = options["momentum"], options["dampening"]
        if options["nesterov"] and (momentum == 0 or dampening != 0):
            raise ValueError(
                "SGD needs momentum > 0 and dampening 0 for nesterov, "
                f"got momentum {momentum!r} and dampening {dampening!r}."
            )

    def _update(self, p: Tensor, g: Tensor, state: State, group: Group) -> None:
        lr, momentum, dampening = group["lr"], group["momentum"], group["dampening"]

        g = l2(g, p, group["weight_decay"])  # g ← g + λθ
        if momentum == 0:
            p.add_(g, alpha=-lr)  # θ ← θ - γg
            return
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = g  # b_1 = g_1, copied when it is stored
        else:
            state["momentum_buffer"].mul_(momentum).add_(g, alpha=1 - dampening)  # b ← μb + (1-τ)g
        b = state["momentum_buffer"]
        if group["nesterov"]:
            b = g.add(b, alpha=momentum)  # g + μb
        p.add_(b, alpha=-lr)  # θ ← θ - γb
