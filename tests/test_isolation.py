"""Subjects that crash, hang, talk or lie about their surroundings: nobody else's result suffers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from optconform import surroundings, worker
from optconform.cells import undisturbed
from optconform.interpreter import Interpreted, machine
from optconform.scenario import Group, Param, Recipe, Scenario, Step
from optconform.spec_file import load
from optconform.trace import Trace, run
from optconform.worker import Job, Waiting

ROOT = Path(__file__).parent.parent
Result = dict[str, Any]

CRASHES = {
    "RaisesInInit": "no optimizer today",
    "RaisesInStep3": "the third step is too much",
    "RaisesOddly": "",
    "Hangs": "5 seconds",
    "Exits": "exit status 3",
    "KillsItself": "SIGKILL",
    "Segfaults": "SIGSEGV",
    "RaisesSystemExit": "enough",
    "RaisesKeyboardInterrupt": "",
    "DeletesGroups": "param_groups",
    "ShrinksParameters": "",
}
"""Hostile subjects and what the finding must say."""

CONFORM = ("SGD", "Talks", "Forks")
BREACHES = {
    "MutatesGradient": "gradient-untouched",
    "TouchesNone": "none-gradient",
    "ChangesDefaultDtype": "surroundings",
    "FlushesToZero": "surroundings",
}


def check(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "optconform.cli", "check", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=900,
    )


def hostile(name: str) -> str:
    return f"tests/subjects/hostile.py:{name}"


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, list[Result]]:
    """Everybody in one run, a faithful subject last."""
    out = tmp_path_factory.mktemp("hostile") / "record.json"
    names = [*CRASHES, *CONFORM, *BREACHES, "ReturnsNan"]
    done = check(
        *map(hostile, names), "tests/subjects/faithful.py:SGD", "--timeout", 5,
        "--dtype", "float32", "--examples", 12, "--json", out,
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    results = json.loads(out.read_text())["results"]
    order = [f"hostile.py:{n}" for n in names] + ["faithful.py:SGD"]
    assert [r["implementation"] for r in results] == order
    return done.stdout, done.stderr, results


@pytest.fixture(scope="module")
def results(outcome: tuple[str, str, list[Result]]) -> dict[str, Result]:
    return {r["implementation"].removeprefix("hostile.py:"): r for r in outcome[2]}


@pytest.mark.parametrize("name", CRASHES)
def test_a_crash_is_a_finding(results: dict[str, Result], name: str) -> None:
    result = results[name]
    assert result["verdict"] == "error"
    crashes = [f for f in result["findings"] if f["kind"] == "crash"]
    assert crashes
    for finding in crashes:
        assert finding["check"] == "run"
        assert CRASHES[name] in finding["summary"]
        assert "\n" not in finding["summary"]
        assert finding["scenario"]["spec"] == "sgd"
        assert f"_module.{name}" in finding["repro"]


def test_a_subject_without_end_to_its_memory_is_a_finding(tmp_path: Path) -> None:
    """With time to spare, lest a machine that finds memory slowly should tell of the time."""
    out = tmp_path / "record.json"
    check(
        hostile("AllocatesWithoutEnd"), hostile("SGD"), "--timeout", 300, "--memory", 1.5,
        "--dtype", "float32", "--examples", 12, "--json", out,
    )  # fmt: skip
    greedy, other = json.loads(out.read_text())["results"]
    assert (greedy["verdict"], other["verdict"]) == ("error", "conforms")
    (finding,) = greedy["findings"]
    assert (finding["kind"], finding["check"]) == ("crash", "run")
    assert "took more than 1.5 GiB of memory in one scenario" in finding["summary"]
    assert "_module.AllocatesWithoutEnd" in finding["repro"]


def test_one_mistake_is_one_finding(results: dict[str, Result]) -> None:
    crashes = [f for f in results["ShrinksParameters"]["findings"] if f["kind"] == "crash"]
    assert len(crashes) <= 3, [f["summary"] for f in crashes]


def test_nan_diverges(results: dict[str, Result]) -> None:
    result = results["ReturnsNan"]
    assert result["verdict"] == "diverges"
    assert {f["observed"] for f in result["findings"]} == {"nan"}
    assert {f["variant_match"] and str(f["variant_match"]) for f in result["findings"]} == {None}


@pytest.mark.parametrize("name", BREACHES)
def test_a_breach_of_contract_is_a_finding(results: dict[str, Result], name: str) -> None:
    assert results[name]["verdict"] == "diverges"
    (finding,) = results[name]["findings"]
    assert (finding["kind"], finding["check"]) == ("contract", BREACHES[name])


@pytest.mark.parametrize("name", [*CONFORM, "faithful.py:SGD"])
def test_the_others_keep_their_results(results: dict[str, Result], name: str) -> None:
    assert results[name]["verdict"] == "conforms", results[name]["findings"]
    assert results[name]["checks"]["scenarios"] == 12
    assert results[name]["checks"]["total"] > 1000


def test_subjects_do_not_talk_to_the_terminal(outcome: tuple[str, str, list[Result]]) -> None:
    for text in outcome[:2]:
        assert "xxxx" not in text
        assert "yyyy" not in text
        assert "zzzz" not in text
        assert "Traceback" not in text


def test_a_subject_cannot_spoil_its_process_for_the_next(tmp_path: Path) -> None:
    """It replaces Tensor.lerp_ for good; the next subject, which uses it, is right all the same."""
    out = tmp_path / "record.json"
    check(
        hostile("PoisonsTorch"), "tests/subjects/faithful.py:Lerp", "--jobs", 1,
        "--dtype", "float32", "--examples", 8, "--json", out,
    )  # fmt: skip
    results = json.loads(out.read_text())["results"]
    assert [r["verdict"] for r in results] == ["conforms", "conforms"]


def test_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    """Two folders with a subject.py each, and a helper.py each that it imports."""
    text = (ROOT / "tests/subjects/faithful.py").read_text()
    for folder, sign in (("one", "-"), ("two", "+")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "helper.py").write_text(f"SIGN = {sign}1\n")
        (tmp_path / folder / "subject.py").write_text(
            text.replace("import torch\n", "import torch\nfrom helper import SIGN\n").replace(
                "p.add_(g, alpha=-lr)", "p.add_(g, alpha=SIGN * lr)"
            )
        )
    out = tmp_path / "record.json"
    check(
        tmp_path / "one/subject.py:SGD", tmp_path / "two/subject.py:SGD", "--jobs", 1,
        "--hyper", "momentum=0", "--dtype", "float32", "--examples", 8, "--json", out,
    )  # fmt: skip
    results = json.loads(out.read_text())["results"]
    assert [r["verdict"] for r in results] == ["conforms", "diverges"]


def test_a_process_stays_with_what_it_has_imported() -> None:
    """Two processes share a library only when no other is left that nobody is at."""

    def job(target: str, implementation: str) -> Job:
        return Job(target, None, implementation, "sgd", "sgd", "float32", {}, {})

    waiting = Waiting(
        [job(name[0], name) for name in ["a1", "a2", "a3", "b1", "b2", "c1", "c2", "c3"]]
    )
    one = waiting.take(None)
    two = waiting.take(None)
    assert one is not None and two is not None
    assert (one.implementation, two.implementation) == ("a1", "b1")
    order = []
    while two is not None:  # the first process is long at its job
        two = waiting.take(two.place)
        order.append(two and two.implementation)
    assert order == ["b2", "c1", "c2", "c3", "a2", "a3", None]
    assert waiting.take(one.place) is None


JUDGING: Result = {"event": "phase", "phase": "judging"}


@pytest.mark.parametrize(
    "messages, summary, waited",
    [
        ([None], "the subject took longer than 5 seconds in one scenario", 5),
        ([JUDGING, None], "optconform came to no judgement within 900 seconds", 900),
        (
            [JUDGING, {"event": "too large"}],
            "the subject took more than 1 GiB of memory in one scenario",
            900,
        ),
    ],
    ids=["runs", "judges", "holds"],
)
def test_each_is_charged_with_what_is_its_own(
    monkeypatch: pytest.MonkeyPatch, messages: list[Result | None], summary: str, waited: float
) -> None:
    """Time is the subject's until its run has ended; memory, as long as it may hold it."""
    told = iter([{"event": "scenario", "scenario": {}}, *messages])
    timeouts = []

    class Process:
        def send(self, message: Result) -> None:
            pass

        def receive(self, timeout: float, memory: float) -> Result | None:
            timeouts.append(timeout)
            return next(told)

    monkeypatch.setattr(worker, "_repro", lambda job, seen: "")
    job = Job("here", None, "one", "sgd", "sgd", "float32", {}, {})
    process: Any = Process()
    result = worker._run_job(process, job, 5, 2**30, lambda job, message: None)
    assert result["message"] == summary
    assert timeouts[-1] == waited


