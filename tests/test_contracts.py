"""Every contract is broken by a subject that breaks it, and it alone; a right one breaks none."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from optconform.contracts.bench import Bench
from optconform.contracts.phase import hold_to_contracts
from optconform.contracts.relations import RELATIONS
from optconform.examine import CHECKS
from optconform.implementation import resolve
from optconform.impls.adapters.torch_contracts import SENTENCES
from optconform.oracle.scalars import Profile
from optconform.scenario import from_json
from optconform.spec_file import load

ROOT = Path(__file__).parent.parent
SUBJECTS = ROOT / "tests" / "subjects" / "contracts.py"

BREAKS = {
    "Restless": "determinism",
    "ForgetsTime": "resume",
    "StopsAt128": "joint-separate",
    "StopsAtEmpty": "empty-tensor",
    "LateIsOld": "late-gradient",
    "GapForgets": "late-gradient",
    "TurnsDecay": "maximize",
    "EpsIgnored": "hyper-effect",
    "BetasOnce": "hyper-change",
    "LeavesRemainder": "shapes",
    "DecaysMatrices": "shapes",
    "CleansGradients": "non-finite",
    "SkipsSteps": "non-finite",
    "SpreadsInfinity": "non-finite",
    "NarrowTime": "long-run",
    "ClosureTwice": "closure",
    "ClosureWithoutGrad": "closure",
    "ClosureForgotten": "closure",
    "ClosureValueLost": "closure",
    "ClosureTooLate": "closure",
    "ClosureOnce": "closure",
    "ClosureOnlyDocumented": "closure",
    "WritesOptions": "options-untouched",
    "NewMemory": "storage",
    "KeepsGradient": "gradient-buffer",
    "ZeroGradNone": "zero-grad",
    "StrictOptions": "scheduler",
    "ReadsInitialLr": "scheduler",
    "TakesTwice": "duplicates",
    "SharedClock": "two-live",
    "AnyEps": "refusals",
    "HalfDoneSparse": "sparse-refusal",
    "ComplexIsReal": "complex",
    "SparseRounded": "sparse",
    "LrTensorRounded": "lr-tensor",
    "LrTensorWritten": "lr-tensor",
    "OneDtype": "mixed-dtypes",
    "KeepsFirstLr": "checkpoint",
    "KeepsDecay": "checkpoint",
    "KeepsBetas": "checkpoint",
    "KeepsMaximize": "checkpoint",
    "BackToDefaultEps": "checkpoint",
    "FirstDecayForAll": "checkpoint-add-group",
    "FirstOptionsForAll": "checkpoint-add-group",
    "OwnPathOnly": "checkpoint-path",
    "NewCheckpointsOnly": "checkpoint-old",
    "HalfTime": "large-step",
    "ShortTime": "large-step",
    "SharesOptions": "load-options",
    "SharesState": "load-state",
    "PicklesNoTime": "pickle",
    "CopyShares": "deepcopy",
    "EntriesSquared": "sparse-twice",
    "ReadsOnByStride": "expanded",
    "RowMajor": "channels-last",
    "ListsOnly": "iterables",
    "AnotherDefault": "defaults",
    "ResolvedOtherwise": "defaults",
    "WritesGroups": "groups-copied",
    "OwnOption": "drop-in",
    "Hoards": "memory",
    "SeedsAnew": "random",
    "SeedsPython": "random",
}

SPECS = {"Momentum": "sgd", "KeepsGradient": "sgd", "SparseRounded": "sgd"}
DTYPES = {"NarrowTime": "bfloat16", "OneDtype": "float64"}  # float32 shows the others

pytestmark = pytest.mark.usefixtures("like_a_worker")


def held(name: str, dtype: str = "float32") -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Statuses and findings of every contract, in process."""
    return judged(f"{SUBJECTS}:{name}", SPECS.get(name, "adam"), dtype)


def judged(target: str, by: str, dtype: str) -> tuple[dict[str, str], list[dict[str, Any]]]:
    (implementation,) = resolve(target, by)
    spec = load(implementation.spec)
    bench = Bench(
        implementation, spec, {}, Profile(), dtype, implementation.fixed(spec), lambda message: None
    )
    return hold_to_contracts(bench)


@pytest.mark.parametrize("name", ["Adam", "Momentum", "Rounding"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_right_ones_break_none(name: str, dtype: str) -> None:
    statuses, findings = held(name, dtype)
    assert findings == []
    assert "broken" not in statuses.values()
    assert sum(s == "held" for s in statuses.values()) >= 18


HOLDS = {
    "ClosureByAnotherName": "closure",
    "ClosureDenied": "closure",
    "FirstLr": "scheduler",
    "LrAsTensor": "scheduler",
    "TensorsInGroups": "scheduler",
    "RefusesNaN": "non-finite",
    "NoFusedHere": "checkpoint-path",
    "ResolvedDefault": "defaults",
    "NoDropIn": "drop-in",
    "Remembers": "memory",
}
"""Contracts that an odd way of being right was once said to break."""


@pytest.mark.parametrize("name", HOLDS)
def test_odd_and_right_ones_hold_it(name: str) -> None:
    statuses, _ = held(name)
    assert not statuses[HOLDS[name]].startswith("broken"), statuses[HOLDS[name]]


@pytest.mark.parametrize("name", BREAKS)
def test_exactly_the_broken_contract_is_found(name: str) -> None:
    statuses, findings = held(name, DTYPES.get(name, "float32"))
    assert [n for n, s in statuses.items() if s == "broken"] == [BREAKS[name]]
    (finding,) = findings
    assert finding["check"] == BREAKS[name]
    assert finding["kind"] in ("contract", "refusal", "signature", "crash")
    assert "\n" not in finding["summary"]
    assert json.dumps(finding["scenario"])


def test_what_is_missing_is_called_what_it_is() -> None:
    for name, said in (
        ("LateIsOld", "a first gradient that comes late changes the run"),
        ("GapForgets", "a gradient that is missing for a step changes the run"),
    ):
        assert held(name)[1][0]["summary"].startswith(said)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("LeavesRemainder", "in a tensor of shape (4097,), step 1, param[4096] of parameter 0"),
        ("DecaysMatrices", "in a tensor of shape (1, 1), step 1, "),
        ("CleansGradients", "of group 0 in step 2, its exp_avg is "),
        ("SkipsSteps", "of group 0 in step 2, its exp_avg is "),
        ("SpreadsInfinity", "in step 2, elements whose gradients are numbers change: step 2, "),
        ("BetasOnce", "beta1 is read once: changed from 0.9 to 0.5 after step 2 it gives the same"),
    ],
)
def test_what_is_said_of_an_edge(name: str, said: str) -> None:
    (finding,) = held(name)[1]
    assert said in finding["summary"]
    assert len(finding["repro"]) < 20_000, "what is tiled is written once"
    assert from_json(json.loads(json.dumps(finding["scenario"], allow_nan=False)))


