"""Text of a subject is printed and written, whatever it holds, and misleads nobody."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from optconform import cli, known
from optconform.adopting import known_command
from optconform.known import Divergence
from optconform.record import plain

ROOT = Path(__file__).parent.parent

SAYS = "half a pair \ud800, \x1b[2J\x1b]0;owned\x07 and \u202eback"
SEEN = "half a pair \\ud800, \\u001b[2J\\u001b]0;owned\\u0007 and \\u202eback"

LIBRARY = """\
import torch


class SGD(torch.optim.SGD):
    def step(self, closure=None):
        %s
        return super().step(closure)
"""


def run(folder: Path, *arguments: str) -> tuple[int, str]:
    """Exit status and output of a process of its own, to which a terminal would be real."""
    done = subprocess.run(
        [sys.executable, "-m", "optconform.cli", *arguments],
        cwd=folder, capture_output=True, timeout=600,
    )  # fmt: skip
    return done.returncode, (done.stdout + done.stderr).decode("utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("odd")
    (made / "odd.py").write_text(LIBRARY % f"raise RuntimeError({SAYS!a})")
    return made


def test_check_tells_and_writes_it(folder: Path) -> None:
    files = ("--json", "r.json", "--html", "r.html", "--markdown", "r.md")
    few = ("--dtype", "float32", "--examples", "2")
    status, said = run(folder, "check", "odd.py:SGD", *few, *files)
    assert status == 1
    assert SEEN in said and "Traceback" not in said and "\x1b" not in said
    (result,) = json.loads((folder / "r.json").read_text("utf-8"))["results"]
    assert SEEN in result["findings"][0]["summary"]
    for name in ("r.html", "r.md"):
        text = (folder / name).read_bytes().decode("utf-8")
        assert "u001b" in text and "ud800" in text and "\x1b" not in text
    status, said = run(folder, "known", "r.json")
    assert (status, "Traceback" in said) == (0, False)


def test_diff_tells_and_writes_it(folder: Path) -> None:
    few = ("--dtype", "float32")
    assert run(folder, "record", "odd.py:SGD", "-o", "after", *few)[0] == 0
    bad = (folder / "odd.py").read_text()
    (folder / "odd.py").write_text(LIBRARY % "pass")
    assert run(folder, "record", "odd.py:SGD", "-o", "before", *few)[0] == 0
    (folder / "odd.py").write_text(bad)
    files = ("--json", "d.json", "--html", "d.html", "--markdown", "d.md")
    status, said = run(folder, "diff", "before", "after", *files)
    assert status == 1
    assert SEEN in said and "Traceback" not in said and "\x1b" not in said
    for name in ("d.json", "d.html", "d.md"):
        text = (folder / name).read_bytes().decode("utf-8")
        assert "u001b" in text and "\x1b" not in text


def test_the_files_are_written_before_anything_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hang_up(made: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(cli, "_tell", hang_up)
    out = tmp_path / "record.json"
    check = ["check", "reference:SGD", "--dtype", "float32", "--examples", "1", "--json", str(out)]
    with pytest.raises((OSError, SystemExit)):
        cli.main(check)
    assert json.loads(out.read_text())["results"][0]["verdict"] in ("conforms", "undecided")


@pytest.mark.parametrize(
    ("command", "name", "status"),
    [("check", "SGD", 0), ("check", "SgdSignFlipped", 1), ("identify", "SGD", 0)],
)
def test_a_reader_who_goes_changes_no_status(
    command: str, name: str, status: int, tmp_path: Path
) -> None:
    """As in ``optconform check ... | head -1``."""
    out = tmp_path / "answer.json"
    asked = [f"tests/subjects/wrong.py:{name}", "--examples", "2", "--json", str(out)]
    asked += ["--dtype", "float32"] if command == "check" else []
    process = subprocess.Popen(
        [sys.executable, "-m", "optconform.cli", command, *asked],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()
    _, told = process.communicate(timeout=300)
    assert "Traceback" not in told and "Exception" not in told
    assert process.returncode == status
    assert json.loads(out.read_text())


def test_a_known_divergence_may_say_it() -> None:
    """In an entry that was written by hand, or before records were made visible, as in others."""
    told = {"kind": "crash", "check": "run", "summary": f"raised {SAYS}"}
    entry = Divergence("x", "", "", "lib:SGD", "sgd", "float32", "run", known.reason_of(told))
    assert entry.is_about(told) and entry.is_about(plain(told))


def test_a_record_of_others_may_hold_it(tmp_path: Path) -> None:
    finding = {"kind": "crash", "check": "run", "summary": SAYS, "scenario": None}
    result = {
        "implementation": SAYS, "spec": "sgd", "dtype": "float32", "version": "1",
        "findings": [finding],
    }  # fmt: skip
    path, out = tmp_path / "record.json", tmp_path / "known.toml"
    path.write_text(json.dumps({"schema": "optconform/report/1", "results": [result]}))
    known_command.main([str(path), "-o", str(out)], standalone_mode=False)
    (entry,) = known.read(out)
    assert entry.implementation == SEEN
