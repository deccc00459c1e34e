"""Cells that are judged in a test run: what the example database gives is looked at first."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from optconform import draws
from optconform.cells import Cell, Judge
from optconform.interpreter import Interpreted, machine
from optconform.scenario import AddGroup, Group, Param, Recipe, Scenario, SetHyper, Step, to_json
from optconform.spec_file import load

SGD = load("sgd")
PARAM = Param((2,), Recipe("ones"), Recipe("normal", 3), "strided")
GROUP = Group(SGD.defaults, (PARAM,))
SCENARIO = Scenario("sgd", "float32", (GROUP,), (Step(), SetHyper(0, {"lr": 0.5}), Step()))


@dataclass
class Database:
    """As Hypothesis has it."""

    values: list[bytes]
    deleted: list[bytes] = field(default_factory=list)

    def fetch(self, key: bytes) -> list[bytes]:
        return self.values

    def delete(self, key: bytes, value: bytes) -> None:
        self.deleted.append(value)

    def save(self, key: bytes, value: bytes) -> None:
        pytest.fail("nothing is amiss")


class Lacking(Interpreted):
    lacks = ("layouts", "add-group")


def cell(implementation: Any = None, **hyper: float) -> Cell:
    made = implementation or Interpreted(machine(SGD, {}), "mine:SGD")
    return Cell(made, "sgd", {}, "float32", hyper, ("float32",), 1, 2, 0, ())


def stored(*some: Any) -> Judge:
    return Judge(database=Database([json.dumps(s).encode() for s in some]))


def edited(**more: Any) -> dict[str, Any]:
    data = to_json(SCENARIO)
    data["groups"][0]["params"][0].update(more)
    return data


@pytest.mark.parametrize(
    "data",
    [
        edited(init={"kind": "mixture", "seed": 1}),
        edited(grad={"kind": "normal", "seed": -1}),
        edited(shape=[10_000_000]),
        to_json(replace(SCENARIO, events=(Step(((0, 9),)),))),
        to_json(replace(SCENARIO, events=(SetHyper(0, {"lr": -1.0}), Step()))),
        to_json(replace(SCENARIO, dtype="float16")),
        to_json(replace(SCENARIO, spec="adam")),
        [],
    ],
)
def test_what_does_not_fit_is_not_run(data: Any) -> None:
    assert list(stored(data)._saved(cell()).values()) == []


def test_what_is_fixed_now_does_not_change() -> None:
    judge = stored(to_json(SCENARIO))
    assert list(judge._saved(cell()).values()) == [to_json(SCENARIO)]
    assert list(judge._saved(cell(lr=SGD.defaults["lr"])).values()) == []
    assert list(judge._saved(cell(momentum=0.5)).values()) == []


def test_it_does_without_what_is_lacking_now() -> None:
    """And is forgotten under the name it was saved by once it goes well."""
    full = replace(SCENARIO, events=(Step(), AddGroup(GROUP), Step(((1, 0),)), Step()))
    plain = Group(SGD.defaults, (replace(PARAM, layout="contiguous"),))
    judge = stored(to_json(full))
    lacking = cell(Lacking(machine(SGD, {}), "mine:SGD"))
    (found,) = judge._saved(lacking).values()
    assert found == to_json(replace(SCENARIO, groups=(plain,), events=(Step(), Step(), Step())))
    assert judge.result(lacking)["replayed"] == [[]]
    assert judge.database.deleted == judge.database.values


@pytest.mark.parametrize(
    ("once", "seed", "kept"), [(True, None, 0), (True, 7, 1), (False, None, 1)]
)
def test_draws_of_a_random_seed_are_not_kept(
    once: bool, seed: int | None, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPTCONFORM_CACHE", str(tmp_path))
    draws._drawn.cache_clear()
    Judge(seed=5, once=once).result(replace(cell(), seed=seed))
    assert len(list(tmp_path.glob("*.draws"))) == kept
