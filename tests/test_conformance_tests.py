"""What ``conformance_tests`` is given, before anything is judged."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from optconform.errors import RequestError
from optconform.testing import conformance_tests

SPEC = """
name = "toy"
title = "Toy"
cite = "nobody"
[hyper]
lr = { default = 0.1, domain = "[0, inf)" }
[step]
p = "p - lr * grad"
"""

SUITE = """
from optconform.testing import conformance_tests
from optconform.impls.reference import SGD
TestSGD = conformance_tests(SGD, spec=%r, dtypes=["float32"])
"""


def suite(folder: Path, spec: str) -> Any:
    """A test file of an adopter in ``folder``, imported from elsewhere."""
    path = folder / "test_toy.py"
    path.write_text(SUITE % spec)
    found = importlib.util.spec_from_file_location("test_toy", path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_a_spec_lies_beside_its_test_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "suite").mkdir()
    (tmp_path / "suite" / "toy.toml").write_text(SPEC)
    monkeypatch.chdir(tmp_path)
    for spec in ("toy.toml", str(tmp_path / "suite" / "toy.toml"), "sgd"):
        assert suite(tmp_path / "suite", spec).TestSGD.test_run is not None
    with pytest.raises(RequestError, match=r"suite/missing\.toml"):
        suite(tmp_path / "suite", "missing.toml")


def test_no_dtype_is_refused() -> None:
    with pytest.raises(RequestError, match="dtypes is empty"):
        conformance_tests("reference:SGD", dtypes=[])
