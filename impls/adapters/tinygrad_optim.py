"""tinygrad.nn.optim, on the CPU device, for which tinygrad wants clang: on the PATH, or in ``CC``.

Read in tinygrad 0.14.0, ``nn/optim.py`` (``LARS._step``, ``LAMB._step``).  The learning rate, the
powers of Adam's betas and all states are float32 tensors whatever the dtype of the parameters.
Several groups are an ``OptimizerGroup``.  Every parameter must have a gradient.  Kernels are
compiled for every shape, which takes seconds.
"""

import os
import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np
import tinygrad
import tinygrad.nn.optim

from optconform.errors import RequestError
from optconform.implementation import Implementation
from optconform.impls.adapters.driven import Arrays, Driven, Entry, Floats, Keywords

DOCS = "https://docs.tinygrad.org/nn/"


class TinyDriver:
    """Steps of one optimizer, or of one for each group."""

    def __init__(
        self, make: Any, dtype: str, groups: Sequence[tuple[Keywords, Sequence[Floats]]]
    ) -> None:
        tinygrad.helpers.DEV.value = "CPU"
        self.make, self.dtype = make, getattr(tinygrad.dtypes, dtype)
        self.keywords = [keywords for keywords, _ in groups]
        self.params = [[self.array(x).is_param_() for x in some] for _, some in groups]
        self.build()

    def array(self, x: Any) -> Any:
        wide = tinygrad.Tensor(np.asarray(x, np.float64), dtype=tinygrad.dtypes.float64)
        return wide.cast(self.dtype).contiguous().realize()

    def build(self) -> None:
        self.parts = [
            self.make(list(some), **keywords)
            for some, keywords in zip(self.params, self.keywords, strict=True)
        ]
        self.optimizer = tinygrad.nn.optim.OptimizerGroup(*self.parts)

    def step(self, gradients: Arrays) -> None:
        for some, grads in zip(self.params, gradients, strict=True):
            for p, g in zip(some, grads, strict=True):
                p.grad = self.array(g)
        with tinygrad.helpers.Context(TRAINING=1):
            self.optimizer.step()

    def numbers(self, x: Any) -> Floats:
        return np.array(x.cast(tinygrad.dtypes.float64).numpy(), np.float64)

    def parameters(self) -> list[list[Floats]]:
        return [[self.numbers(p) for p in some] for some in self.params]

    def state(self) -> list[list[dict[str, Floats]]]:
        return [
            [
                {
                    name: self.numbers(getattr(part, name)[k])
                    for name in ("b", "m", "v")
                    if len(getattr(part, name, ())) > k
                }
                for k in range(len(some))
            ]
            for some, part in zip(self.params, self.parts, strict=True)
        ]

    def set(self, group: int, keywords: Keywords) -> None:
        self.keywords[group] = keywords
        part = self.parts[group]
        part.lr.assign(tinygrad.Tensor([keywords["lr"]], dtype=part.lr.dtype)).realize()
        for name, value in keywords.items():
            if name != "lr":
                setattr(part, "wd" if name == "weight_decay" else name, value)

    def reload(self) -> None:
        saved = [tinygrad.nn.state.get_state_dict(part) for part in self.parts]
        copies = [{k: x.clone().realize() for k, x in held.items()} for held in saved]
        self.build()
        for part, held in zip(self.parts, copies, strict=True):
            tinygrad.nn.state.load_state_dict(part, held, verbose=False)


LR = {"lr": "lr", "weight_decay": "weight_decay"}
SGD = {**LR, "momentum": "momentum", "nesterov": "nesterov"}
ADAM = {"lr": "lr", "beta1": "b1", "beta2": "b2", "eps": "eps"}
MOMENTS = {"m": "m", "v": "v"}


def _entry(name: str, keywords: Any, state: Any, **more: Any) -> Entry:
    plain = name.partition("[")[0]
    make = f"tinygrad.nn.optim.{plain}"
    return Entry(
        name, make, plain.lower(), keywords, state, f"{DOCS}#tinygrad.nn.optim.{plain}", **more
    )


ENTRIES = (
    _entry("SGD", SGD, {"b": "b"}),
    # "popular momentum or classic momentum" is all that the page says
    _entry(
        "SGD[classic]",
        SGD,
        {"b": "b"},
        variant={"momentum": "lr-in-buffer"},
        silent=("momentum",),
        options={"classic": True},
    ),
    _entry("Adam", ADAM, MOMENTS),
    _entry("AdamW", {**ADAM, "weight_decay": "weight_decay"}, MOMENTS),
)


def library(name: str) -> list[Implementation]:
    if shutil.which(os.environ.get("CC", "clang")) is None:
        raise RequestError("tinygrad's CPU device needs clang, on the PATH or named in CC")
    return [
        Driven(
            entry,
            "tinygrad.nn.optim",
            "tinygrad",
            TinyDriver,
            "import numpy as np\nimport tinygrad\nimport tinygrad.nn.optim",
            lacks=("add-group", "layouts", "none-gradient"),
            clock="optimizer",
            slow=True,
        )
        for entry in ENTRIES
    ]
