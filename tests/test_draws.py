"""Drawn scenarios are the same ones whoever draws them, and whether they were kept or not."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis.strategies import SearchStrategy

from optconform import draws, strategies
from optconform.draws import drawn, keeping
from optconform.errors import RequestError
from optconform.scenario import Scenario
from optconform.spec import Spec
from optconform.spec_file import load

PROGRAM = """
from optconform.draws import drawn
from optconform.spec_file import load
print(list(drawn(load("sgd"), dtype="bfloat16", examples=4, seed=7, fixed={"nesterov": True})))
"""


def some(examples: int = 4, **more: object) -> list[Scenario]:
    draws._drawn.cache_clear()
    spec = more.pop("spec", load("sgd"))
    return list(drawn(spec, dtype="bfloat16", examples=examples, seed=7, **more))


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OPTCONFORM_CACHE", str(tmp_path))
    return tmp_path


def test_another_process_draws_the_same(kept: Path) -> None:
    """Nothing hangs on the order of a set or on what was drawn before."""
    some(examples=2)
    mine = some(fixed={"nesterov": True})
    for hashes in ("1", "2"):
        environment = {
            **os.environ, "PYTHONHASHSEED": hashes, "OPTCONFORM_CACHE": str(kept / hashes),
        }  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
        )
        assert done.stdout == f"{mine}\n", done.stderr


def test_what_is_kept_is_read_again(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = some()
    (file,) = kept.glob("*.draws")
    monkeypatch.setattr(draws, "look_at_each", lambda *_, **__: pytest.fail("drawn again"))
    again = some()
    assert [repr(s) for s in again] == [repr(s) for s in first]
    assert len(json.loads(file.read_bytes())) == 4


def test_other_arguments_and_other_specs_are_other_draws(kept: Path) -> None:
    sgd = load("sgd")
    lr = replace(sgd.hypers["lr"], default=0.75)
    some()
    some(max_steps=3)
    some(examples=5)
    some(fixed={"momentum": 0.0})
    some(spec=replace(sgd, hypers={**sgd.hypers, "lr": lr}))
    assert len(list(kept.glob("*.draws"))) == 5


NARROW = """
name = "narrow"
title = "Narrow"
cite = "nobody"
requires = ["%s"]
[hyper]
lr = { default = 1e-2, domain = "[0, inf)" }
k = { default = %s, domain = "[0, 1]" }
[step]
p = "p - lr * grad"
"""


def narrow(folder: Path, requires: str, default: float = 0.123) -> Spec:
    (folder / "narrow.toml").write_text(NARROW % (requires, default))
    return load(str(folder / "narrow.toml"))


def test_a_seed_that_gives_nothing_is_followed_by_others(
    kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the other scenarios stay what they are."""
    usual, draw = some(), strategies._drawn
    seeds: list[int] = []

    def now_and_then(strategy: SearchStrategy[Scenario], seed: int) -> list[Scenario]:
        seeds.append(seed)
        return [] if len(seeds) in (2, 3) else draw(strategy, seed)

    monkeypatch.setattr(strategies, "_drawn", now_and_then)
    with keeping(False):
        found = some()
    assert len(found) == 4 and len(set(seeds)) == 6
    assert [found[k] for k in (0, 2, 3)] == [usual[k] for k in (0, 2, 3)]
    assert found[1] != usual[1]


def test_what_is_hardly_ever_drawn_is_refused(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strategies, "_drawn", lambda strategy, seed: [])
    with pytest.raises(RequestError, match=r"spec narrow requires lr < 0\.25: no such setting"):
        some(2, spec=narrow(tmp_path, "lr < 0.25"))


def test_inside_of_a_run_that_is_not_repeated_nothing_is_kept(kept: Path) -> None:
    with keeping(False):
        first = some()
    assert list(kept.glob("*.draws")) == []
    assert some() == first
    assert len(list(kept.glob("*.draws"))) == 1


@pytest.mark.parametrize("damage", [b"", b"[{", b"[{}]", b"{}", b"[1]", b"\xff"])
def test_a_damaged_file_is_drawn_anew(kept: Path, damage: bytes) -> None:
    first = some()
    (file,) = kept.glob("*.draws")
    file.write_bytes(damage)
    assert some() == first
    assert some() == first


def test_without_a_folder_to_write_in_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("OPTCONFORM_CACHE", str(tmp_path / "file" / "below"))
    assert len(some()) == 4
