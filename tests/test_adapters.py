"""The adapters of libraries that are not like torch: each test skips where its library is missing.

What is expected of each is what its source says; the adapters cite the file and the function.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optconform.errors import RequestError
from optconform.implementation import LIBRARIES, Implementation, Unsupported, lacks, resolve
from optconform.lockstep import Trace, failing, judge, run
from optconform.oracle.scalars import PROFILES
from optconform.scenario import Group, Param, Recipe, Reload, Scenario, SetHyper, Step
from optconform.spec import Value
from optconform.spec_file import load
from optconform.without import without
from optconform.worker import ask

os.environ["KERAS_BACKEND"] = "torch"  # whoever imports keras first: tensorflow does, too

EXTRAS = [name for name, library in LIBRARIES.items() if library.extra]

VARIANTS = {
    "optax:adamw": {},
    "optax:rmsprop": {"eps": "inside", "momentum": "lr-in-buffer"},
    "jax.example_libraries.optimizers:rmsprop_momentum": {
        "eps": "inside",
        "momentum": "lr-in-buffer",
    },
    "keras.optimizers:Adam[torch]": {"eps": "hat", "decay": "decoupled"},
    # its page says epsilon hat, which is outside
    "keras.optimizers:RMSprop[torch]": {
        "decay": "decoupled",
        "eps": "inside",
        "momentum": "lr-in-buffer",
    },
    "mlx.optimizers:Adam": {"bias_correction": "none"},
    # its page has eps hat
    "paddle.optimizer:Adam": {},
    "tensorflow.compat.v1.train:AdamOptimizer": {"eps": "hat"},
    "mlx.optimizers:SGD": {"first_buffer": "dampened"},
}

ONE = (
    "optax:adamw",
    "jax.example_libraries.optimizers:momentum",
    "keras.optimizers:Adagrad[torch]",
    "mlx.optimizers:SGD",
    "tensorflow.compat.v1.train:MomentumOptimizer",
)


def needs(name: str) -> None:
    """Skip where a library, or the one of a target, is not installed."""
    for key, library in LIBRARIES.items():
        if name.partition(":")[0] in (key, library.where):
            for module in library.needs:
                if importlib.util.find_spec(module) is None:
                    pytest.skip(f"{module} is not installed; pip install -e '.[{library.extra}]'")


def here(name: str) -> list[Implementation]:
    """The implementations that this process can run: keras has one backend in each."""
    return [i for i in resolve(name, None) if getattr(i, "world", "") in ("", "torch")]


def scenario(implementation: Implementation, dtype: str = "float32") -> Scenario:
    """Two parameters, a changed lr and a reload if it has one, every hyperparameter at work."""
    spec = load(implementation.spec)
    lively: dict[str, Value] = {"lr": 0.1, "momentum": 0.9, "centered": True, "weight_decay": 0.1}
    lively |= {"eps": 1e-2, "amsgrad": True, "initial_accumulator_value": 0.5}
    chosen = {n: v for n, v in lively.items() if n in spec.hypers}
    hyper = {**spec.defaults, **chosen, **implementation.fixed(spec)}
    params = tuple(
        Param(shape, Recipe("normal", k), Recipe("normal", k)) for k, shape in enumerate([(9,), ()])
    )
    events = (Step(), Step(), SetHyper(0, {"lr": 0.05}), Step(), Reload(), Step())
    made = Scenario(spec.name, dtype, (Group(hyper, params),), events)
    return without(made, lacks(implementation))


def follows(trace: Trace, implementation: Implementation, variant: Mapping[str, str]) -> bool:
    spec = load(implementation.spec)
    return any(
        not failing(judge(trace, spec, variant, profile=p))
        for p in PROFILES
        if p.harmless(trace.scenario.dtype) and p.rounding == "nearest"
    )


@pytest.mark.parametrize("target", VARIANTS)
def test_the_variant_is_found(target: str) -> None:
    needs(target)
    (which, found), *_ = [(k, i) for k, i in enumerate(resolve(target, None)) if i.name == target]
    settings: dict[str, Any] = {"examples": 12, "steps": 6, "seed": 0, "hyper": {}}
    request = {
        "do": "identify", "target": target, "spec_option": None, "which": which,
        "spec": found.spec, "settings": settings,
    }  # fmt: skip
    answer = ask(request, 300)["answer"]
    assert VARIANTS[target] in [answer["variant"], *answer["aliases"]]


@pytest.mark.parametrize("library", EXTRAS)
def test_the_state_that_is_shown_is_what_the_spec_means(library: str) -> None:
    needs(library)
    for implementation in here(library):
        variant = dict(implementation.variant)
        if implementation.name.startswith("keras.optimizers:RMSprop"):
            variant["eps"] = "inside"  # the page is wrong
        if implementation.library == "paddlepaddle":
            variant = {a: v for a, v in variant.items() if v != "hat"}  # and so are these
        trace = run(implementation, scenario(implementation), load(implementation.spec))
        assert trace.crash is None, implementation.name
        assert follows(trace, implementation, variant), implementation.name
        assert trace.visible, implementation.name
        assert not trace.broken, implementation.name


@pytest.mark.parametrize("target", ONE)
def test_a_script_shows_what_was_seen(target: str, tmp_path: Path) -> None:
    needs(target)
    implementation = next(i for i in here(target) if i.name == target)
    for dtype in ("float32", "bfloat16"):
        s = scenario(implementation, dtype)
        text = implementation.repro(s, load(implementation.spec))
        assert "optconform" not in text
        script = tmp_path / "repro.py"
        script.write_text(text)
        done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        trace = run(implementation, s, load(implementation.spec))
        for k in range(2):
            lines = [x for x in done.stdout.splitlines() if x.startswith(f"  p{k} param:")]
            printed = [eval(x.partition(": ")[2], {"nan": np.nan, "inf": np.inf}) for x in lines]
            seen = [row.observed["p"].tolist() for row in trace.rows[0, k]]
            assert printed == seen


@pytest.mark.parametrize("library", EXTRAS)
def test_what_it_lacks_is_unsupported(library: str) -> None:
    needs(library)
    implementation = here(library)[0]
    spec = load(implementation.spec)
    s = scenario(implementation)
    missing = lacks(implementation)
    pair = Scenario(s.spec, s.dtype, s.groups * 2, (Step(), Step(((0, 0), (1, 0)))))
    if {"groups", "none-gradient"} & missing:
        with pytest.raises(Unsupported):
            run(implementation, pair, spec)
    assert run(implementation, without(pair, missing), spec).crash is None


@pytest.mark.parametrize("library", EXTRAS)
def test_a_missing_library_is_told_in_one_sentence(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    missing = LIBRARIES[library].needs[0]
    with pytest.raises(RequestError) as told:
        resolve(library, None)
    assert str(told.value) == f"{missing} is not installed; pip install 'optconform[{library}]'"


def test_every_library_has_its_extra() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    assert {library.extra for library in LIBRARIES.values() if library.extra} <= set(extras)


@pytest.mark.parametrize("library", EXTRAS)
def test_a_name_that_no_spec_describes_is_refused(library: str) -> None:
    needs(library)
    with pytest.raises(RequestError, match="has no 'lion' that a spec describes; it has"):
        resolve(f"{LIBRARIES[library].where}:lion", None)
