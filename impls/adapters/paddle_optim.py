"""paddle.optimizer, on the CPU, run eagerly.

Read in paddlepaddle 3.3.1: ``optimizer/{sgd,momentum,adagrad,rmsprop,adadelta,adam,adamw}.py``; the
equations are in C++, ``paddle/phi/kernels``.  Parameter groups scale the learning rate, a meaning
of their own, and are left out.  Only the learning rate may change (``set_lr``).  State is loaded by
names that count up within a process, so that a second optimizer refuses what the first one saved.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import paddle

from optconform.implementation import Implementation
from optconform.impls.adapters.driven import Arrays, Driven, Entry, Floats, Keywords

DOCS = "https://www.paddlepaddle.org.cn/documentation/docs/en/api/paddle/optimizer"


class PaddleDriver:
    """Steps of one optimizer."""

    def __init__(
        self, make: Any, dtype: str, groups: Sequence[tuple[Keywords, Sequence[Floats]]]
    ) -> None:
        paddle.set_device("cpu")
        self.make, self.dtype = make, dtype
        ((self.keywords, params),) = groups
        self.params = []
        for x in params:
            value = paddle.nn.initializer.Assign(np.asarray(x))
            p = paddle.create_parameter(list(np.shape(x)), dtype, default_initializer=value)
            self.params.append(p)
        self.optimizer = make(parameters=self.params, **self.keywords)

    def step(self, gradients: Arrays) -> None:
        for p, g in zip(self.params, gradients[0], strict=True):
            p.grad = None if g is None else paddle.to_tensor(g, "float64").astype(self.dtype)
        self.optimizer.step()

    def numbers(self, x: Any) -> Floats:
        return np.array(x.astype("float64").numpy(), np.float64)

    def parameters(self) -> list[list[Floats]]:
        return [[self.numbers(p) for p in self.params]]

    def state(self) -> list[list[dict[str, Floats]]]:
        held = self.optimizer.state_dict()  # names like create_parameter_1.w_0_moment1_0
        return [
            [
                {
                    name.removeprefix(p.name + "_").removesuffix("_0"): self.numbers(x)
                    for name, x in held.items()
                    if name.startswith(p.name + "_") and x.shape == p.shape
                }
                for p in self.params
            ]
        ]

    def set(self, group: int, keywords: Keywords) -> None:
        self.keywords = keywords
        self.optimizer.set_lr(keywords["learning_rate"])

    def reload(self) -> None:
        raise NotImplementedError("a second optimizer of a process refuses the first one's state")


LR = {"lr": "learning_rate", "weight_decay": "weight_decay"}
EPS = {**LR, "eps": "epsilon"}
ADAM = {**EPS, "beta1": "beta1", "beta2": "beta2", "amsgrad": "amsgrad"}
MOMENTS = {"m": "moment1", "v": "moment2", "v_max": "moment2_max"}
RMSPROP = {**EPS, "alpha": "rho", "momentum": "momentum", "centered": "centered"}

ENTRIES: Sequence[Any] = (
    ("SGD", "sgd", LR, {}, {}),
    (
        "Momentum",
        "sgd",
        {**LR, "momentum": "momentum", "nesterov": "use_nesterov"},
        {"b": "velocity"},
        {},
    ),
    (
        "Adagrad",
        "adagrad",
        {**EPS, "initial_accumulator_value": "initial_accumulator_value"},
        {"s": "moment"},
        {},
    ),
    (
        "RMSProp",
        "rmsprop",
        RMSPROP,
        {"v": "mean_square", "b": "momentum", "g_avg": "mean_grad"},
        {"eps": "inside", "momentum": "lr-in-buffer"},
    ),
    (
        "Adadelta",
        "adadelta",
        {**EPS, "rho": "rho"},
        {"v": "_avg_squared_grad", "a": "_avg_squared_update"},
        {},
    ),
    # the equations on the page divide lr by the bias corrections, and leave eps undivided
    ("Adam", "adam", ADAM, MOMENTS, {"eps": "hat"}),
    ("AdamW", "adamw", ADAM, MOMENTS, {"eps": "hat"}),
    (
        "Adamax",
        "adamax",
        {**EPS, "beta1": "beta1", "beta2": "beta2"},
        {"m": "moment", "u": "inf_norm"},
        {"eps": "decayed"},
    ),
)


def library(name: str) -> list[Implementation]:
    return [
        Driven(
            Entry(
                plain,
                f"paddle.optimizer.{plain}",
                spec,
                keywords,
                state,
                f"{DOCS}/{plain}_en.html",
                variant,
            ),
            "paddle.optimizer",
            "paddlepaddle",
            PaddleDriver,
            "import numpy as np\nimport paddle",
            lacks=("groups", "layouts", "reload"),
            changes=("lr",),
        )
        for plain, spec, keywords, state, variant in ENTRIES
    ]
