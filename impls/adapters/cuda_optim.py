"""optconform.impls.cuda: the build for the host, and the one for CUDA where there is a device."""

from optconform.implementation import Implementation
from optconform.impls import cuda
from optconform.impls.adapters.torch_optim import CLASSES, TorchLike

MODULE = "optconform.impls.cuda"


def library(name: str) -> list[Implementation]:
    """The six classes on the host."""
    return [
        TorchLike(getattr(cuda, c), f"{MODULE}:{c}[host]", MODULE, c.lower(), {"device": "cpu"})
        for c in CLASSES
    ]
