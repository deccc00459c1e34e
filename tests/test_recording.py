"""Recordings: the same ones for ever, compared by the equations, and what is wrong with a file."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import overlay
import pytest

from optconform.errors import RequestError
from optconform.recording import tape
from optconform.recording.corpus import SIZE, VERSION, corpus, name_of
from optconform.recording.difference import difference, worse
from optconform.recording.environments import requirement
from optconform.recording.traits import telling
from optconform.reports.difference import summary, to_html, to_markdown
from optconform.scenario import Group, Param, Recipe, Scenario, Step, from_json, to_json
from optconform.spec_file import load

SMALL = (Path(__file__).parent / "subjects/thirdparty/smallopt.py").read_text()

FIXED = SMALL.replace('(v_hat + group["eps"]).sqrt()', 'v_hat.sqrt() + group["eps"]').replace(
    "weight_decay=1e-2", "weight_decay=0.0"
)

LOOP = """\
            for p in group["params"]:
                if p.grad is not None:
"""

RELEASES = {
    "first": SMALL,
    # SGD rounds in another way, AdamW has its eps outside and another default
    "second": FIXED.replace('p.sub_(group["lr"] * p.grad)', 'p.add_(p.grad, alpha=-group["lr"])'),
    # SGD ends its process where a group has three parameters, AdamW wants one option more
    "broken": SMALL.replace(
        LOOP,
        "            if len(group['params']) == 3:\n                __import__('os')._exit(7)\n"
        + LOOP,
    ).replace("weight_decay=1e-2):", "weight_decay=1e-2, *, must):"),
}


def cli(*arguments: object, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "optconform.cli", *map(str, arguments)],
        cwd=cwd, capture_output=True, text=True, timeout=600, env={**os.environ, **more},
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recording of each release, under the release's name."""
    where = tmp_path_factory.mktemp("recordings")
    for name, text in RELEASES.items():
        (where / "smallopt.py").write_text(text)
        targets = ("smallopt:SGD", "smallopt:AdamW")
        done = cli("record", *targets, "-o", name, "--dtype", "float32", cwd=where)
        assert done.returncode == 0, done.stderr
    return where


