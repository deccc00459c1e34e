"""``optconform identify``: the variant that a target follows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from called import called
from power import dialects

from optconform import identifying
from optconform.identify import Identification
from optconform.oracle.scalars import Profile
from optconform.worker import Lost

ROOT = Path(__file__).parent.parent
WRONG = "tests/subjects/wrong.py"

CASES: dict[str, dict[str, str]] = {
    f"{WRONG}:SGD": {},
    f"{WRONG}:Adam": {},
    f"{WRONG}:EpsInside": {"eps": "inside"},
    f"{WRONG}:NoBiasCorrection": {"bias_correction": "none"},
    f"{WRONG}:L2InPlaceOfDecoupled": {"decay": "l2"},
    f"{WRONG}:DecayBySchedule": {"decay": "decoupled-relative-lr"},
    f"{WRONG}:SgdLrInBuffer": {"momentum": "lr-in-buffer"},
    f"{WRONG}:RmspropEpsInside": {"eps": "inside"},
    f"{WRONG}:ThreeMistakes": {
        "decay": "decoupled-no-lr", "eps": "inside", "bias_correction": "second-only",
    },
}  # fmt: skip


def identify(tmp: Path, *arguments: object) -> tuple[int, dict[str, Any], str]:
    out = tmp / "answer.json"
    done = called("identify", *arguments, "--json", out)
    assert done.returncode in (0, 1), done.stderr
    assert done.stderr == ""
    return done.returncode, json.loads(out.read_text()), done.stdout


@pytest.mark.parametrize("target", CASES)
def test_the_variant_is_found(target: str, tmp_path: Path) -> None:
    status, answer, said = identify(tmp_path, target, "--examples", 30)
    assert {
        "spec", "variant", "aliases", "profile", "unique", "accepted", "rejected",
    } <= set(answer)  # fmt: skip
    assert answer["variant"] == CASES[target]
    assert answer["unique"] is True
    assert (answer["profile"]["scalars"], answer["profile"]["hypers"]) == ("float64", "exact")
    assert answer["variant"] in answer["accepted"]
    assert answer["variant"] not in answer["rejected"]
    assert len(answer["accepted"]) == 1 + len(answer["aliases"])
    assert len(answer["rejected"]) > 50
    assert all(f"{axis} = {value}" in said for axis, value in CASES[target].items())
    assert "drawn runs leave it" not in said
    assert status == 0


def test_a_process_of_its_own_says_the_same() -> None:
    words = ("identify", f"{WRONG}:SGD", "--examples", "2")
    done = subprocess.run(
        [sys.executable, "-m", "optconform.cli", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == called(*words).stdout


def test_a_path_that_is_lost_is_an_answer(tmp_path: Path) -> None:
    """And the others stay."""
    target = "tests/subjects/hostile.py:%s"
    few = ("--examples", 1, "--timeout", 2)
    for name, told in (("Exits", "exit status 3"), ("Hangs", "in one scenario longer than 2 s")):
        status, answer, said = identify(tmp_path, target % name, *few)
        assert (status, answer["variant"], answer["unique"]) == (1, None, False)
        assert told in answer["explanation"] and told in said
        assert "not identified" in said


LISTED = [
    {
        "implementation": f"lib:SGD[{path}]", "spec": "sgd", "slow": path == "compiled",
        "variant": {}, "keywords": {},
    }
    for path in ("single", "compiled", "fused")
]  # fmt: skip


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A library with a path of each kind; what is asked of processes of their own."""
    asked: list[str] = []

    def listed(target: str, spec: str | None) -> list[dict[str, Any]]:
        kept = [i for i in LISTED if i["implementation"].startswith(target)]
        return kept if target != "slow" else [LISTED[1]]

    def ask(request: dict[str, Any], timeout: float, *, scenario: float) -> dict[str, Any]:
        asked.append(request["implementation"])
        if "single" in request["implementation"]:
            raise Lost("lib:SGD ended its process (signal SIGKILL)")
        found = Identification("sgd", {}, Profile(), [], [{}], [{"decay": "l2"}])
        more = {"only_here": [], "claimed": {}, "remaining": [], "explanation": "unique"}
        name = request["implementation"]
        return {"answer": {"implementation": name, **found.as_dict(), **more}}

    monkeypatch.setattr(identifying, "list_target", listed)
    monkeypatch.setattr(identifying, "ask", ask)
    return asked


