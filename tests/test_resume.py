"""A run that is killed goes on where it was; a journal that is not its own is refused."""

from __future__ import annotations

import copy
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from optconform import cli
from optconform.errors import RequestError
from optconform.journal import Journal
from optconform.known import Divergence, settle
from optconform.record import dumps, record
from optconform.worker import Job, lost

ROOT = Path(__file__).parent.parent
CHECK = [
    sys.executable, "-m", "optconform.cli", "check", "tests/subjects/faithful.py:SGD",
    "--examples", "8", "--jobs", "1", "--dtype", "float32", "--dtype", "bfloat16",
    "--dtype", "float16",
]  # fmt: skip


def _untimed(path: Path) -> Any:
    results = json.loads(path.read_text())["results"]
    return [{k: v for k, v in r.items() if k != "seconds"} for r in results]


def test_a_killed_run_is_resumed(tmp_path: Path) -> None:
    out, whole = tmp_path / "record.json", tmp_path / "whole.json"
    journal = tmp_path / "record.json.journal"
    running = subprocess.Popen(
        [*CHECK, "--json", str(out)], cwd=ROOT, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    deadline = time.monotonic() + 300
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 2):
        assert running.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert not out.exists()

    def run(*more: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*CHECK, *map(str, more)], cwd=ROOT, capture_output=True, text=True, timeout=600
        )

    kept = journal.read_bytes()
    other = run("--json", out, "--resume", "--seed", 5)
    assert (other.returncode, other.stderr.count("\n")) == (2, 1)
    assert "of another request" in other.stderr
    assert journal.read_bytes() == kept
    done = run("--json", out, "--resume")
    assert done.returncode == 0, done.stderr
    assert "float32: conforms" not in done.stderr  # it was judged before
    assert "float16: conforms" in done.stderr
    assert not journal.exists()
    assert run("--json", whole).returncode == 0
    assert _untimed(out) == _untimed(whole)


JOBS = [
    Job("t", None, f"t:{d}", "sgd", "sgd", d, {}, {"seed": 0})
    for d in ("float32", "float64", "bfloat16")
]


def _result(k: int) -> dict[str, Any]:
    """That of a job of which nothing came back, which has all that a result must have."""
    return json.loads(json.dumps({**lost(JOBS[k], "é\n"), "max_ratio": 0.5}))


def test_a_journal_cut_anywhere_loses_at_most_the_cut_line(tmp_path: Path) -> None:
    record = tmp_path / "r.json"
    journal = Journal(record, JOBS, resume=False)
    for k in (2, 0):
        journal.add(k, _result(k))
    data = journal.path.read_bytes()
    ends = [i + 1 for i, c in enumerate(data) if c == ord("\n")]
    for cut in range(ends[0], len(data) + 1):
        journal.path.write_bytes(data[:cut])
        again = Journal(record, JOBS, resume=True)
        whole = sum(cut >= end for end in ends[1:])
        assert again.found == {k: _result(k) for k in (2, 0)[:whole]}
        again.file.close()


@pytest.mark.parametrize(
    "text", ["", "[]\n", "{}\n", "\x80\n", '{"schema": "optconform/journal/1"']
)
def test_what_is_no_journal_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.json.journal").write_text(text)
    with pytest.raises(RequestError, match="leave --resume out"):
        Journal(tmp_path / "r.json", JOBS, resume=True)
    assert (tmp_path / "r.json.journal").read_text() == text


def _places(x: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in JSON."""
    yield at
    for k, v in x.items() if isinstance(x, dict) else enumerate(x) if isinstance(x, list) else ():
        yield from _places(v, (*at, k))


def _edited(x: Any, at: tuple[Any, ...], new: Any) -> Any:
    """JSON with something else in one place, or without it where that is MISSING."""
    if not at:
        return new
    made = copy.copy(x)
    made[at[0]] = _edited(x[at[0]], at[1:], new)
    if made[at[0]] is MISSING:
        del made[at[0]]
    return made


MISSING = object()
OTHERS = (None, 3, -1, 0.0, True, "x", "[]", [], {}, ["x"], [["x"]], {"x": 1}, MISSING)


def test_an_edited_line_is_refused_or_does_no_harm(tmp_path: Path) -> None:
    """Every value of a journal in turn replaced by values of every type."""
    journal = Journal(tmp_path / "r.json", JOBS, resume=False)
    journal.add(0, {**_result(0), "replayed": [["param"]]})
    header, line = journal.path.read_text().splitlines()
    entry = json.loads(line)
    assert entry["result"]["findings"][0]["kind"] == "crash"
    entry["result"]["findings"][0] |= {"kind": "numeric", "tensor": "param", "variant_match": {}}
    known = Divergence("k", "", "", "t:float32", "sgd", "float32", "run", "-")
    refused, taken = set(), set()
    for at in _places(entry):
        for new in OTHERS if at else OTHERS[:-1]:
            journal.path.write_text(f"{header}\n{json.dumps(_edited(entry, at, new))}\n")
            try:
                found = Journal(tmp_path / "r.json", JOBS, resume=True).found
            except RequestError as e:
                assert str(e).endswith("is no journal; leave --resume out to begin anew")
                refused.add(at)
                continue
            taken.add(at)
            made = record([settle(r, [known]) for r in found.values()], {"seconds": 0}, ["sgd"], {})
            cli._tell(json.loads(dumps(made)))
    needed = {"library", "version", "spec", "dtype", "claimed", "variant", "verdict", "checks"}
    assert {("place",), *(("result", n) for n in needed)} <= refused
    assert ("result", "regimes") in taken - refused  # reports are rendered from whatever it is