def between(folder: Path, before: str, after: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The difference, and its implementations by name."""
    data = difference(tape.read(folder / before), tape.read(folder / after))
    data["breaks"] = worse(data)
    rows = {r["implementation"].rpartition(":")[2]: r for r in data["implementations"]}
    return data, rows


# ---- the corpus ------------------------------------------------------------------------------


def test_the_corpus_is_the_same_for_ever() -> None:
    """Recordings of other days are compared with today's: raise VERSION if this must change."""
    names = [name_of(s) for s in corpus(load("adam"), "float32", changeable=["lr", "eps"])]
    assert len(names) == SIZE == len(set(names))
    digest = hashlib.sha256(" ".join(names).encode()).hexdigest()[:16]
    assert (VERSION, digest) == (1, "a98cf80f5291fb70")


@pytest.mark.parametrize("spec", ["sgd", "rmsprop", "adamw"])
def test_scenarios_are_admissible_and_survive_json(spec: str) -> None:
    loaded = load(spec)
    for scenario in corpus(loaded, "bfloat16", changeable=["lr", "weight_decay"]):
        assert all(loaded.admissible(g.hyper) for g in scenario.all_groups)
        assert from_json(json.loads(json.dumps(to_json(scenario)))) == scenario


def test_a_fixed_hyperparameter_leaves_the_other_choices_alone() -> None:
    spec = load("adam")
    free, fixed = (corpus(spec, "float32", fixed=f) for f in ({}, {"amsgrad": False}))
    for a, b in zip(free, fixed, strict=True):
        if not any(g.hyper["amsgrad"] for g in a.all_groups):
            assert a == b


# ---- differences -----------------------------------------------------------------------------


def test_nothing_changed(folder: Path) -> None:
    data, rows = between(folder, "first", "first")
    assert data["breaks"] == []
    assert {c["level"] for r in rows.values() for c in r["dtypes"]} == {"bit-equal"}
    assert cli("diff", "first", "first", cwd=folder).returncode == 0


def test_another_rounding_is_within_the_bounds(folder: Path) -> None:
    data, rows = between(folder, "first", "second")
    (cell,) = rows["SGD"]["dtypes"]
    assert (cell["level"], cell["mark"]) == ("within the bounds", "same")
    assert cell["differing"] > 0
    assert not any("SGD" in sentence for sentence in worse(data))
    assert any("SGD" in sentence for sentence in worse(data, bits=True))


def test_other_equations_are_named(folder: Path) -> None:
    data, rows = between(folder, "first", "second")
    (cell,) = rows["AdamW"]["dtypes"]
    assert (cell["level"], cell["mark"]) == ("diverging", "fixed")
    assert "followed eps = inside, follows eps = outside" in cell["summary"]
    assert cell["equation"].startswith("p ←")
    (default,) = rows["AdamW"]["signature"]
    assert (default["name"], default["before"], default["after"]) == ("weight_decay", "0.01", "0.0")
    done = cli("diff", "first", "second", "--json", "d.json", "--html", "d.html",
               "--markdown", "d.md", cwd=folder)  # fmt: skip
    assert done.returncode == 1
    assert "default of weight_decay: 0.01 → 0.0" in done.stdout
    written = json.loads((folder / "d.json").read_text())
    assert written["implementations"] == json.loads(json.dumps(data["implementations"]))
    _, back = between(folder, "second", "first")
    assert back["AdamW"]["dtypes"][0]["mark"] == "new"


def test_a_numeric_difference_comes_with_its_scenario_and_both_equations(folder: Path) -> None:
    data, rows = between(folder, "first", "second")
    (cell,) = rows["AdamW"]["dtypes"]
    assert name_of(from_json(cell["scenario_data"])) == cell["scenario"]
    (one,) = [e for e in cell["equations"] if e["name"] == "denom"]
    assert one["before"] == "denom ← √(v̂ + ε)" and one["after"] == "denom ← √v̂ + ε"
    page = to_html(data)
    for said in (*one.values(), "step 1, ", "The scenario that shows it", "&#34;events&#34;"):
        assert said in page


def test_a_page_names_its_sides_and_what_they_have_in_common_last(folder: Path) -> None:
    data, _ = between(folder, "first", "second")
    data["before"]["name"] = data["after"]["name"] = "a:B"
    data["environment"] = [{"name": "thing", "before": "1", "after": "2"}]
    data["before"]["environment"] |= {"thing": "1"}
    data["after"]["environment"] |= {"thing": "2"}
    page = to_html(data)
    assert "<h1>a:B: before → after</h1>" in page and "a:B: before → after" in summary(data)
    assert '<th scope="col">before</th><th scope="col">after</th>' in page
    common = len(data["before"]["environment"]) - 1
    shown = [page.index(x) for x in ("What changed", "<td>thing</td>", f"{common} distributions")]
    assert shown == sorted(shown) and page.count("torch <b>") == 1
    for side, where in (("before", "old"), ("after", "new")):
        data[side]["folder"] = where
    assert "a:B: old → new" in summary(data) and "<h1>a:B: old → new</h1>" in to_html(data)
    data["after"]["name"] = "a:C"
    assert "a:B → a:C" in summary(data)
    assert summary(data).endswith(".\n") and "2 implementations: " in summary(data)
    data["implementations"].pop()
    assert "1 implementation: " in summary(data)


def test_who_ends_its_process_loses_one_scenario(folder: Path) -> None:
    track = tape.read(folder / "broken").tracks[0]
    ended = [r for r in track.runs if "status 7" in r["status"]]
    done = [r for r in track.runs if r["status"] == "done"]
    assert ended and len(ended) + len(done) == SIZE
    for run in ended:
        sizes = [len(g["params"]) for g in run["scenario"]["groups"]]
        joins = [len(e["group"]["params"]) for e in run["scenario"]["events"] if "group" in e
                 and e["op"] == "add_group"]  # fmt: skip
        assert 3 in sizes + joins
    _, rows = between(folder, "first", "broken")
    (cell,) = rows["SGD"]["dtypes"]
    assert (cell["level"], cell["mark"]) == ("bit-equal", "new")
    assert "now the subject ended its process" in cell["summary"]


def test_an_option_that_must_be_given_breaks(folder: Path) -> None:
    data, rows = between(folder, "first", "broken")
    assert "smallopt:AdamW: options that must be given now: must" in data["breaks"]
    (cell,) = rows["AdamW"]["dtypes"]
    assert "now raised TypeError" in cell["summary"]


def unjudged(
    *runs: tuple[dict[str, float], list[float]], then: list[list[float]], lr: float = 0.1
) -> str:
    """The summary of an optimizer without a spec: its runs by hyperparameters, with the last
    parameters of each before and ``then``; the plain run is the first, then with ``lr``."""
    about = {"implementation": "a:B", "dtype": "float32", "spec": "any"}

    def recorded(ends: list[list[float]], first: dict[str, float]) -> tape.Recording:
        hypers = [first, *(h for h, _ in runs[1:])]
        param = Param((2,), Recipe("ones"), Recipe("normal"))
        scenarios = [Scenario("any", "float32", (Group(h, (param,)),), (Step(),)) for h in hypers]
        track = tape.Track(
            about,
            [{"scenario": to_json(x), "status": "done"} for x in scenarios],
            {f"{k}/param": np.array(end) for k, end in enumerate(ends)},
        )
        return tape.Recording({"environment": {}}, [track])

    before = recorded([end for _, end in runs], runs[0][0])
    data = difference(before, recorded(then, {**runs[0][0], "lr": lr}))
    return str(data["implementations"][0]["dtypes"][0]["summary"])


def test_a_plain_run_that_is_not_there_is_not_called_the_same() -> None:
    runs = ({"lr": 0.1}, [1.0, 2.0]), ({"lr": 1.0}, [1.0, 2.0])
    told = unjudged(*runs, then=[[1.0, 2.5], [1.0, 1.0]], lr=0.2)
    assert "the same" not in told
    assert told.startswith(
        "the plain run at the defaults cannot be compared, for the defaults differ (lr); "
        "in others they differ by up to 0.5 of the largest"
    )
    told = unjudged(*runs, then=[[1.0, 2.0], [1.0, 1.0]])
    assert told.startswith("parameters are the same in the plain run at the defaults; in others")


def test_what_is_not_finite_hides_no_finite_difference() -> None:
    runs = ({"lr": 0.1}, [1.0, 2.0, 3.0]), ({"lr": 1.0}, [1e308, 2.0, 1.0])
    told = unjudged(*runs, then=[[1.0, float("inf"), 4.0], [-1e308, 2.0, 1.0]])
    assert told.startswith(
        "parameters differ by 0.25 of the largest and are finite on one side alone here and there "
        "in the plain run at the defaults; in others they differ by up to 2 of the largest"
    )


def test_where_a_difference_shows() -> None:
    every = corpus(load("adam"), "float32", changeable=["lr"])
    loaded = [s for s in every if any(type(e).__name__ == "Reload" for e in s.events)]
    rest = [s for s in every if s not in loaded]
    assert loaded and "saved and loaded" in telling(loaded, rest)
    assert telling(every, []) == ""


# ---- files that are not as they were ---------------------------------------------------------


def _last_line_gone(f: Path) -> None:
    lines = (f / tape.LINES).read_text().splitlines(keepends=True)
    (f / tape.LINES).write_text("".join(lines[:-1]))


def _cut_in_a_line(f: Path) -> None:
    text = (f / tape.LINES).read_text()
    (f / tape.LINES).write_text(text[: len(text) // 2])


def _a_tensor_changed(f: Path) -> None:
    data = bytearray((f / "0000.safetensors").read_bytes())
    data[-1] ^= 1
    (f / "0000.safetensors").write_bytes(bytes(data))


def _a_default_changed(f: Path) -> None:
    text = (f / tape.LINES).read_text()
    (f / tape.LINES).write_text(text.replace("0.001", "0.002"))


def _a_file_is_missing(f: Path) -> None:
    (f / "0000.safetensors").unlink()


def _signed_again(f: Path, change: Any) -> None:
    """A forger's footer."""
    header, *entries, _ = map(json.loads, (f / tape.LINES).read_text().splitlines())
    change(entries)
    lines = "".join(json.dumps(x) + "\n" for x in (header, *entries))
    digest = hashlib.sha256(lines.encode()).hexdigest()
    footer = {"tracks": len(entries), "sha256": digest}
    (f / tape.LINES).write_text(lines + json.dumps(footer) + "\n")


def _a_path_leads_out(f: Path) -> None:
    _signed_again(f, lambda entries: entries[0].update(file="../../etc/passwd"))


def _no_tensors_at_all(f: Path) -> None:
    def change(entries: list[dict[str, Any]]) -> None:
        (f / "0000.safetensors").write_bytes(b"\x80\x04K\x01.")  # a pickle
        entries[0]["sha256"] = hashlib.sha256(b"\x80\x04K\x01.").hexdigest()

    _signed_again(f, change)


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (_last_line_gone, "cut short"),
        (_cut_in_a_line, "no whole recording"),
        (_a_tensor_changed, "0000.safetensors was changed"),
        (_a_default_changed, "was changed after it was recorded"),
        (_a_file_is_missing, "0000.safetensors is missing"),
        (_a_path_leads_out, "is no file of a recording"),
        (_no_tensors_at_all, "0000.safetensors"),
    ],
)
def test_a_spoilt_recording_is_refused(
    folder: Path, tmp_path: Path, spoil: Any, sentence: str
) -> None:
    spoilt = tmp_path / "spoilt"
    shutil.copytree(folder / "broken", spoilt)
    tape.read(spoilt)
    spoil(spoilt)
    with pytest.raises(RequestError, match=sentence) as e:
        tape.read(spoilt)
    assert "\n" not in str(e.value)


def test_no_name_becomes_markup(folder: Path, tmp_path: Path) -> None:
    forged = tmp_path / "forged"
    shutil.copytree(folder / "first", forged)
    evil = "<img src=x onerror=alert(1)>|`x`"

    def change(entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            entry["about"]["signature"]["lr"] = evil
            entry["about"]["implementation"] += evil

    _signed_again(forged, change)
    data = difference(tape.read(forged), tape.read(forged))
    other = difference(tape.read(folder / "first"), tape.read(folder / "first"))
    other["implementations"][0]["implementation"] += evil
    other["implementations"][0]["presence"] = "added"
    other["breaks"], data["breaks"] = [evil], [evil]
    other["before"]["name"] = evil
    for some in (data, other):
        assert "<img" not in to_html(some)
        assert "<img" not in to_markdown(some)
    assert evil in summary(other)


@pytest.fixture
def twins(tmp_path: Path) -> list[str]:
    """Targets of one name, in files of one name, whose modules have one name; the second class
    takes steps twice as long."""
    plain = SMALL.replace("class SGD(", "class Plain(")
    for folder, rate in (("one", 'group["lr"]'), ("two", '2 * group["lr"]')):
        (tmp_path / folder).mkdir()
        text = plain.replace('group["lr"] * p.grad', f"{rate} * p.grad")
        assert rate in text
        (tmp_path / folder / "base.py").write_text(text)
        (tmp_path / folder / "opt.py").write_text(
            "from base import Plain\n\n\nclass SGD(Plain):\n    pass\n"
        )
    return ["one/opt.py:SGD", "two/opt.py:SGD"]


def test_files_of_one_name_are_recorded_apart(twins: list[str], tmp_path: Path) -> None:
    done = cli("record", *twins, twins[0], "-o", "made", "--spec", "sgd", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "recorded 2 implementations" in done.stdout
    made = tape.read(tmp_path / "made")
    assert list(dict.fromkeys(t.about["implementation"] for t in made.tracks)) == twins


def test_files_of_one_name_are_judged_apart(twins: list[str], tmp_path: Path) -> None:
    asked = ["--spec", "sgd", "--dtype", "float32", "--examples", "3", "--json", "record.json"]
    done = cli("check", *twins, *asked, cwd=tmp_path)
    assert done.returncode == 1, done.stderr
    record = json.loads((tmp_path / "record.json").read_text())
    told = {r["implementation"]: r["verdict"] for r in record["results"]}
    assert told == {"one/opt.py:SGD": "conforms", "two/opt.py:SGD": "diverges"}
    assert all(name in done.stdout for name in twins)


def test_what_is_refused_leaves_no_folder_and_no_hole(tmp_path: Path) -> None:
    """An earlier recording goes when there is another to write, and not before."""
    for arguments in (("reference:SGD", "--spec", "nospec"), ("numpy",)):
        done = cli("record", *arguments, "-o", "made", cwd=tmp_path)
        assert done.returncode == 2, done.stdout
        assert done.stderr.count("\n") == 1
        assert list(tmp_path.iterdir()) == []
    assert "numpy: there is no optimizer to record" in done.stderr
    (tmp_path / "made").mkdir()
    (tmp_path / "made" / "recording.jsonl").write_text("precious")
    assert cli("record", "numpy", "-o", "made", cwd=tmp_path).returncode == 2
    assert (tmp_path / "made" / "recording.jsonl").read_text() == "precious"


def test_a_strange_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    done = cli("record", "reference:SGD", "-o", tmp_path, cwd=tmp_path)
    assert done.returncode == 2
    assert "thesis.tex" in done.stderr
    assert done.stderr.count("\n") == 1
    assert (tmp_path / "thesis.tex").read_text() == "precious"


# ---- audit -----------------------------------------------------------------------------------


def test_an_audit_of_two_releases(tmp_path: Path) -> None:
    """Wheels in a folder, for pip has no network here."""
    overlay.wheel(tmp_path, "smallopt", "1.0", {"smallopt": SMALL})
    overlay.wheel(tmp_path, "smallopt", "2.0", {"smallopt": FIXED})
    more = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(tmp_path)}
    arguments = ("audit", "smallopt==1.0", "smallopt==2.0", "--cache", tmp_path / "kept",
                 "--dtype", "float32", "--json", "a.json", "--html", "a.html")  # fmt: skip
    done = cli(*arguments, cwd=tmp_path, **more)
    assert done.returncode == 1, done.stderr
    assert "followed eps = inside, follows eps = outside" in done.stdout
    assert "the same: smallopt:SGD" in done.stdout
    data = json.loads((tmp_path / "a.json").read_text())
    versions = {e["name"]: (e["before"], e["after"]) for e in data["environment"]}
    assert versions == {"smallopt": ("1.0", "2.0")}
    assert "smallopt==2.0" in (tmp_path / "a.html").read_text()
    for name in ("smallopt-1.0", "smallopt-2.0"):
        assert len(list((tmp_path / "kept").glob(f"{name}-*"))) == 1
    again = cli(*arguments[:3], *arguments[3:7], "--target", "smallopt:SGD", cwd=tmp_path, **more)
    assert again.returncode == 0, again.stderr
    assert "making an environment" not in again.stderr  # it is kept


@pytest.mark.parametrize(
    "text",
    [
        "smallopt", "smallopt>=1", "smallopt==1.*", "smallopt==1,>0", "-r requirements.txt",
        "smallopt==1.0 --no-binary", "smallopt @ https://example.org/x.whl", "../smallopt", "",
    ],
)  # fmt: skip
def test_what_is_no_release_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="is not NAME==VERSION"):
        requirement(text)


def test_an_audit_is_of_one_library(tmp_path: Path) -> None:
    done = cli("audit", "smallopt==1.0", "other==1.0", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "two libraries" in done.stderr
    assert list(tmp_path.iterdir()) == []