def test_the_default_device_is_given_back() -> None:
    told = "it changed torch's default device (cpu before, meta after) for the whole process"
    torch.set_default_device("meta")
    try:
        with undisturbed():
            assert torch.tensor([1.0]).item() == 1.0
            around = surroundings.look()
            torch.set_default_device("meta")
            assert surroundings.give_back(around) == told
            assert torch.get_default_device().type == "cpu"
            torch.set_default_device("cuda:99")
        assert torch.get_default_device().type == "meta"
    finally:
        torch.set_default_device(None)


def raising(act: Callable[[], Any]) -> Trace:
    """The trace of a subject that does ``act`` as it is built."""

    class Acts(Interpreted):
        def start(self, scenario: Scenario, spec: Any) -> Any:
            act()

    spec = load("sgd")
    group = Group(spec.defaults, (Param((1,), Recipe("ones"), Recipe("zeros")),))
    scenario = Scenario("sgd", "float32", (group,), (Step(),))
    return run(Acts(machine(spec, {}), "mine:SGD"), scenario, spec)


def throw(error: BaseException) -> Callable[[], None]:
    def act(*_: Any) -> None:
        raise error

    return act


@pytest.mark.parametrize("error", [BaseException("x"), pytest.fail.Exception("x")])
def test_whatever_a_subject_raises_is_its_own(error: BaseException) -> None:
    assert raising(throw(error)).crash is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), GeneratorExit()])
def test_an_interrupt_goes_on(error: BaseException) -> None:
    with pytest.raises(type(error)):
        raising(throw(error))


def test_a_timeout_that_comes_by_a_signal_goes_on() -> None:
    before = signal.signal(signal.SIGALRM, throw(pytest.fail.Exception("took too long")))
    try:
        with pytest.raises(pytest.fail.Exception, match="took too long"):
            raising(lambda: os.kill(os.getpid(), signal.SIGALRM))
    finally:
        signal.signal(signal.SIGALRM, before)
