"""The adapters of libraries beside torch: each test skips where its library is missing.

What is expected of each is what its source says; the adapters cite the file and the function.
"""

from __future__ import annotations

import functools
import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tomllib
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from optconform.errors import RequestError
from optconform.implementation import LIBRARIES, Implementation, resolve, targets
from optconform.impls.adapters.torch_optim import TorchLike
from optconform.options import renamed
from optconform.signature import own_names
from optconform.spec import Value
from optconform.spec_file import load
from optconform.worker import ask, list_target

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
    "pytorch_optimizer:AdaDelta[fixed-decay]": {"decay": "decoupled-no-lr"},
    "torch_optimizer:Lamb[adam]": {"bias_correction": "none"},
    "optimi:SGD[dampening]": {"momentum": "ema", "first_buffer": "dampened"},
    "optimi:AdamW[decouple-lr]": {"decay": "decoupled-relative-lr"},
    "bitsandbytes.optim:Adagrad": {},
    "heavyball:AdamW": {"eps": "clamp"},
}

WRITES = {
    library: {"gradient-untouched"} for library in ("pytorch_optimizer", "optimi", "heavyball")
}
"""Libraries whose steps change, or take away, the gradients."""


def hidden(name: str) -> bool:
    """Whether an optimizer keeps something other than the spec's state: corrected averages."""
    return name.startswith(("optimi:Adam", "heavyball:"))


def needs(name: str) -> None:
    """Skip where a library, or the one of a target, is not installed."""
    for key, library in LIBRARIES.items():
        if name.partition(":")[0] in (key, library.where):
            for module in library.needs:
                if key == "tinygrad" and not shutil.which(os.environ.get("CC", "clang")):
                    pytest.skip("tinygrad needs clang")
                if importlib.util.find_spec(module) is None:
                    pytest.skip(f"{module} is not installed; pip install -e '.[{library.extra}]'")


@functools.cache
def probed(library: str) -> dict[str, Any]:
    """What probe.py tells of a library's implementations."""
    needs(library)
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("probe.py"), library],
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize("target", VARIANTS)
def test_the_variant_is_found(target: str) -> None:
    needs(target)
    (found,) = (x for x in list_target(target, None) if x["implementation"] == target)
    settings: dict[str, Any] = {"examples": 12, "steps": 6, "seed": 0, "hyper": {}}
    request = {
        "do": "identify", "target": target, "spec_option": None,
        "implementation": found["implementation"], "spec": found["spec"], "settings": settings,
    }  # fmt: skip
    answer = ask(request, 300)["answer"]
    assert VARIANTS[target] in [answer["variant"], *answer["aliases"]]


@pytest.mark.parametrize("library", EXTRAS)
def test_the_state_that_is_shown_is_what_the_spec_means(library: str) -> None:
    for name, told in probed(library).items():
        assert told["crash"] == "", name
        assert told["follows"], name
        assert told["visible"] or hidden(name), name
        assert {b[0] for b in told["broken"]} <= WRITES.get(library, set()), name


@pytest.mark.parametrize("library", EXTRAS)
def test_a_script_shows_what_was_seen(library: str, tmp_path: Path) -> None:
    name, told = list(probed(library).items())[-1]
    assert "optconform" not in told["script"]
    script = tmp_path / "repro.py"
    script.write_text(told["script"])
    done = subprocess.run(
        [sys.executable, script],
        capture_output=True,
        text=True,
        timeout=120,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    assert len(told["seen"]) == 2, name
    for k, seen in enumerate(told["seen"]):
        lines = [x for x in done.stdout.splitlines() if x.startswith(f"  p{k} param:")]
        assert [json.loads(x.partition(": ")[2]) for x in lines] == seen


@pytest.mark.parametrize("library", EXTRAS)
def test_what_it_lacks_is_unsupported(library: str) -> None:
    assert all(told["refuses"] for told in probed(library).values())


@pytest.mark.parametrize("library", EXTRAS)
def test_a_missing_library_is_told_in_one_sentence(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    missing, extra = LIBRARIES[library].needs[0], LIBRARIES[library].extra
    with pytest.raises(RequestError) as told:
        resolve(library, None)
    assert str(told.value) == f"{missing} is not installed; pip install 'optconform[{extra}]'"


def test_a_library_that_does_not_load_is_told_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(name: str) -> None:
        raise AttributeError("module 'numpy' has no attribute 'bool8'")

    monkeypatch.setattr(importlib, "import_module", broken)
    with pytest.raises(RequestError, match=r"^reference cannot be loaded: AttributeError: module"):
        resolve("reference", None)


def test_every_library_has_its_extra() -> None:
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())
    extras = project["project"]["optional-dependencies"]
    assert {library.extra for library in LIBRARIES.values() if library.extra} <= set(extras)


@pytest.mark.parametrize("library", EXTRAS)
def test_a_name_that_no_spec_describes_is_refused(library: str) -> None:
    needs(library)
    like_torch = LIBRARIES[library].like_torch  # what the table lacks may be driven as it is
    told = "has no 'nosuch'" if like_torch else "has no 'nosuch' that a spec describes; it has"
    with pytest.raises(RequestError, match=told):
        list_target(f"{LIBRARIES[library].where}:nosuch", None)


def toys() -> list[Implementation]:
    """What an entry point names."""
    return [TorchLike(torch.optim.SGD, f"toylib:{n}", "toylib", "sgd") for n in ("Plain", "Other")]


def test_what_an_entry_point_brings_is_listed_and_can_be_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group = "optconform.implementations"
    point = importlib.metadata.EntryPoint("toylib", f"{__name__}:toys", group)
    monkeypatch.setattr(importlib.metadata.EntryPoint, "load", lambda self: toys)
    points = importlib.metadata.EntryPoints([point])
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **select: points)
    assert [i.name for i in resolve("toylib", None)] == ["toylib:Plain", "toylib:Other"]
    assert [i.name for i in resolve("toylib:Other", None)] == ["toylib:Other"]
    assert targets()[-1] == "toylib"
    assert [i.name for i in resolve("toylib:Other", "sgd")] == ["toylib:Other"]
    module = types.ModuleType("toylib")
    module.Own = type("Own", (torch.optim.Adam,), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "toylib", module)
    for spec in (None, "adam"):  # what it does not bring is in the module
        assert {i.name.partition("[")[0] for i in resolve("toylib:Own", spec)} == {"toylib:Own"}


class OfItsOwnWords:
    """As much of an implementation as tells what its constructor is called with."""

    def keywords(self, hyper: dict[str, Any]) -> dict[str, Any]:
        return {
            "learning_rate": hyper["lr"],
            "momentum": hyper["momentum"],
            "decay_halved": hyper["weight_decay"] / 2,
            "use_nesterov": hyper["nesterov"],
        }


def test_a_hyperparameter_may_be_called_as_the_target_does() -> None:
    spec = load("sgd")
    own = own_names(OfItsOwnWords(), spec)  # type: ignore[arg-type]
    assert own == {"learning_rate": "lr", "use_nesterov": "nesterov"}
    given: dict[str, Value] = {"learning_rate": 0.5, "momentum": 0.25, "other": 1.0}
    assert renamed(given, spec, own) == {"lr": 0.5, "momentum": 0.25, "other": 1.0}
