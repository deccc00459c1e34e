"""mlx.optimizers, on the CPU.

Read in mlx 0.32.4, ``mlx/optimizers/optimizers.py`` (``apply_single`` of each class).  The
learning rate is held in a float32 array whatever the dtype of the parameters.  Several groups are
a ``MultiOptimizer``; parameters without a gradient are left out of the tree, and the step counter
goes on without them.
"""

from collections.abc import Sequence
from typing import Any

import mlx.core as mx
import mlx.optimizers
import numpy as np
from mlx.utils import tree_map

from optconform.implementation import Implementation, Unsupported
from optconform.impls.adapters.driven import Arrays, Driven, Entry, Floats, Keywords

DOCS = "https://ml-explore.github.io/mlx/build/html/python/optimizers/_autosummary"


class MlxDriver:
    """Steps of one optimizer, or of one for each group; ``g0p1`` is a parameter's name."""

    def __init__(
        self, make: Any, dtype: str, groups: Sequence[tuple[Keywords, Sequence[Floats]]]
    ) -> None:
        mx.set_default_device(mx.cpu)
        self.make, self.dtype = make, getattr(mx, dtype)
        self.keywords = [keywords for keywords, _ in groups]
        self.sizes = [len(params) for _, params in groups]
        self.params = {
            f"g{g}p{k}": self.array(x)
            for g, (_, params) in enumerate(groups)
            for k, x in enumerate(params)
        }
        self.build()
        self.optimizer.init(self.params)

    def array(self, x: Any) -> Any:
        return mx.array(np.asarray(x), mx.float64).astype(self.dtype)

    def build(self) -> None:
        self.parts = [self.make(**keywords) for keywords in self.keywords]
        firsts = [
            lambda name, _, g=g: name.startswith(f"g{g}p") for g in range(len(self.parts) - 1)
        ]
        self.optimizer = (
            mlx.optimizers.MultiOptimizer(self.parts, firsts) if firsts else self.parts[0]
        )

    def step(self, gradients: Arrays) -> None:
        grads = {
            f"g{g}p{k}": self.array(x)
            for g, some in enumerate(gradients)
            for k, x in enumerate(some)
            if x is not None
        }
        self.params.update(self.optimizer.apply_gradients(grads, self.params))
        mx.eval(self.params, self.optimizer.state)

    def numbers(self, x: Any) -> Floats:
        return np.array(x.astype(mx.float64), np.float64)

    def parameters(self) -> list[list[Floats]]:
        return [
            [self.numbers(self.params[f"g{g}p{k}"]) for k in range(n)]
            for g, n in enumerate(self.sizes)
        ]

    def state(self) -> list[list[dict[str, Floats]]]:
        return [
            [
                {name: self.numbers(x) for name, x in part.state[f"g{g}p{k}"].items()}
                for k in range(n)
            ]
            for g, (n, part) in enumerate(zip(self.sizes, self.parts, strict=True))
        ]

    def set(self, group: int, keywords: Keywords) -> None:
        self.keywords[group] = keywords
        for name, value in keywords.items():
            setattr(self.parts[group], name, value)

    def reload(self) -> None:
        saved = tree_map(lambda x: mx.array(x), self.optimizer.state)
        self.build()
        self.optimizer.state = saved


def _betas(keywords: Keywords) -> Keywords:
    rest = {n: v for n, v in keywords.items() if n not in ("b1", "b2")}
    return {**rest, "betas": [keywords["b1"], keywords["b2"]]}


def _positive(keywords: Keywords) -> Keywords:
    if keywords["eps"] <= 0:
        raise Unsupported("it refuses eps = 0")
    return keywords


LR = {"lr": "learning_rate", "eps": "eps"}
ADAM = {**LR, "beta1": "b1", "beta2": "b2"}
ADAMW = {**ADAM, "weight_decay": "weight_decay"}
LION = {"lr": "learning_rate", "beta1": "b1", "beta2": "b2", "weight_decay": "weight_decay"}
MOMENTS = {"m": "m", "v": "v"}
NONE = {"bias_correction": "none"}
CORRECTED = {"bias_correction": True}


def _entry(name: str, spec: str, keywords: Any, state: Any, **more: Any) -> Entry:
    plain = name.partition("[")[0]
    link = f"{DOCS}/mlx.optimizers.{plain}.html"
    return Entry(name, f"mlx.optimizers.{plain}", spec, keywords, state, link, **more)


ENTRIES = (
    _entry(
        "SGD",
        "sgd",
        {
            "lr": "learning_rate",
            "momentum": "momentum",
            "weight_decay": "weight_decay",
            "dampening": "dampening",
            "nesterov": "nesterov",
        },
        {"b": "v"},
        variant={"first_buffer": "dampened"},
    ),
    _entry("RMSprop", "rmsprop", {**LR, "alpha": "alpha"}, {"v": "v"}, adjust=_positive),
    _entry("Adagrad", "adagrad", LR, {"s": "v"}, adjust=_positive),
    _entry("AdaDelta", "adadelta", {**LR, "rho": "rho"}, {"v": "v", "a": "u"}, adjust=_positive),
    # no bias correction unless it is asked for
    _entry("Adam", "adam", ADAM, MOMENTS, variant=NONE, adjust=_betas),
    _entry("Adam[bias-correction]", "adam", ADAM, MOMENTS, options=CORRECTED, adjust=_betas),
    _entry("AdamW", "adamw", ADAMW, MOMENTS, variant=NONE, adjust=_betas),
    _entry("AdamW[bias-correction]", "adamw", ADAMW, MOMENTS, options=CORRECTED, adjust=_betas),
    _entry(
        "Adamax",
        "adamax",
        ADAM,
        {"m": "m", "u": "v"},
        variant={"eps": "outside", **NONE},
        adjust=_betas,
    ),
    _entry("Lion", "lion", LION, {"m": "m"}, adjust=_betas),
)


def library(name: str) -> list[Implementation]:
    return [
        Driven(
            entry,
            "mlx.optimizers",
            "mlx",
            MlxDriver,
            "import mlx.core as mx\nimport mlx.optimizers\nimport numpy as np\n"
            "from mlx.utils import tree_map",
            lacks=("add-group", "layouts"),
            clock="optimizer",
        )
        for entry in ENTRIES
    ]
