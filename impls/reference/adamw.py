"""AdamW: Adam with decoupled weight decay."""

from __future__ import annotations

from torch import Tensor

from ._common import Group, ParamsT, State
from .adam import Adam


class AdamW(Adam):
    """Adam, the weight decay taken from the parameter and not added to the gradient.

    Source: I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", ICLR 2019,
    arXiv:1711.05101, Algorithm 2. As in PyTorch, the decay is γλ: the paper's schedule multiplier
    η times λ, with lr in the place of η.

    Args:
        params, lr, betas, eps, amsgrad, maximize: as in :class:`Adam`.
        weight_decay: λ >= 0; γλ is the part of the parameter taken away at each step.

    State, parameters and refusals: as in :class:`Adam`. A checkpoint of Adam is read as AdamW's.
    """

    _decoupled = True

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)

    def _complete(self, group: Group) -> None:
        super()._complete(group)
        group["decoupled_weight_decay"] = True  # as PyTorch does: AdamW stays AdamW

    def _update(self, p: Tensor, g: Tensor, state: State, group: Group) -> None:
        p.mul_(1 - group["lr"] * group["weight_decay"])  # θ ← θ - γλθ
        self._move(p, g, state, group)
