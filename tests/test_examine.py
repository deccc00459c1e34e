"""The examination of one cell, in process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from optconform.examine import Examination, Settings
from optconform.implementation import Implementation, resolve
from optconform.scenario import Scenario, from_json
from optconform.spec import Spec, Value
from optconform.spec_file import load

SUBJECTS = Path(__file__).parent / "subjects"

pytestmark = pytest.mark.usefixtures("like_a_worker")


def examined(
    implementation: Implementation, dtype: str = "float32", **settings: Any
) -> dict[str, Any]:
    spec = load(implementation.spec)
    asked = Settings(**{"examples": 8, **settings})
    return Examination(implementation, spec, {}, dtype, asked, lambda message: None).result()


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
