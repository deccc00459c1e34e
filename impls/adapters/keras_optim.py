"""keras 3, by each of the backends that are installed: ``keras.optimizers:Adam[jax]``.

Read in keras 3.15.1: ``src/optimizers/{sgd,adagrad,rmsprop,adadelta,adam}.py`` (``update_step``),
``src/optimizers/base_optimizer.py`` (``_apply_weight_decay``, the same for every optimizer), and
for torch ``src/backend/torch/optimizers/torch_*.py`` (``_parallel_update_step``).  There are no
groups.  A gradient may be None; the step counter is the optimizer's, so that a parameter whose
gradients come late starts in the middle of the bias correction.

keras reads its backend from the environment when it is imported: a backend is a world of its own.
"""

import importlib.util
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from optconform.errors import RequestError
from optconform.implementation import Implementation, Session, Unsupported
from optconform.impls.adapters.driven import Arrays, Driven, Entry, Floats, Keywords
from optconform.scenario import Scenario
from optconform.spec import Spec

BACKENDS = {"jax": "jax", "torch": "torch", "tensorflow": "tensorflow"}  # and their modules

DOCS = "https://keras.io/api/optimizers"


class KerasDriver:
    """Steps of one optimizer on keras variables."""

    def __init__(
        self, make: Any, dtype: str, groups: Sequence[tuple[Keywords, Sequence[Floats]]]
    ) -> None:
        import keras

        self.ops = keras.ops
        if keras.backend.backend() == "jax":
            import jax

            jax.config.update("jax_enable_x64", dtype == "float64")
        # the dtype of the learning rate; 16-bit parameters leave it as it is
        keras.config.set_floatx("float64" if dtype == "float64" else "float32")
        self.make, self.dtype = make, dtype
        ((keywords, params),) = groups
        self.variables = [
            keras.Variable(self.array(x), dtype=dtype, name=f"p{k}") for k, x in enumerate(params)
        ]
        self.optimizer = make(**keywords)
        self.optimizer.build(self.variables)

    def array(self, x: Any) -> Any:
        # by way of float32, which holds all 16-bit numbers
        wide = np.asarray(x, np.float64 if self.dtype == "float64" else np.float32)
        return self.ops.cast(self.ops.convert_to_tensor(wide), self.dtype)

    def numbers(self, x: Any) -> Floats:
        wide = "float64" if self.dtype == "float64" else "float32"
        found = self.ops.convert_to_numpy(self.ops.cast(self.ops.convert_to_tensor(x), wide))
        return np.array(found, np.float64)

    def step(self, gradients: Arrays) -> None:
        grads = [None if g is None else self.array(g) for g in gradients[0]]
        self.optimizer.apply(grads, self.variables)

    def parameters(self) -> list[list[Floats]]:
        return [[self.numbers(v) for v in self.variables]]

    def state(self) -> list[list[dict[str, Floats]]]:
        found: list[dict[str, Floats]] = [{} for _ in self.variables]
        for held in self.optimizer.variables:
            parameter, _, name = held.name.partition("_")  # as in p0_momentum
            if parameter[:1] == "p" and parameter[1:].isdigit():
                found[int(parameter[1:])][name] = self.numbers(held)
        return [found]

    def set(self, group: int, keywords: Keywords) -> None:
        for name, value in keywords.items():
            setattr(self.optimizer, name, value)

    def reload(self) -> None:
        saved: dict[str, Any] = {}
        self.optimizer.save_own_variables(saved)
        self.optimizer = self.make.from_config(self.optimizer.get_config())
        self.optimizer.build(self.variables)
        self.optimizer.load_own_variables(saved)


class Keras(Driven):
    """Sets the backend before keras is imported."""

    def start(self, scenario: Scenario, spec: Spec) -> Session:
        loaded = sys.modules.get("keras")
        if loaded is None:
            os.environ["KERAS_BACKEND"] = self.world
        elif loaded.backend.backend() != self.world:
            raise RequestError(f"keras runs on {loaded.backend.backend()} in this process")
        if self.world == "jax":
            from optconform.impls.adapters import jax_compiled

            jax_compiled.keep()
        return super().start(scenario, spec)


