"""Re-enacted bugs: each is flagged, each dialect is named, and what is right is left alone.

Cheap: scenarios are drawn in this process, and no more of them than it takes to see a failure.
``tests/power/bugs.py`` does the same through the command line and writes the published table.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from power import bugs

from optconform.contracts.bench import Bench
from optconform.contracts.phase import hold_to_contracts
from optconform.implementation import Implementation, resolve
from optconform.lockstep import failing, judge
from optconform.oracle.scalars import Profile
from optconform.power import pardoned
from optconform.scenario import Scenario
from optconform.spec_file import load
from optconform.strategies import look_at_each, scenarios
from optconform.trace import run

ROOT = Path(__file__).parent.parent


pytestmark = pytest.mark.usefixtures("like_a_worker")

CASES = bugs.cases()
BUGS = [c for c in CASES if c.kind == "bug"]
DIALECTS = [c for c in CASES if c.kind == "dialect"]
CONTROLS = [c for c in CASES if c.kind == "control"]


def failure(implementation: Implementation, claimed: Mapping[str, str], examples: int) -> str:
    """What the first scenario that fails shows, if one does: a check finds it, then explains it."""
    spec = load(implementation.spec)
    variant = spec.variant(claimed)
    drawn = scenarios(
        spec,
        dtype="float32",
        fixed=implementation.fixed(spec),
        changeable=tuple(implementation.changeable(spec)),
    )
    found: list[str] = []

    def look(scenario: Scenario) -> None:
        trace = run(implementation, scenario, spec)
        if trace.crash is not None:
            found.append(repr(trace.crash))
        elif trace.broken:
            found.append(trace.broken[0][0])
        elif failing(judge(trace, spec, variant, profile=Profile())) and not pardoned(
            trace, spec, variant
        ):
            found.append("numeric")

    for seed in range(examples):
        look_at_each(drawn, look, spec=spec, dtype="float32", examples=1, seed=seed)
        if found:
            return found[0]
    return ""


def broken(implementation: Implementation, check: str) -> bool:
    """Whether a contract is broken, in float32 or in a dtype where it is asked at all."""
    spec = load(implementation.spec)
    for dtype in ("float32", "bfloat16"):
        bench = Bench(
            implementation, spec, spec.variant({}), Profile(), dtype, implementation.fixed(spec),
            lambda message: None,
        )  # fmt: skip
        _, found = hold_to_contracts(bench, first=dtype == "float32")
        if any(f["check"] == check for f in found):
            return True
    return False


def implementation(target: str, spec: str) -> Implementation:
    (found,) = resolve(str(ROOT / target), spec)
    return found


def test_there_are_as_many_as_promised() -> None:
    assert len(BUGS) >= 60


@pytest.mark.parametrize("name", bugs.CLASSES)
def test_the_frame_conforms(name: str) -> None:
    """The classes that the bugs override: what is flagged is what a file adds."""
    subject = implementation(f"tests/bugs/_frame.py:{name}", name.lower())
    assert failure(subject, {}, 25) == ""


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
    subject = implementation(case.target, case.spec)
    if case.admitted:  # when it no longer is, the file has to say so
        assert failure(subject, {}, 12) == "", "it is flagged: remove ADMITTED"
    elif case.check:
        assert broken(subject, case.check)
    else:
        assert failure(subject, {}, 60) != ""


@pytest.mark.parametrize("case", DIALECTS, ids=lambda c: c.name)
def test_a_dialect_is_flagged_unless_declared(case: Any) -> None:
    subject = implementation(case.target, case.spec)
    assert failure(subject, {}, 60) != ""
    assert failure(subject, case.variant, 12) == ""


@pytest.mark.parametrize("case", CONTROLS, ids=lambda c: c.name)
def test_what_is_no_bug_is_left_alone(case: Any) -> None:
    subject = implementation(case.target, case.spec)
    assert failure(subject, {}, 20) == ""
