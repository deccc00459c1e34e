"""The examination of one cell, in process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from optconform import findings, surroundings
from optconform.contracts import bench
from optconform.edits import with_company
from optconform.examine import Examination, Settings
from optconform.implementation import Implementation, resolve
from optconform.impls.adapters import torch_optim
from optconform.investigate import investigate
from optconform.scenario import Scenario, from_json
from optconform.spec import Spec, Value
from optconform.spec_file import load

SUBJECTS = Path(__file__).parent / "subjects"

pytestmark = pytest.mark.usefixtures("like_a_worker")


Message = dict[str, Any]


def examined(
    implementation: Implementation,
    dtype: str = "float32",
    emit: Callable[[Message], None] = lambda message: None,
    **settings: Any,
) -> dict[str, Any]:
    spec = load(implementation.spec)
    asked = Settings(**{"examples": 8, **settings})
    return Examination(implementation, spec, {}, dtype, asked, emit).result()


def subject(name: str, spec: str = "adam") -> Implementation:
    (found,) = resolve(f"{SUBJECTS}/{name}", spec)
    return found


@dataclass(frozen=True)
class Settled:
    """An implementation that says what it is set to."""

    inner: Any
    setting: Mapping[str, Value]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def fixed(self, spec: Spec) -> dict[str, Value]:
        return dict(self.setting)

    def changeable(self, spec: Spec) -> list[str]:
        return [n for n in self.inner.changeable(spec) if n not in self.setting]


def _holds(setting: Mapping[str, Value], scenario: Scenario) -> bool:
    return all(setting.items() <= g.hyper.items() for g in scenario.all_groups)


SETTING = {"eps": 0.5, "weight_decay": 1.0}


@pytest.mark.parametrize("settled", [False, True], ids=["by-request", "by-itself"])
@pytest.mark.parametrize("name", ["wrong.py:LrDoubled", "contracts.py:TurnsDecay"])
def test_what_is_fixed_stays_in_every_finding(name: str, settled: bool) -> None:
    wrong = subject(name)
    result = examined(Settled(wrong, SETTING)) if settled else examined(wrong, hyper=SETTING)
    assert result["verdict"] == "diverges"
    scenarios = [f["scenario"] for f in result["findings"] if "groups" in f["scenario"]]
    assert scenarios
    for scenario in scenarios:
        assert _holds(SETTING, from_json(scenario))


# ---- what a subject leaves behind ------------------------------------------------------------

LEAVES: dict[str, Callable[[], Any]] = {
    "flush-to-zero": lambda: torch.set_flush_denormal(True),
    "errors": lambda: np.seterr(all="raise"),
    "default-dtype": lambda: torch.set_default_dtype(torch.float64),
    "grad-mode": lambda: torch.set_grad_enabled(False),
}


def leaving(what: str) -> Implementation:
    """A wrong Adam after whose steps the process is no longer what it was."""

    class Leaves(torch.optim.Adam):
        def step(self, closure: Any = None) -> Any:
            loss = super().step(closure)
            with torch.no_grad():
                for group in self.param_groups:
                    for p in group["params"]:
                        if p.grad is not None:
                            p.add_(p.grad, alpha=1e-3 * group["lr"])
            LEAVES[what]()
            return loss

    (made,) = torch_optim.implementations(Leaves, name="Leaves", module="here", spec="adam")
    return made


@pytest.mark.parametrize("what", LEAVES)
def test_nobody_works_in_what_a_subject_leaves_behind(
    what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In float64: there numpy's errors, raised, would have hit the oracle itself."""
    before = surroundings.look()
    seen = []
    for place in (findings, bench):
        judge = place.judge

        def looking(*given: Any, judge: Any = judge, **more: Any) -> Any:
            seen.append(surroundings.look())
            return judge(*given, **more)

        monkeypatch.setattr(place, "judge", looking)
    result = examined(leaving(what), "float64")
    assert surroundings.look() == before
    assert len(seen) > 20 and all(now == before for now in seen)
    assert result["verdict"] == "diverges"
    kinds = [(f["kind"], f["check"]) for f in result["findings"]]
    assert ("contract", "surroundings") in kinds and ("numeric", "lockstep") in kinds
    assert not [f["summary"] for f in result["findings"] if f["kind"] == "crash"]


def _alone(messages: list[Message]) -> bool:
    """Whether nothing but the subject is at work between a scenario and the next message."""
    after = [b for a, b in pairwise(messages) if a["event"] == "scenario"]
    return bool(after) and all(m == {"event": "phase", "phase": "judging"} for m in after)


@pytest.mark.parametrize(
    "name", ["wrong.py:LrDoubled", "contracts.py:TurnsDecay", "hostile.py:RaisesInStep3"]
)
def test_the_judges_time_is_not_the_subjects(name: str) -> None:
    told: list[Message] = []
    examined(subject(name, "sgd" if name.startswith("hostile") else "adam"), emit=told.append)
    assert {m["check"] for m in told if m["event"] == "scenario" and "check" in m}
    assert _alone(told)


def test_nor_is_it_when_a_subject_is_identified() -> None:
    told: list[Message] = []
    investigate(subject("wrong.py:EpsInside"), load("adam"), Settings(examples=2), told.append)
    assert _alone(told)


def test_a_run_that_asks_whether_chance_is_at_work_is_told() -> None:
    """Else a subject that hangs in it is waited for as the judge would be, and not named."""
    told: list[Message] = []
    examined(subject("odd.py:Stochastic", "sgd"), "bfloat16", emit=told.append)
    every = [m["scenario"] for m in told if m["event"] == "scenario"]
    scenarios = [from_json(s) for s in every if "groups" in s]
    assert any(with_company(s) in scenarios for s in scenarios)
    assert _alone(told)
