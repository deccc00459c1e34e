"""optax: gradient transformations over trees of arrays.

Read in optax 0.2.8: ``_src/alias.py`` (what is chained), ``_src/transform.py``
(``scale_by_adam``, ``scale_by_amsgrad``, ``scale_by_rms``, ``scale_by_stddev``, ``scale_by_rss``,
``scale_by_adadelta``), ``transforms/_accumulation.py`` (``trace``),
``tree_utils/_tree_math.py`` (``tree_bias_correction``).
Several groups are ``optax.multi_transform``; a changed hyperparameter is another transformation
that goes on with the same state.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from optconform.implementation import Implementation
from optconform.impls.adapters import jax_compiled
from optconform.impls.adapters.driven import Arrays, Driven, Entry, Floats, Keywords

DOCS = "https://optax.readthedocs.io/en/latest/api/optimizers.html"


class OptaxDriver:
    """Steps of one transformation, or of one for each group."""

    def __init__(
        self, make: Any, dtype: str, groups: Sequence[tuple[Keywords, Sequence[Floats]]]
    ) -> None:
        jax.config.update("jax_enable_x64", dtype == "float64")
        self.make, self.dtype = make, jnp.dtype(dtype)
        self.keywords = [keywords for keywords, _ in groups]
        self.params: Any = [[self.array(x) for x in some] for _, some in groups]
        self.transform = self.build()
        self.held: Any = self.transform.init(self.params)

    def array(self, x: Any) -> Any:
        return jnp.asarray(np.asarray(x).astype(self.dtype))

    def build(self) -> Any:
        made = [self.make(**keywords) for keywords in self.keywords]
        if len(made) == 1:
            return made[0]
        labels = [[str(g)] * len(some) for g, some in enumerate(self.params)]
        return optax.multi_transform({str(g): t for g, t in enumerate(made)}, labels)

    def step(self, gradients: Arrays) -> None:
        grads = [[self.array(g) for g in some] for some in gradients]
        updates, self.held = self.transform.update(grads, self.held, self.params)
        self.params = optax.apply_updates(self.params, updates)

    def parameters(self) -> list[list[Floats]]:
        return [[np.asarray(x).astype(np.float64) for x in some] for some in self.params]

    def state(self) -> list[list[dict[str, Floats]]]:
        found: Any = [[{} for _ in some] for some in self.params]
        for path, x in jax.tree_util.tree_leaves_with_path(self.held):
            if hasattr(path[-1], "idx"):  # a leaf of a tree like that of the parameters
                name, g, k = path[-3].name, path[-2].idx, path[-1].idx
                found[g][k][name] = np.asarray(x).astype(np.float64)
        return found  # type: ignore[no-any-return]

    def set(self, group: int, keywords: Keywords) -> None:
        self.keywords[group] = keywords
        self.transform = self.build()

    def reload(self) -> None:
        saved = [np.array(x) for x in jax.tree.leaves(self.held)]
        self.transform = self.build()
        shape = jax.tree.structure(self.transform.init(self.params))
        self.held = jax.tree.unflatten(shape, [jnp.asarray(x) for x in saved])


def _momentum(keywords: Keywords) -> Keywords:
    """No momentum is None: "then momentum is not used at all"."""
    return {**keywords, "momentum": keywords["momentum"] or None}


ADAM = {"lr": "learning_rate", "beta1": "b1", "beta2": "b2", "eps": "eps"}
ADAM_ROOT = {**ADAM, "eps": "eps_root"}
LION = {"lr": "learning_rate", "beta1": "b1", "beta2": "b2"}
MOMENTS = {"m": "mu", "v": "nu"}
INFINITE = {"m": "mu", "u": "nu"}
RMSPROP = {
    "lr": "learning_rate", "alpha": "decay", "eps": "eps", "momentum": "momentum",
    "centered": "centered",
}  # fmt: skip
# the trace follows the learning rate in the chain, and its sign
RMSPROP_STATE = {"v": "nu", "g_avg": "mu", "b": "-trace"}


def _entry(name: str, spec: str, keywords: Any, state: Any, **more: Any) -> Entry:
    plain = name.partition("[")[0]
    return Entry(name, f"optax.{plain}", spec, keywords, state, f"{DOCS}#optax.{plain}", **more)


ENTRIES = (
    _entry(
        "sgd",
        "sgd",
        {"lr": "learning_rate", "momentum": "momentum", "nesterov": "nesterov"},
        {"b": "trace"},
        adjust=_momentum,
    ),
    _entry(
        "adagrad",
        "adagrad",
        {
            "lr": "learning_rate",
            "initial_accumulator_value": "initial_accumulator_value",
            "eps": "eps",
        },
        {"s": "sum_of_squares"},
        variant={"eps": "inside"},
    ),
    _entry(
        "rmsprop",
        "rmsprop",
        RMSPROP,
        RMSPROP_STATE,
        # the page warns that eps is inside; of lr and the trace it does not speak
        variant={"eps": "inside", "momentum": "lr-in-buffer"},
        silent=("momentum",),
        adjust=_momentum,
    ),
    _entry(
        "rmsprop[eps-outside]",
        "rmsprop",
        RMSPROP,
        RMSPROP_STATE,
        variant={"momentum": "lr-in-buffer"},
        silent=("momentum",),
        options={"eps_in_sqrt": False},
        adjust=_momentum,
    ),
    _entry(
        "rmsprop[bias-correction]",
        "rmsprop",
        RMSPROP,
        RMSPROP_STATE,
        variant={"eps": "inside", "momentum": "lr-in-buffer", "bias_correction": "second-only"},
        silent=("momentum",),
        options={"bias_correction": True},
        adjust=_momentum,
    ),
    _entry(
        "adadelta",
        "adadelta",
        {"lr": "learning_rate", "rho": "rho", "eps": "eps", "weight_decay": "weight_decay"},
        {"v": "e_g", "a": "e_x"},
        silent=("decay",),
    ),
    _entry("adam", "adam", ADAM, MOMENTS),
    _entry(
        "adam[eps-root]",
        "adam",
        ADAM_ROOT,
        MOMENTS,
        variant={"eps": "inside"},
        options={"eps": 0.0},
    ),
    _entry(
        "amsgrad",
        "adam",
        ADAM,
        {**MOMENTS, "v_max": "nu_max"},
        variant={"amsgrad_max": "corrected"},
        fixed={"amsgrad": True},
        silent=("amsgrad_max",),
    ),
    _entry("adamw", "adamw", {**ADAM, "weight_decay": "weight_decay"}, MOMENTS),
    _entry("adamax", "adamax", ADAM, INFINITE),
    _entry(
        "adamaxw",
        "adamax",
        {**ADAM, "weight_decay": "weight_decay"},
        INFINITE,
        variant={"decay": "decoupled"},
    ),
    _entry("lion", "lion", {**LION, "weight_decay": "weight_decay"}, {"m": "mu"}),
)


def library(name: str) -> list[Implementation]:
    jax_compiled.keep()
    return [
        Driven(
            entry,
            "optax",
            "optax",
            OptaxDriver,
            "import jax\nimport jax.numpy as jnp\nimport numpy as np\nimport optax",
            lacks=("add-group", "none-gradient", "layouts"),
        )
        for entry in ENTRIES
    ]
