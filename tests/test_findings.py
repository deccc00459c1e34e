"""The ledger of findings: its scripts print what it says, as long as the library is the same."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

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


@pytest.mark.skipif(
    torch.__version__.split("+")[0] != "2.13.0", reason="the ledger is of torch 2.13.0"
)
@pytest.mark.parametrize("title", findings("torch"))
def test_a_script_prints_what_the_ledger_says(title: str) -> None:
    script, output = findings("torch")[title]
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120
    )
    assert done.stdout == output, done.stderr
