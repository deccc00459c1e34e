"""Known divergences: what is written can be read, and what others wrote is not trusted."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from optconform import known
from optconform.adopting import known_command, with_known
from optconform.cells import Cell, Judge
from optconform.errors import RequestError
from optconform.examine import CHECKS
from optconform.interpreter import Interpreted, machine
from optconform.known import Divergence, admit, entry_of, for_cell, read, settle, stale
from optconform.record import SCHEMA
from optconform.reports import render_html, render_markdown
from optconform.scenario import Group, Param, Recipe, Scenario, SetHyper, Step, to_json
from optconform.spec_file import load
from optconform.worker import Job

EVIL = "</script><img src=x onerror=alert(1)>'\"\\\n]] = \x7f\x00 é😀"
SGD = load("sgd")
SCENARIO = Scenario(
    "sgd", "float32",
    (Group(SGD.defaults, (Param((2,), Recipe("ones"), Recipe("values", 0, ((1.0, 2.0),))),)),),
    (Step(),),
)  # fmt: skip


def finding(**more: Any) -> dict[str, Any]:
    return {
        "kind": "numeric", "check": "lockstep", "tensor": "param", "scenario": to_json(SCENARIO),
        "summary": "step 1, param[3]: off by 3.2e+05 bounds; follows eps = inside", **more,
    }  # fmt: skip


def result(*findings: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "implementation": "lib:SGD", "library": "lib", "version": "1.0", "spec": "sgd",
        "dtype": "float32", "verdict": "diverges", "message": "", "seconds": 0.0,
        "claimed": {}, "variant": None, "profile": {}, "mode": "lockstep", "regimes": {},
        "neighbours": {"apart": [], "same": [], "open": []},
        "checks": {"contracts": {}}, "findings": list(findings), **more,
    }  # fmt: skip


@pytest.mark.parametrize(
    "name", [EVIL, "plain", "it's", 'say "x"', "[[divergence]]", "a\nid = 'b'"]
)
def test_whatever_is_written_is_read_again(tmp_path: Path, name: str) -> None:
    told = finding(summary=f"step 1, param[0]: {name}")
    text = entry_of(result(implementation=name), told, issue=name)
    path = tmp_path / "known.toml"
    path.write_text(text, encoding="utf-8")
    (entry,) = read(path)
    assert (entry.implementation, entry.issue, entry.scenario) == (name, name, SCENARIO)
    assert entry.is_about(told)
    assert not entry.is_about(finding())


def test_only_numbers_may_differ() -> None:
    entry = _entry()
    assert entry.is_about(
        finding(summary="step 8, param[0]: off by 2 bounds; follows eps = inside")
    )
    assert not entry.is_about(finding(summary="step 1, param[3]: follows eps = hat"))
    assert not entry.is_about(finding(tensor="momentum_buffer"))


def _entry(**more: Any) -> Divergence:
    made = Divergence(
        "x", "https://example.org/1", "", "lib:SGD", "sgd", "float32", "param",
        "off by # bounds; follows eps = inside", SCENARIO,
    )  # fmt: skip
    return replace(made, **more)


def test_a_known_finding_is_marked_and_a_fixed_one_is_told() -> None:
    there = result(finding(), replayed=[["param"]])
    settled = settle(there, [_entry()])
    assert known.all_known(settled)
    assert settled["findings"][0]["issue"] == "https://example.org/1"
    gone = result(replayed=[[]], verdict="conforms")
    assert stale(gone, [_entry()]) == [_entry()]
    (told,) = settle(gone, [_entry()])["findings"]
    assert told["kind"] == "stale" and "no longer occurs" in told["summary"]
    assert not known.all_known(settle(gone, [_entry()]))
    assert stale(result(verdict="unsupported"), [_entry()]) == []


ENDED = "the subject ended its process (exit status 3)"
CRASH = {"kind": "crash", "check": "run", "summary": ENDED, "scenario": None}
SOME = {"contracts": {}, "scenarios": 3}


@pytest.mark.parametrize(
    ("entry", "judged"),
    [
        ({}, result(CRASH, verdict="error", message=ENDED)),
        ({"scenario": None}, result(CRASH, verdict="error", message=ENDED)),
        # it lived until the contracts were tried
        ({"scenario": None}, result(CRASH, message=ENDED, checks=SOME)),
        ({"scenario": None, "check": "resume"}, result(CRASH, message=ENDED, checks=SOME)),
        ({"scenario": None}, result(CRASH, verdict="error", checks=SOME)),
        # the scenario was not run, or broke off
        ({}, result(verdict="conforms")),
        ({}, result(verdict="error", replayed=[["run"]], checks=SOME)),
        (
            {"scenario": None, "check": "resume"},
            result(checks={"contracts": {"resume": "not applicable: it takes no groups"}}),
        ),
    ],
)
def test_what_was_not_judged_is_not_fixed(entry: dict[str, Any], judged: dict[str, Any]) -> None:
    assert stale(judged, [_entry(**entry)]) == []


def test_what_was_judged_before_the_end_is() -> None:
    """The saved scenario went well, and so did a contract; then the process ended."""
    lost = result(CRASH, message=ENDED, replayed=[[]], checks={"contracts": {"resume": "held"}})
    assert len(stale(lost, [_entry(), _entry(check="resume", scenario=None)])) == 2
    whole = result(verdict="conforms", checks=SOME)
    assert stale(whole, [_entry(scenario=None)]) == [_entry(scenario=None)]


@pytest.mark.parametrize("status", ["broken", "broken: it raises as in run"])
def test_a_contract_is_known_by_its_status(status: str) -> None:
    entry = _entry(check="resume", scenario=None)
    assert stale(result(checks={"contracts": {"resume": status}}), [entry]) == []
    assert stale(result(checks={"contracts": {"resume": "held"}}), [entry]) == [entry]


def test_a_contract_that_compares_runs_is_not_known_by_one_of_them() -> None:
    """Its finding shows the first of the runs, which alone has nothing amiss."""
    entry = _entry(
        check="late-gradient", scenario=_one(Param((1,), Recipe("zeros"), Recipe("zeros")))
    )
    contracts = {"contracts": {"late-gradient": "broken"}}
    assert stale(result(checks=contracts, replayed=[[]]), [entry]) == []


CELL = {"implementation": "lib:SGD", "spec": "sgd", "dtype": "float32", "version": "2.0"}


@pytest.mark.parametrize(
    ("check", "near"), [("parma", "param"), ("momentum_bufer", "momentum_buffer"), ("rnu", "run")]
)
def test_a_check_that_is_not_there_is_not_fixed(check: str, near: str) -> None:
    """Of a library that brings checks of its own, nobody can tell."""
    entry = _entry(check=check)
    said = f"known divergence 'x' .*: there is no check '{check}'; the nearest is '{near}'"
    with pytest.raises(RequestError, match=said):
        for_cell([entry], CELL, SGD, CHECKS)
    assert for_cell([entry], CELL, SGD, None) == (entry,)
    assert for_cell([entry], {**CELL, "dtype": "float64"}, SGD, CHECKS) == ()


@pytest.mark.parametrize("check", ["param", "momentum_buffer", "run", "determinism", "closure"])
def test_every_check_may_be_known(check: str) -> None:
    assert for_cell([_entry(check=check)], CELL, SGD, CHECKS) != ()


@pytest.mark.parametrize("target", ["tests/subjects/faithful.py:SGD", "reference"])
def test_the_command_line_refuses_it_before_it_judges(target: str) -> None:
    job = Job(target, None, "lib:SGD", "sgd", "sgd", "float32", {}, {}, version="2.0")
    with pytest.raises(RequestError, match="there is no check 'parma'"):
        with_known([job], [_entry(check="parma")], CHECKS)
    assert with_known([replace(job, target="elsewhere")], [_entry(check="theirs")], CHECKS)


@pytest.mark.parametrize("at_large", [False, True])
def test_a_test_suite_refuses_it(at_large: bool) -> None:
    entry = _entry(check="parma", implementation="mine:SGD")
    subject = Interpreted(machine(SGD, {}), "mine:SGD")
    known_here = () if at_large else (entry,)
    cell = Cell(subject, "sgd", {}, "float32", {}, ("float32",), 1, 2, 0, known_here)
    with pytest.raises(RequestError, match="there is no check 'parma'"):
        Judge(known=(entry,) if at_large else ()).result(cell)


def test_the_range_of_versions_counts() -> None:
    cell = {"implementation": "lib:SGD", "spec": "sgd", "dtype": "float32", "version": "2.0"}
    assert _entry(versions="<2").concerns(**cell) is False
    assert _entry(versions=">=2").concerns(**cell) is True
    assert len(known.unmatched([_entry(versions="<2"), _entry()], [cell])) == 1


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("divergence = 1", "must hold"),
        ("x = 1", "nothing else"),
        ("[[divergence]]\nid = 1", "texts alone"),
        ("[[divergence]]\nname = 'x'", "no key 'name'"),
        ("[[divergence]]\nid = 'x'", "lacks 'implementation'"),
        ("\x00", "is no TOML"),
        ("[" * 5000, "is no TOML"),
    ],
)
def test_what_is_no_known_file_is_refused(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "known.toml"
    path.write_text(text)
    with pytest.raises(RequestError, match=sentence):
        read(path)


WHOLE = {
    "id": "x", "implementation": "a:B", "spec": "sgd", "dtype": "float32", "check": "param",
    "says": "y",
}  # fmt: skip


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"dtype": "float8"}, "unknown dtype"),
        ({"versions": "newer"}, "no range of versions"),
        ({"scenario": "__import__('os').system('true')"}, "divergence 1"),
        ({"scenario": "[" * 100_000}, "divergence 1"),
        ({"scenario": '{"spec": "sgd"}'}, "not a scenario"),
        ({"scenario": json.dumps({**to_json(SCENARIO), "dtype": "float16"})}, "in float16"),
    ],
)
def test_a_bad_entry_is_refused(tmp_path: Path, more: dict[str, str], sentence: str) -> None:
    path = tmp_path / "known.toml"
    lines = [f"{k} = {json.dumps(v)}" for k, v in {**WHOLE, **more}.items()]
    path.write_text("[[divergence]]\n" + "\n".join(lines))
    with pytest.raises(RequestError, match=sentence) as e:
        read(path)
    assert "\n" not in str(e.value)


def _one(param: Param) -> Scenario:
    return replace(SCENARIO, groups=(Group(SGD.defaults, (param,)),))


@pytest.mark.parametrize(
    "scenario",
    [
        replace(SCENARIO, spec="adam"),
        replace(SCENARIO, groups=(Group({"lr": 1.0}, SCENARIO.groups[0].params),)),
        replace(SCENARIO, groups=(Group({**SGD.defaults, "lr": -1.0}, ()),)),
        replace(SCENARIO, events=(SetHyper(5, {"lr": 0.1}), Step())),
        replace(SCENARIO, events=(SetHyper(0, {"__class__": 0.1}), Step())),
        replace(SCENARIO, events=(Step(((0, 9),)),)),
        replace(SCENARIO, groups=()),
        replace(
            SCENARIO,
            groups=(Group({**SGD.defaults, "nesterov": True}, SCENARIO.groups[0].params),),
        ),
        _one(Param((10**8,), Recipe("ones"), Recipe("normal"))),
        _one(Param((2,), Recipe("values", 0, (1.0,)), Recipe("normal"))),
        _one(Param((2,), Recipe("ones"), Recipe("values", 0, ((1.0,),)))),
        _one(Param((2,), Recipe("ones"), Recipe("values", 0, ()))),
        _one(Param((2,), Recipe("values", 0, ((1.0,), 2.0)), Recipe("normal"))),
    ],
)
def test_a_scenario_that_does_not_fit_is_never_run(scenario: Scenario) -> None:
    with pytest.raises(RequestError, match=r"scenario|domain|hyper|lr"):
        admit(scenario, SGD)


def test_the_scenario_itself_is_admitted() -> None:
    admit(SCENARIO, SGD)
    admit(replace(SCENARIO, events=()), SGD)  # it may raise before its first step


@pytest.mark.parametrize(
    "data",
    ["[]", "{}", "null", '{"schema": "x"}', f'{{"schema": "{SCHEMA}", "results": [1]}}',
     f'{{"schema": "{SCHEMA}", "results": [{{"findings": [{{}}]}}]}}', "[" * 100_000],
)  # fmt: skip
def test_what_is_no_record_is_refused(tmp_path: Path, data: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(data)
    with pytest.raises(RequestError, match="no record of optconform check"):
        known_command.main([str(path)], standalone_mode=False)


def test_known_and_stale_findings_are_escaped_in_reports() -> None:
    entry = _entry(id=EVIL, issue=EVIL, implementation="lib:SGD")
    settled = settle(result(finding(), replayed=[[]]), [entry])
    made = {
        "schema": SCHEMA, "environment": {}, "run": {}, "checks": {}, "specs": {},
        "results": [settled],
    }  # fmt: skip
    page, text = render_html(made), render_markdown(made)
    assert "<img" not in page and "<img" not in text
    assert "no longer occurs" in page
