"""Heavy ball whose learning rate is not called lr (``tests/data/rated.toml``)."""

from __future__ import annotations

import torch


class Rated(torch.optim.Optimizer):
    def __init__(self, params, rate=0.01, momentum=0.0):
        super().__init__(params, {"rate": rate, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure=None):
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                if "b" not in self.state[p]:
                    self.state[p]["b"] = torch.zeros_like(p)
                b = self.state[p]["b"]
                b.mul_(group["momentum"]).add_(p.grad)
                p.add_(b, alpha=-group["rate"])
        return loss


class KeepsItsRate(Rated):
    """A checkpoint brings every option but the rate."""

    def load_state_dict(self, state_dict):
        rates = [g["rate"] for g in self.param_groups]
        super().load_state_dict(state_dict)
        for group, rate in zip(self.param_groups, rates, strict=True):
            group["rate"] = rate
