"""Re-enacted bugs: each is flagged, each dialect is named, and what is right is left alone.

Cheap: scenarios are drawn in this process, and no more of them than it takes to see a failure.
``tests/power/bugs.py`` does the same through the command line and writes the published table.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from optconform.implementation import Implementation, resolve
from optconform.lockstep import failing, judge, run
from optconform.oracle.scalars import Profile
from optconform.scenario import Scenario
from optconform.spec_file import load
from optconform.strategies import look_at_each, scenarios

ROOT = Path(__file__).parent.parent


def _harness() -> ModuleType:
    path = ROOT / "tests" / "power" / "bugs.py"
    spec = importlib.util.spec_from_file_location("power_bugs", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


bugs = _harness()
CASES = bugs.cases()
BUGS = [c for c in CASES if c.kind == "bug"]
DIALECTS = [c for c in CASES if c.kind == "dialect"]
CONTROLS = [c for c in CASES if c.kind == "control"]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are small
    yield
    torch.set_num_threads(before)


class Failure(Exception):
    """A scenario failed; what follows is not needed."""


def failure(
    implementation: Implementation, claimed: Mapping[str, str], examples: int
) -> Failure | None:
    """What the first scenario that fails shows: what a check finds before it explains it."""
    spec = load(implementation.spec)
    variant = spec.variant(claimed)
    fixed = implementation.fixed(spec)
    changeable = tuple(implementation.changeable(spec))

    def look(scenario: Scenario) -> None:
        trace = run(implementation, scenario, spec)
        if trace.crash is not None:
            raise Failure(repr(trace.crash))
        if trace.broken:
            raise Failure(trace.broken[0][0])
        if failing(judge(trace, spec, variant, profile=Profile())):
            raise Failure("numeric")

    drawn = scenarios(spec, dtype="float32", fixed=fixed, changeable=changeable)
    try:
        look_at_each(drawn, look, dtype="float32", examples=examples, seed=0)
    except Failure as e:
        return e
    return None


def implementation(target: str, spec: str) -> Implementation:
    (found,) = resolve(str(ROOT / target), spec)
    return found


def test_there_are_as_many_as_promised() -> None:
    assert len(BUGS) >= 60


@pytest.mark.parametrize("name", bugs.CLASSES)
def test_the_frame_conforms(name: str) -> None:
    """The classes that the bugs override: what is flagged is what a file adds."""
    subject = implementation(f"tests/bugs/_frame.py:{name}", name.lower())
    assert failure(subject, {}, 40) is None


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_a_file_says_what_it_is(case: Any) -> None:
    text = case.path.read_text()
    doc = text.split('"""')[1]
    first, _, rest = doc.partition("\n")
    assert first.endswith(".") and len(first) > 20
    assert rest.startswith("\nSeen in: ")
    assert f"\n{case.reference}\n" in rest
    assert case.reference.startswith("https://")
    module = sys.modules[bugs.load(case).__module__]
    assert [n for n, x in vars(module).items() if isinstance(x, type)] == [case.class_name]


@pytest.mark.parametrize("case", BUGS, ids=lambda c: c.name)
def test_a_bug_is_flagged(case: Any) -> None:
    if case.needs:
        pytest.skip(f"no scenario shows it, it needs {case.needs}")
    subject = implementation(case.target, case.spec)
    assert failure(subject, {}, 60) is not None


@pytest.mark.parametrize("case", DIALECTS, ids=lambda c: c.name)
def test_a_dialect_is_flagged_unless_declared(case: Any) -> None:
    subject = implementation(case.target, case.spec)
    assert failure(subject, {}, 60) is not None
    assert failure(subject, case.variant, 20) is None


@pytest.mark.parametrize("case", CONTROLS, ids=lambda c: c.name)
def test_what_is_no_bug_is_left_alone(case: Any) -> None:
    subject = implementation(case.target, case.spec)
    assert failure(subject, {}, 30) is None
