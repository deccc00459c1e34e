"""tf.compat.v1.train: the optimizers of TensorFlow 1, run eagerly (tf.keras is keras: see there).

Read in tensorflow 2.21: ``python/training/{momentum,adagrad,adadelta,rmsprop,adam}.py`` (the slots
and ``_prepare``, where learning rate and the like become float32 tensors whatever the dtype of the
variables, as the powers of Adam's betas are float32 variables); the equations are in C++,
``core/kernels/training_ops.cc``.  There are no groups.  Variables without a gradient are left out;
the powers of Adam's betas go on without them.  What a checkpoint restores of an optimizer appears
with its first step, too late to be seen here.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from optconform.implementation import Implementation, Unsupported
from optconform.impls.adapters.driven import Arrays, Driven, Entry, Floats, Keywords

DOCS = "https://www.tensorflow.org/api_docs/python/tf/compat/v1/train"


class TrainDriver:
    """Steps of one optimizer, its hyperparameters given as functions where they may change."""

    def __init__(
        self, make: Any, dtype: str, groups: Sequence[tuple[Keywords, Sequence[Floats]]]
    ) -> None:
        self.make, self.dtype = make, tf.as_dtype(dtype)
        ((self.keywords, params),) = groups
        self.variables = [tf.Variable(self.array(x), name=f"p{k}") for k, x in enumerate(params)]
        self.build()

    def array(self, x: Any) -> Any:
        return tf.cast(tf.constant(np.asarray(x), tf.float64), self.dtype)

    def build(self) -> None:
        settled = ("initial_accumulator_value", "centered", "use_nesterov")
        self.optimizer = self.make(
            **{
                name: value if name in settled else lambda name=name: self.keywords[name]
                for name, value in self.keywords.items()
            }
        )

    def step(self, gradients: Arrays) -> None:
        grads = [None if g is None else self.array(g) for g in gradients[0]]
        self.optimizer.apply_gradients(zip(grads, self.variables, strict=True))

    def numbers(self, x: Any) -> Floats:
        return np.array(tf.cast(x, tf.float64).numpy(), np.float64)

    def parameters(self) -> list[list[Floats]]:
        return [[self.numbers(v) for v in self.variables]]

    def state(self) -> list[list[dict[str, Floats]]]:
        slots = {
            name: [self.optimizer.get_slot(v, name) for v in self.variables]
            for name in self.optimizer.get_slot_names()
        }
        return [
            [
                {name: self.numbers(held[k]) for name, held in slots.items() if held[k] is not None}
                for k in range(len(self.variables))
            ]
        ]

    def set(self, group: int, keywords: Keywords) -> None:
        self.keywords = keywords

    def reload(self) -> None:
        raise NotImplementedError("a restored optimizer has no slots before it takes a step")


def _positive(keywords: Keywords) -> Keywords:
    if keywords["initial_accumulator_value"] <= 0:
        raise Unsupported("it refuses initial_accumulator_value = 0")
    return keywords


LR = {"lr": "learning_rate"}

ENTRIES: Sequence[Any] = (
    ("GradientDescentOptimizer", "sgd", LR, {}, {}, {}),
    (
        "MomentumOptimizer",
        "sgd",
        {**LR, "momentum": "momentum", "nesterov": "use_nesterov"},
        {"b": "momentum"},
        {},
        {},
    ),
    (
        "AdagradOptimizer",
        "adagrad",
        {**LR, "initial_accumulator_value": "initial_accumulator_value"},
        {"s": "accumulator"},
        {"eps": "none"},
        {"adjust": _positive},
    ),
    (
        "AdadeltaOptimizer",
        "adadelta",
        {**LR, "rho": "rho", "eps": "epsilon"},
        {"v": "accum", "a": "accum_update"},
        {},
        {},
    ),
    # neither the one in the mean square nor the places of eps and lr are documented
    (
        "RMSPropOptimizer",
        "rmsprop",
        {**LR, "alpha": "decay", "momentum": "momentum", "eps": "epsilon", "centered": "centered"},
        {"v": "rms", "b": "momentum", "g_avg": "mg"},
        {"momentum": "lr-in-buffer", "eps": "inside", "accumulator_init": "one"},
        {"silent": ("momentum", "eps", "accumulator_init")},
    ),
    (
        "AdamOptimizer",
        "adam",
        {**LR, "beta1": "beta1", "beta2": "beta2", "eps": "epsilon"},
        {"m": "m", "v": "v"},
        {"eps": "hat"},
        {},
    ),
)


def library(name: str) -> list[Implementation]:
    return [
        Driven(
            Entry(
                plain,
                f"tensorflow.compat.v1.train.{plain}",
                spec,
                keywords,
                state,
                f"{DOCS}/{plain}",
                variant,
                **more,
            ),
            "tensorflow.compat.v1.train",
            "tensorflow-cpu",
            TrainDriver,
            "import numpy as np\nimport tensorflow\nimport tensorflow as tf",
            lacks=("groups", "layouts", "reload"),
            clock="optimizer",
        )
        for plain, spec, keywords, state, variant, more in ENTRIES
    ]
