"""The ledger of findings: its scripts print what it says, as long as the library is the same."""

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

LEDGER = Path(__file__).parent.parent / "reports" / "published" / "FINDINGS.md"
FINDING = re.compile(r"^### (.+?)$.*?^```python\n(.*?)^```\n\n```text\n(.*?)^```", re.M | re.S)


def findings(library: str) -> dict[str, tuple[str, str]]:
    """Script and output of each finding in a library, by its heading."""
    text = LEDGER.read_text(encoding="utf-8")
    (section,) = re.findall(rf"^## {library}\b.*?(?=^## |\Z)", text, re.M | re.S)
    found = {title: (script, output) for title, script, output in FINDING.findall(section)}
    assert len(found) == section.count("\n### ")
    return found


def test_every_finding_has_a_script_and_its_output() -> None:
    libraries = re.findall(r"^## (\w+)", LEDGER.read_text(encoding="utf-8"), re.M)
    assert "torch" in libraries
    for library in libraries:
        for title, (script, output) in findings(library).items():
            assert "optconform" not in script, title
            assert output, title


DISTRIBUTIONS = {
    "torch_optimizer": "torch-optimizer",
    "optimi": "torch-optimi",
    "TensorFlow": "tensorflow-cpu",
}


def _scripts() -> list[tuple[str, str, str]]:
    """Library, version and title of every finding."""
    text = LEDGER.read_text(encoding="utf-8")
    return [
        (library, version, title)
        for library, version in re.findall(r"^## (\w+) ([\d.]+)", text, re.M)
        for title in findings(library)
    ]


@pytest.mark.parametrize("library, version, title", _scripts())
def test_a_script_prints_what_the_ledger_says(library: str, version: str, title: str) -> None:
    distribution = DISTRIBUTIONS.get(library, library.lower())
    try:
        installed = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{distribution} is not installed")
    if installed.split("+")[0] != version:
        pytest.skip(f"the ledger is of {library} {version}")
    if library == "tinygrad" and shutil.which(os.environ.get("CC", "clang")) is None:
        pytest.skip("tinygrad needs clang")
    script, output = findings(library)[title]
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == output, done.stderr
