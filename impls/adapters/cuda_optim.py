"""optconform.impls.cuda: the build for the host, and where there is a GPU the one for CUDA.

What lies on a GPU is driven as any torch optimizer, with its tensors there.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from optconform.implementation import Floats, Implementation, Session
from optconform.impls import cuda
from optconform.impls.adapters.torch_optim import CLASSES, PATHS, TorchLike, TorchSession
from optconform.impls.adapters.torch_repro import TENSORS
from optconform.scenario import Param, Scenario
from optconform.spec import Spec

MODULE = "optconform.impls.cuda"

TORCH_PATHS: Mapping[str, Mapping[str, Any]] = {**PATHS, "capturable": {"capturable": True}}


def library(name: str) -> list[Implementation]:
    """The six classes on the host; where there is a GPU, those and torch's there."""
    host: list[Implementation] = [
        TorchLike(getattr(cuda, c), f"{MODULE}:{c}[host]", MODULE, c.lower(), {"device": "cpu"})
        for c in CLASSES
    ]
    if not torch.cuda.is_available():
        return host
    device = [OnDevice(getattr(cuda, c), f"{MODULE}:{c}[cuda]", MODULE, c.lower()) for c in CLASSES]
    return [*host, *device, *torch_on_device()]


def torch_on_device() -> list[TorchLike]:
    """The code paths of torch.optim that run on a GPU."""
    found: list[TorchLike] = []
    for c in CLASSES:
        subject = getattr(torch.optim, c)
        for path, options in TORCH_PATHS.items():
            one = OnDevice(
                subject,
                f"torch.optim:{c}[cuda, {path}]",
                "torch.optim",
                c.lower(),
                options,
                compiled=path == "compiled",
            )
            if all(map(one.accepts, options)):
                found.append(one)
    return found


@dataclass(frozen=True)
class OnDevice(TorchLike):
    """A class that is driven with tensors on the GPU."""

    def start(self, scenario: Scenario, spec: Spec) -> Session:
        return DeviceSession(self, scenario, spec)

    def repro(self, scenario: Scenario, spec: Spec) -> str:
        """The usual script, whose tensors are made on the GPU."""
        first, rest = super().repro(scenario, spec).split("import torch\n", 1)
        return f'{first}import torch\n\ntorch.set_default_device("cuda")\n{rest}'


class DeviceSession(TorchSession):
    """One optimizer whose parameters and gradients lie on the GPU, in the same strides."""

    def _tensor(
        self, values: Floats, p: Param, layout: str, guises: Mapping[str, Any] = TENSORS
    ) -> torch.Tensor:
        made = super()._tensor(values, p, layout, guises)
        if made.layout is not torch.strided or 0 in made.stride():
            return made.to("cuda")
        there = torch.empty_strided(made.shape, made.stride(), dtype=made.dtype, device="cuda")
        return there.copy_(made)