def test_what_is_left_out_is_said(library: list[str], tmp_path: Path) -> None:
    done = called("identify", "lib:SGD", "--json", tmp_path / "answer.json")
    assert sorted(library) == ["lib:SGD[fused]", "lib:SGD[single]"]
    assert done.stderr == "left out, compiled for minutes: lib:SGD[compiled]\n"
    assert done.returncode == 1  # one path was lost
    assert "lib:SGD[fused]: sgd: follows" in done.stdout and "SIGKILL" in done.stdout
    answer = json.loads((tmp_path / "answer.json").read_text())
    assert [a["variant"] for a in answer["implementations"]] == [None, {}]


def test_a_path_that_is_named_is_identified(library: list[str], tmp_path: Path) -> None:
    status, answer, _ = identify(tmp_path, "lib:SGD[compiled]")
    assert (status, library, answer["variant"]) == (0, ["lib:SGD[compiled]"], {})


def test_nothing_left_is_refused(library: list[str], tmp_path: Path) -> None:
    done = called("identify", "slow", "--json", tmp_path / "answer.json")
    assert (done.returncode, done.stdout, library) == (2, "", [])
    assert "name one: lib:SGD[compiled]" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW"])
def test_torch_follows_the_specs(name: str, tmp_path: Path) -> None:
    out = tmp_path / "answer.json"
    done = called("identify", f"torch.optim:{name}", "--examples", 20, "--json", out)
    assert done.stderr == f"left out, compiled for minutes: torch.optim:{name}[compiled]\n"
    answer = json.loads(out.read_text())
    paths = {a["implementation"]: a for a in answer["implementations"]}
    assert {f"torch.optim:{name}[{path}]" for path in ("single", "foreach", "fused")} <= set(paths)
    for path in ("single", "foreach"):
        assert paths[f"torch.optim:{name}[{path}]"]["variant"] == {}
        assert paths[f"torch.optim:{name}[{path}]"]["unique"] is True


def test_what_no_variant_explains_is_said(tmp_path: Path) -> None:
    status, answer, said = identify(tmp_path, f"{WRONG}:Beta2Off")
    assert status == 1
    assert answer["variant"] is None
    assert answer["unique"] is False
    assert answer["accepted"] == []
    assert "v ←" in said


def test_what_most_runs_leave_is_not_what_it_follows(tmp_path: Path) -> None:
    """An option that a class does not take is asked for; with it the answer is found."""
    status, answer, said = identify(tmp_path, f"{WRONG}:EpsHatOfItsOwn", "--spec", "adam")
    assert (status, answer["variant"]) == (1, None)
    assert "it does not take eps = 1e-08, amsgrad = False, maximize = False" in said
    assert "off it follows" not in said  # no run has a flag on
    known = ("--spec", "adam", "--hyper", "eps=1e-7")
    status, answer, _ = identify(tmp_path, f"{WRONG}:EpsHatOfItsOwn", *known)
    assert (status, answer["variant"], answer["unique"]) == (0, {"eps": "hat"}, True)


def test_a_profile_is_found(tmp_path: Path) -> None:
    status, answer, _ = identify(tmp_path, f"{WRONG}:SloppyScalars")
    assert status == 0
    assert answer["variant"] == {}
    assert (answer["profile"]["scalars"], answer["profile"]["hypers"]) == ("float32", "exact")


@pytest.mark.parametrize(
    "name",
    [
        "SGD0", "HiddenSGD3", "HiddenAdagrad1", "RMSprop1", "HiddenRMSprop32", "Adadelta4",
        "HiddenSingleAdadelta14", "Adam0", "HiddenFewAdam4",
    ],
)  # fmt: skip
def test_deviations_are_named_together(name: str) -> None:
    """Among them starts of 0.37, seen and not, and a SGD that looks ahead in its average."""
    row = dialects.row(name, examples=8)
    assert row.answer == "named", row
    assert len(row.truth) > 1
