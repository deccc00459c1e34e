"""The commands and the code of the pages for adopters and upgraders are those that work.

What they do is tested where it is run: ``test_pytest_plugin.py`` adopts by this page's code, and
``test_recording.py`` audits.
"""

from __future__ import annotations

import ast
import json
import re
import shlex
import tomllib
from pathlib import Path

import click
import pytest
from called import called

from optconform.cli import cli
from optconform.known import TEXTS
from optconform.pytest_plugin import OPTIONS
from optconform.reports import render_markdown

DOCS = Path(__file__).parent.parent / "docs"
PAGES = ("adopt.md", "audit.md", "campaign.md", "github-workflow.yml")


def _commands(page: str) -> list[list[str]]:
    """Every line that runs optconform or pytest, in words; folded lines of YAML joined."""
    text = (DOCS / page).read_text()
    if page.endswith(".yml"):
        text = re.sub(r"run: >-\n\s+", "run: ", text)
        text = re.sub(r"\n\s+--", " --", text)
        lines = re.findall(r"run: (.*)", text)
    else:
        lines = re.findall(r"^    ((?:optconform|pytest) .*)$", text, re.M)
    return [shlex.split(x) for x in lines if x.startswith(("optconform ", "pytest "))]


COMMANDS = [(page, words) for page in PAGES for words in _commands(page)]


def test_the_pages_have_commands() -> None:
    assert {page for page, _ in COMMANDS} == set(PAGES)
    named = {words[1] for _, words in COMMANDS if words[0] == "optconform"}
    assert named == {"check", "known", "audit", "record", "diff"}


@pytest.mark.parametrize("words", [w for _, w in COMMANDS if w[0] == "optconform"], ids=" ".join)
def test_every_command_is_understood(words: list[str]) -> None:
    command = cli.get_command(click.Context(cli), words[1])
    assert command is not None
    command.make_context(words[1], words[2:])  # UsageError otherwise


@pytest.mark.parametrize("words", [w for _, w in COMMANDS if w[0] == "pytest"], ids=" ".join)
def test_every_option_of_pytest_is_there(words: list[str], pytestconfig: pytest.Config) -> None:
    ours = [w for w in words if w.startswith("--optconform-")]
    assert ours
    assert {w.partition("=")[0].removeprefix("--optconform-") for w in ours} <= set(OPTIONS)
    for name in OPTIONS:
        assert pytestconfig.getoption(f"optconform_{name}") is None


def test_the_code_on_the_pages_is_python() -> None:
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / "adopt.md").read_text(), re.S)
    assert len(blocks) == 2
    for block in blocks:
        ast.parse(block)


def test_the_implementation_on_the_page_conforms(tmp_path: Path) -> None:
    """Copied as it is, saved under the name that the page gives it, and checked by its command."""
    page = (DOCS / "add-an-implementation.md").read_text()
    (block,) = re.findall(r"```python\n(.*?)```", page, re.S)
    (command,) = re.findall(r"^    optconform (check (\w+\.py):\w+)$", page, re.M)
    (tmp_path / command[1]).write_text(block)
    out = tmp_path / "record.json"
    done = called(*command[0].split(), "--examples", 8, "--json", out, cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {r["dtype"]: r for r in json.loads(out.read_text())["results"]}
    assert {d: r["verdict"] for d, r in found.items()} == {
        "float32": "conforms", "float64": "conforms", "float16": "conforms",
        "bfloat16": "unsupported",
    }  # fmt: skip
    assert {"param", "momentum_buffer"} <= set(found["float32"]["checks"]["tensors"])


def test_the_entry_on_the_page_is_one() -> None:
    (block,) = re.findall(r"```toml\n(.*?)```", (DOCS / "adopt.md").read_text(), re.S)
    (entry,) = tomllib.loads(block)["divergence"]
    assert tuple(entry) == TEXTS


def test_the_readme_shows_the_libraries_as_they_were_judged() -> None:
    """README's table is that of the committed summary, and the summary that of the record."""
    published = DOCS.parent / "reports/published"
    record = json.loads((published / "libraries.json").read_text("utf-8"))
    summary = (published / "libraries.md").read_text("utf-8")
    assert render_markdown(record) == summary
    table = summary[summary.index("| library |") :].partition("\n\n")[0]
    assert f"\n{table}\n" in (DOCS.parent / "README.md").read_text("utf-8")
    # every numeric finding was confirmed in ball arithmetic
    findings = [f for r in record["results"] for f in r["findings"] if f["kind"] == "numeric"]
    assert findings and all(f["confirmed"] for f in findings)


def test_the_readmes_figures_are_the_published_ones() -> None:
    published = DOCS.parent / "reports/published"
    readme = " ".join((DOCS.parent / "README.md").read_text("utf-8").split())
    programs = json.loads((published / "mutants.json").read_text("utf-8"))["programs"]
    killed, alike, survived = (
        sum(p[k] for p in programs) for k in ("killed", "equivalent", "survived")
    )
    assert survived == 0
    assert f"of {killed + alike:,} it killed {killed:,}" in readme
    assert f"the other {alike:,} have no effect, and none survived" in readme

    bugs = json.loads((published / "bugs.json").read_text("utf-8"))["cases"]
    bugs = [c for c in bugs if c["kind"] == "bug"]
    flagged = sum(c["optconform"]["flagged"] for c in bugs)
    rival = sum(c["assert_close"] == "caught" for c in bugs)
    assert f"Of {len(bugs)}, `optconform check` flags {flagged} at default settings" in readme
    assert f"under `assert_close` show {rival} " in readme

    dialects = json.loads((published / "dialects.json").read_text("utf-8"))["rows"]
    assert f"Of {len(dialects)} small optimizers" in readme
    assert {d["answer"] for d in dialects} <= {"named", "another name"}

    total = (published / "soundness.txt").read_text("utf-8").rpartition("\n\n")[2].split()[0]
    assert f"In {total} element-checks there was no alarm" in readme