def _decay(keywords: Keywords) -> Keywords:
    """No decay is None, as by default; AdamW wants a number."""
    return {**keywords, "weight_decay": keywords["weight_decay"] or None}


def _interpolated(keywords: Keywords) -> Keywords:
    if keywords["beta_1"] == 0:
        raise Unsupported("it refuses beta_1 = 0")
    return _decay(keywords)


USUAL = {"lr": "learning_rate", "eps": "epsilon", "weight_decay": "weight_decay"}
ADAM = {**USUAL, "beta1": "beta_1", "beta2": "beta_2", "amsgrad": "amsgrad"}
LION = {"lr": "learning_rate", "beta1": "beta_1", "beta2": "beta_2"} | {
    "weight_decay": "weight_decay"
}
MOMENTS = {"m": "momentum", "v": "velocity", "v_max": "velocity_hat"}


def _entry(name: str, keywords: Any, state: Any, variant: Any, silent: Any) -> Entry:
    link = f"{DOCS}/{name.lower()}/"
    make = f"keras.optimizers.{name}"
    made = Entry(name, make, name.lower(), keywords, state, link, variant, silent)
    return made if name == "AdamW" else replace(made, adjust=_decay)


# Of weight_decay the pages say that it is applied, not how: to the parameter, times lr, before the
# step, in every optimizer.
ENTRIES = (
    _entry(
        "SGD",
        {"lr": "learning_rate", "momentum": "momentum", "nesterov": "nesterov"}
        | {"weight_decay": "weight_decay"},
        {"b": "-momentum"},
        {"momentum": "lr-in-buffer", "decay": "decoupled"},
        ("decay",),
    ),
    _entry(
        "Adagrad",
        {**USUAL, "initial_accumulator_value": "initial_accumulator_value"},
        {"s": "accumulator"},
        {"eps": "inside", "decay": "decoupled"},
        ("eps", "decay"),
    ),
    # The page: epsilon is "epsilon hat" of the Adam paper, which is added outside the root.
    _entry(
        "RMSprop",
        {**USUAL, "alpha": "rho", "momentum": "momentum", "centered": "centered"},
        {"v": "velocity", "b": "momentum", "g_avg": "average_gradient"},
        {"momentum": "lr-in-buffer", "decay": "decoupled"},
        ("momentum", "decay"),
    ),
    _entry(
        "Adadelta",
        {**USUAL, "rho": "rho"},
        {"v": "accumulated_grad", "a": "accumulated_delta_var"},
        {"decay": "decoupled"},
        ("eps", "decay"),
    ),
    _entry("Adam", ADAM, MOMENTS, {"eps": "hat", "decay": "decoupled"}, ("decay", "amsgrad_max")),
    _entry("AdamW", ADAM, MOMENTS, {"eps": "hat"}, ("amsgrad_max",)),
    _entry(
        "Adamax",
        {**USUAL, "beta1": "beta_1", "beta2": "beta_2"},
        {"m": "momentum", "u": "norm"},
        {"eps": "outside", "decay": "decoupled"},
        ("decay",),
    ),
    replace(
        _entry("Lion", LION, {"m": "momentum"}, {}, ("decay", "direction")), adjust=_interpolated
    ),
)


def library(name: str) -> list[Implementation]:
    return [
        Keras(
            replace(entry, name=f"{entry.name}[{backend}]"),
            "keras.optimizers",
            "keras",
            KerasDriver,
            f"import os\n\nos.environ['KERAS_BACKEND'] = {backend!r}\n\n"
            "import keras\nimport numpy as np",
            lacks=("groups", "layouts"),
            clock="optimizer",
            world=backend,
        )
        for entry in ENTRIES
        for backend, module in BACKENDS.items()
        if importlib.util.find_spec(module) is not None
    ]
