"""jax.example_libraries.optimizers: triples (init, update, get_params), all in one short file.

Read in jax 0.10.2, ``jax/example_libraries/optimizers.py``.  The docstrings give no equations, so
what is declared here is what the functions do.  ``update`` is told the step by its caller, counting
from 0; one triple has one setting for all parameters.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.example_libraries import optimizers

from optconform.implementation import Implementation
from optconform.impls.adapters import jax_compiled
from optconform.impls.adapters.driven import Arrays, Driven, Entry, Floats, Keywords

DOCS = "https://docs.jax.dev/en/latest/jax.example_libraries.optimizers.html"


class TripleDriver:
    """Steps of one triple; its state is the parameter and, behind it, the rest in order."""

    def __init__(
        self, make: Any, dtype: str, groups: Sequence[tuple[Keywords, Sequence[Floats]]]
    ) -> None:
        jax.config.update("jax_enable_x64", dtype == "float64")
        self.make, self.dtype, self.count = make, jnp.dtype(dtype), 0
        ((keywords, params),) = groups
        self.triple = make(**keywords)
        self.held = self.triple.init_fn([self.array(x) for x in params])

    def array(self, x: Any) -> Any:
        return jnp.asarray(np.asarray(x).astype(self.dtype))

    def step(self, gradients: Arrays) -> None:
        grads = [self.array(g) for g in gradients[0]]
        self.held = self.triple.update_fn(self.count, grads, self.held)
        self.count += 1

    def parameters(self) -> list[list[Floats]]:
        return [[np.asarray(x).astype(np.float64) for x in self.triple.params_fn(self.held)]]

    def state(self) -> list[list[dict[str, Floats]]]:
        joints = optimizers.unpack_optimizer_state(self.held)
        leaves = [jax.tree.leaves(joint.subtree)[1:] for joint in joints]
        return [
            [
                {f"state{k}": np.asarray(x).astype(np.float64) for k, x in enumerate(some, 1)}
                for some in leaves
            ]
        ]

    def set(self, group: int, keywords: Keywords) -> None:
        self.triple = self.make(**keywords)

    def reload(self) -> None:
        joints = optimizers.unpack_optimizer_state(self.held)
        saved = [jax.tree.map(np.array, joint.subtree) for joint in joints]
        loaded = [optimizers.JoinPoint(jax.tree.map(jnp.asarray, some)) for some in saved]
        self.held = optimizers.pack_optimizer_state(loaded)


RMSPROP = {"lr": "step_size", "alpha": "gamma", "eps": "eps"}


def _entry(name: str, spec: str, keywords: Any, state: Any, **more: Any) -> Entry:
    make = f"jax.example_libraries.optimizers.{name}"
    return Entry(name, make, spec, keywords, state, f"{DOCS}#{name}", silent=("all",), **more)


ENTRIES = (
    _entry("sgd", "sgd", {"lr": "step_size"}, {}),
    _entry("momentum", "sgd", {"lr": "step_size", "momentum": "mass"}, {"b": "state1"}),
    _entry(
        "nesterov",
        "sgd",
        {"lr": "step_size", "momentum": "mass"},
        {"b": "state1"},
        fixed={"nesterov": True},
    ),
    # its momentum, a moving average of the scaled gradients, is in no spec
    _entry(
        "adagrad",
        "adagrad",
        {"lr": "step_size"},
        {"s": "state1"},
        variant={"eps": "none"},
        options={"momentum": 0.0},
    ),
    _entry("rmsprop", "rmsprop", RMSPROP, {"v": "state1"}, variant={"eps": "inside"}),
    _entry(
        "rmsprop_momentum",
        "rmsprop",
        {**RMSPROP, "momentum": "momentum"},
        {"v": "state1", "b": "state2"},
        variant={"eps": "inside", "momentum": "lr-in-buffer"},
    ),
    _entry(
        "adam",
        "adam",
        {"lr": "step_size", "beta1": "b1", "beta2": "b2", "eps": "eps"},
        {"m": "state1", "v": "state2"},
    ),
    _entry(
        "adamax",
        "adamax",
        {"lr": "step_size", "beta1": "b1", "beta2": "b2", "eps": "eps"},
        {"m": "state1", "u": "state2"},
        variant={"eps": "outside"},
    ),
)


def library(name: str) -> list[Implementation]:
    jax_compiled.keep()
    return [
        Driven(
            entry,
            "jax.example_libraries.optimizers",
            "jax",
            TripleDriver,
            "import jax\nimport jax.numpy as jnp\nimport numpy as np\n"
            "from jax.example_libraries import optimizers",
            lacks=("groups", "none-gradient", "layouts"),
        )
        for entry in ENTRIES
    ]
