"""``--rows FILE`` keeps what the benchmarks of the generated optimizers print, as JSON: the machine
and a row for each line.  ``benchmarks/plot.py`` draws it."""

from __future__ import annotations

import json
import platform
from pathlib import Path

import pytest
import torch

ROWS: pytest.StashKey[list[dict[str, object]]] = pytest.StashKey()


def pytest_addoption(parser):
    parser.addoption("--rows", metavar="FILE", help="the JSON file to write")


def pytest_configure(config):
    config.stash[ROWS] = []


@pytest.fixture
def keep(request):
    """Prints a line and keeps the row that it tells."""

    def keep(line: str, **row: object) -> None:
        print(f"\n{line}")
        request.config.stash[ROWS].append(row)

    return keep


def pytest_sessionfinish(session):
    file, rows = session.config.getoption("--rows"), session.config.stash[ROWS]
    if file and rows:
        found = {"machine": machine(), "rows": rows}
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        Path(file).write_text(json.dumps(found, indent=1, allow_nan=False) + "\n")


def machine() -> dict[str, str]:
    """What the figures hang on."""
    told = {
        "python": platform.python_version(),
        "platform": f"{platform.system()}-{platform.machine()}",
        "torch": torch.__version__,
    }
    if torch.cuda.is_available():
        from cuda.bindings import driver

        _, version = driver.cuDriverGetVersion()
        told |= {
            "device": torch.cuda.get_device_name(),
            "driver": f"CUDA {version // 1000}.{version % 1000 // 10}",
            "cuda": str(torch.version.cuda),
        }
    return told