def test_a_run_that_is_wrong_anyway_says_nothing_of_an_effect() -> None:
    statuses, _ = judged("tests/subjects/wrong.py:AdagradSlowDecay", "adagrad", "float32")
    assert statuses["hyper-effect"] == "held"


def test_a_counter_too_narrow_is_told_as_that() -> None:
    (finding,) = held("ShortTime")[1]
    assert finding["kind"] == "contract"
    assert "a tensor of torch.int16, cannot hold step 100001" in finding["summary"]


def test_an_optimizer_need_not_have_an_lr() -> None:
    """Its checkpoints are asked with the rate that it has; a scheduler cannot drive it."""
    spec = str(ROOT / "tests" / "data" / "rated.toml")
    rated = ROOT / "tests" / "subjects" / "rated.py"
    statuses, findings = judged(f"{rated}:Rated", spec, "float32")
    assert findings == []
    assert statuses["checkpoint"] == statuses["load-options"] == "held"
    assert statuses["scheduler"].startswith("not applicable")
    statuses, findings = judged(f"{rated}:KeepsItsRate", spec, "float32")
    broken = {n for n, s in statuses.items() if s == "broken"}
    assert "checkpoint" in broken
    assert any("the checkpoint has rate = 0.0" in f["summary"] for f in findings)


def test_every_contract_has_a_subject_that_breaks_it() -> None:
    assert set(BREAKS.values()) == {r.name for r in RELATIONS} | set(SENTENCES)


def test_every_check_is_listed_with_a_sentence() -> None:
    assert set(CHECKS) >= {r.name for r in RELATIONS} | set(SENTENCES)
    for name, sentence in CHECKS.items():
        assert sentence and "\n" not in sentence and not sentence.endswith("."), name


@pytest.mark.parametrize(
    "name",
    [
        "ClosureTwice", "StrictOptions", "NewCheckpointsOnly", "PicklesNoTime", "HalfTime",
        "Hoards", "SeedsPython", "KeepsDecay", "ReadsInitialLr", "ResolvedOtherwise", "ShortTime",
    ],
)  # fmt: skip
def test_a_script_fails_with_the_same_sentence(name: str, tmp_path: Path) -> None:
    finding = held(name)[1][0]
    script = tmp_path / "repro.py"
    script.write_text(finding["repro"])
    assert "optconform" not in finding["repro"]
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    said = finding["summary"].partition(": raised ")[2] or finding["summary"]
    assert said in " ".join(done.stderr.split())


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[dict[str, Any]]]:
    """Three subjects through the command line: a right one, a wrong one, one that hangs."""
    tmp = tmp_path_factory.mktemp("told")
    done = subprocess.run(
        [
            sys.executable, "-m", "optconform.cli", "check",
            *(f"{SUBJECTS}:{n}" for n in ("Adam", "ClosureTwice", "ClosureHangs")),
            "--dtype", "float32", "--examples", "5", "--timeout", "5", "--jobs", "1",
            "--json", tmp / "record.json", "--html", tmp / "report.html",
        ],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    page = (tmp / "report.html").read_text()
    return page, json.loads((tmp / "record.json").read_text())["results"]


def test_a_broken_contract_diverges(told: tuple[str, list[dict[str, Any]]]) -> None:
    page, (right, wrong, _) = told
    assert (right["verdict"], right["findings"]) == ("conforms", [])
    assert right["checks"]["contracts"]["closure"] == "held"
    assert wrong["verdict"] == "diverges"
    (finding,) = wrong["findings"]
    assert (finding["kind"], finding["check"]) == ("contract", "closure")
    assert finding["scenario"]["spec"] == "adam"
    assert wrong["checks"]["contracts"]["closure"] == "broken"
    assert finding["summary"] in page
    assert CHECKS["closure"] in page


def test_a_contract_that_hangs_is_named(told: tuple[str, list[dict[str, Any]]]) -> None:
    """What was judged before is kept, and the contract's script is there."""
    hanging = told[1][2]
    assert hanging["verdict"] == "error"
    (finding,) = hanging["findings"]
    assert (finding["kind"], finding["check"]) == ("crash", "closure")
    assert "5 seconds in the contract closure" in finding["summary"]
    assert "def closure_is_called_once" in finding["repro"]
    checks = hanging["checks"]
    assert checks["scenarios"] == 5 and checks["total"] > 1000
    assert checks["contracts"]["determinism"] == "held"
    assert checks["contracts"]["closure"] == "broken"
