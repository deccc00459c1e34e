"""optconform in somebody else's pytest suite: a small library, in an environment of its own."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import overlay
import pytest

LIBRARY = (Path(__file__).parent / "subjects/thirdparty/smallopt.py").read_text()
FIXED = LIBRARY.replace('(v_hat + group["eps"]).sqrt()', 'v_hat.sqrt() + group["eps"]')

PAGE = (Path(__file__).parent.parent / "docs/adopt.md").read_text()
SUITE = re.findall(r"```python\n(.*?)```", PAGE, re.S)[0].replace("mylib", "smallopt")
"""The lines that the page documents."""

FAULT = "follows eps = inside, claims eps = outside"

Outcomes = dict[str, str]


class Adopter:
    """A folder with the library's tests, and the environment that they run in."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.python = overlay.environment(folder / "environment")
        self.known = folder / "known-divergences.toml"
        self.release(LIBRARY)
        self.suite()

    def release(self, text: str) -> None:
        file = overlay.wheel(self.folder, "smallopt", "1.0", {"smallopt": text})
        overlay.install(self.python, file)

    def suite(self, more: str = "") -> None:
        text = SUITE.replace("SGD)", "SGD, dtypes=['float32'])")
        text = text.replace('spec="adamw")', f'spec="adamw", dtypes=["float32"]{more})')
        assert text.count("float32") == 2
        (self.folder / "test_smallopt.py").write_text(text)

    def pytest(self, *options: str) -> tuple[int, str, Outcomes]:
        """Exit status, output, and the outcome of every item."""
        junit = self.folder / "junit.xml"
        done = subprocess.run(
            [self.python, "-m", "pytest", "-p", "no:cacheprovider", "--junitxml", str(junit),
             "--optconform-examples", "6", "--hypothesis-profile", "ci", *options],
            cwd=self.folder, capture_output=True, text=True, timeout=600,
        )  # fmt: skip
        assert junit.exists(), done.stdout + done.stderr
        outcomes = {}
        for case in ElementTree.parse(junit).iter("testcase"):
            child = next((c for c in case if c.tag in ("failure", "skipped", "error")), None)
            kind = "passed" if child is None else child.get("type") or child.tag
            name = f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}"
            outcomes[name] = kind.removeprefix("pytest.")
        return done.returncode, done.stdout + done.stderr, outcomes


@pytest.fixture(scope="module")
def adopter(tmp_path_factory: pytest.TempPathFactory) -> Adopter:
    return Adopter(tmp_path_factory.mktemp("adopter"))


@pytest.fixture(scope="module")
def first(adopter: Adopter) -> tuple[int, str, Outcomes]:
    """The first run, on two processes."""
    return adopter.pytest(
        "-n", "2", "--optconform-report=report.html", "--optconform-json=record.json"
    )


def failures(outcomes: Outcomes) -> list[str]:
    return [n for n, o in outcomes.items() if o not in ("passed", "skip", "skipped", "xfail")]


def test_one_fault_is_one_failure(first: tuple[int, str, Outcomes]) -> None:
    status, output, outcomes = first
    assert status == 1
    assert failures(outcomes) == ["TestAdamW::test_equation[float32-param]"], output
    for right in (
        "TestSGD::test_equation[float32-param]",
        "TestSGD::test_run[float32]",
        "TestSGD::test_contract[float32-none-gradient]",
        "TestSGD::test_contract[float32-determinism]",
        "TestAdamW::test_equation[float32-exp_avg]",
        "TestAdamW::test_equation[float32-exp_avg_sq]",
        "TestAdamW::test_run[float32]",
    ):
        assert outcomes[right] == "passed", right
    assert "TestAdamW::test_equation[float32-max_exp_avg_sq]" not in outcomes  # it has no amsgrad


def test_the_items_of_a_dtype_stand_together(adopter: Adopter) -> None:
    (adopter.folder / "order").mkdir()
    suite = "from optconform.testing import conformance_tests\n"
    suite += "TestSGD = conformance_tests('reference:SGD', dtypes=['float32', 'float64'])\n"
    (adopter.folder / "order" / "test_order.py").write_text(suite)
    done = subprocess.run(
        [adopter.python, "-m", "pytest", "--collect-only", "-q", "order"],
        cwd=adopter.folder, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    found = re.findall(r"::test_\w+\[(float\d\d)", done.stdout)
    assert set(found) == {"float32", "float64"}, done.stdout + done.stderr
    assert found == sorted(found)


def test_the_failure_explains_itself(first: tuple[int, str, Outcomes]) -> None:
    output = first[1]
    start = output.index("smallopt:AdamW (adamw, float32)")
    told = output[start : output.index("short test summary")]
    assert FAULT in told.splitlines()[0]
    for part in ("equation  p ←", "The smallest scenario:", "from smallopt import AdamW",
                 "[[divergence]]", f'says = "{FAULT}"'):  # fmt: skip
        assert part in told
    assert "Traceback" not in output
    assert "optconform/" not in told
    assert "conformance/" not in told


def test_the_reports_hold_every_cell_once(
    adopter: Adopter, first: tuple[int, str, Outcomes]
) -> None:
    data = json.loads((adopter.folder / "record.json").read_text())
    assert data["schema"] == "optconform/report/1"
    cells = [(r["implementation"], r["verdict"]) for r in data["results"]]
    assert cells == [("smallopt:AdamW", "variant"), ("smallopt:SGD", "conforms")]
    assert all(r["version"] == "1.0" for r in data["results"])
    page = (adopter.folder / "report.html").read_text()
    assert "smallopt:AdamW" in page
    (finding,) = data["results"][0]["findings"]
    done = subprocess.run(
        [adopter.python, "-c", finding["repro"]], capture_output=True, text=True, cwd=adopter.folder
    )
    assert str(finding["observed"]) in done.stdout, done.stderr


def test_known_then_fixed(adopter: Adopter, first: tuple[int, str, Outcomes]) -> None:
    """What has an issue no longer fails the suite; once it is fixed, the entry does."""
    issue = "https://example.org/issues/7"
    subprocess.run(
        [adopter.python, "-m", "optconform.cli", "known", "record.json", "--issue", issue,
         "-o", adopter.known.name],
        cwd=adopter.folder, check=True, capture_output=True,
    )  # fmt: skip
    text = adopter.known.read_text()
    gone = text.replace("AdamW", "Gone").replace("adamw-", "gone-").replace('"adamw"', '"adam"')
    adopter.known.write_text(text + "\n" + gone)
    adopter.suite(f", known={adopter.known.name!r}")
    status, output, outcomes = adopter.pytest()
    assert (status, failures(outcomes)) == (0, []), output
    assert outcomes["TestAdamW::test_equation[float32-param]"] == "xfail"
    assert "is about nothing that was judged: smallopt:Gone" in output

    adopter.release(FIXED)
    status, output, outcomes = adopter.pytest("-k", "AdamW")
    assert failures(outcomes) == ["TestAdamW::test_equation[float32-param]"], output
    assert f"({issue}) no longer occurs; take it out of the file" in output


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--optconform-examples=0"], "must be at least 1"),
        (["--optconform-report=nowhere/at/all.html"], "cannot write nowhere/at/all.html"),
        (["--optconform-known=missing.toml"], "cannot read missing.toml"),
    ],
)
def test_bad_options_are_one_line(tmp_path: Path, options: list[str], sentence: str) -> None:
    (tmp_path / "test_it.py").write_text("def test_nothing():\n    pass\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 4
    said = [line for line in (done.stdout + done.stderr).splitlines() if sentence in line]
    assert len(said) == 1
    assert "Traceback" not in done.stdout + done.stderr


def test_the_profiles_of_an_adopter_are_its_own(tmp_path: Path) -> None:
    """Whatever a library calls the profiles of its own tests, they hold."""
    lines = "from hypothesis import settings\nsettings.register_profile('dev', max_examples=7)\n"
    (tmp_path / "conftest.py").write_text(lines)
    (tmp_path / "test_it.py").write_text(
        "from hypothesis import settings\n"
        "def test_seven():\n"
        "    assert settings().max_examples == 7\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--hypothesis-profile", "dev"],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


TWO = """
from optconform.interpreter import Interpreted, machine
from optconform.spec_file import load
from optconform.testing import conformance_tests

spec = load("sgd")
right = Interpreted(machine(spec, {}), "mylib:SGD")
wrong = Interpreted(machine(spec, {"decay": "decoupled"}), "mylib:SGD")
TestRight = conformance_tests(right, spec="sgd", dtypes=["float32"])
TestAgain = conformance_tests(right, spec="sgd", dtypes=["float32"])
TestWrong = conformance_tests(%s, spec="sgd", variant={"decay": "l2"}, dtypes=["float32"])
"""


@pytest.mark.parametrize(
    ("third", "options", "status"),
    [("wrong", [], 4), ("wrong", ["-n", "2", "-k", "Wrong"], 1), ("right", ["--collect-only"], 0)],
)
def test_two_implementations_have_two_names(
    tmp_path: Path, third: str, options: list[str], status: int
) -> None:
    """One would get the verdict of the other."""
    (tmp_path / "test_it.py").write_text(TWO % third)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options],
        cwd=tmp_path, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    said = done.stdout + done.stderr
    told = "two different implementations are called 'mylib:SGD'; give each a name of its own"
    assert (done.returncode, told in said) == (status, third == "wrong"), said
    assert "passed" not in said and "Traceback" not in said


RAISES = """
import torch
from optconform.testing import conformance_tests

class Raises(torch.optim.SGD):
    def step(self, closure=None):
        raise ValueError("not today")

TestRaises = conformance_tests(Raises, spec="sgd", dtypes=["float32"], examples=2)
def test_nothing():
    pass
"""

ENTRY = """
[[divergence]]
id = "{id}"
issue = "https://example.org/issues/7"
implementation = "test_it:{subject}"
spec = "sgd"
dtype = "float32"
check = "run"
says = "step #: raised ValueError: not today"
"""


def ours(folder: Path, *options: str) -> tuple[int, str]:
    """Exit status and output of pytest in ``folder``; nothing it does ends in a traceback."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--hypothesis-profile", "ci",
         "-rfsx", *options],
        cwd=folder, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    said = done.stdout + done.stderr
    assert "INTERNALERROR" not in said and "Traceback" not in said, said
    return done.returncode, said


@pytest.fixture
def raising(tmp_path: Path) -> Path:
    """A folder with a subject that raises, which is known, and an entry about nothing."""
    (tmp_path / "test_it.py").write_text(RAISES)
    known = ENTRY.format(id="there", subject="Raises") + ENTRY.format(id="gone", subject="Gone")
    (tmp_path / "known.toml").write_text(known)
    return tmp_path


@pytest.mark.parametrize("options", [[], ["-n", "2"]])
def test_an_entry_about_nothing_is_a_warning_where_warnings_are_errors(
    raising: Path, options: list[str]
) -> None:
    (raising / "pytest.ini").write_text("[pytest]\nfilterwarnings = error\n")
    status, said = ours(raising, "--optconform-known=known.toml", *options)
    assert status == 0, said
    assert "XFAIL" in said
    assert (
        said.count("known divergence 'gone' (https://example.org/issues/7) is about nothing") == 1
    )


def test_what_was_not_selected_is_not_warned_of(raising: Path) -> None:
    """A node id leaves out what an entry may be about; -k, or a plugin that comes first, only what
    was seen to be there."""
    known = "--optconform-known=known.toml"
    assert "about nothing" not in ours(raising, known, "test_it.py::TestRaises::test_run")[1]
    (raising / "conftest.py").write_text(
        "import pytest\n"
        "@pytest.hookimpl(tryfirst=True)\n"
        "def pytest_collection_modifyitems(items):\n"
        "    items[:] = [i for i in items if 'Raises' not in i.nodeid or 'param]' in i.nodeid]\n"
    )
    more = RAISES.partition("def test_nothing")[0].replace("Raises", "Gone")
    (raising / "test_more.py").write_text(more)
    gone = (raising / "known.toml").read_text().replace("test_it:Gone", "test_more:Gone")
    (raising / "known.toml").write_text(gone)
    status, said = ours(raising, known, "-k", "TestRaises")
    assert (status, "about nothing" in said) == (0, False), said


def test_a_known_divergence_fails_where_xfail_is_off(raising: Path) -> None:
    status, said = ours(raising, "--optconform-known=known.toml", "--runxfail")
    assert status == 1
    assert "test_it:Raises (sgd, float32): step 1: raised ValueError: not today" in said
    assert "It is known: https://example.org/issues/7" in said
    assert "FAILED test_it.py::TestRaises::test_run[float32]" in said


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--optconform-json=/proc/x.json"], "cannot write /proc/x.json"),
        (["--optconform-json=" + "n" * 300], "cannot write nnn"),
        (["--optconform-report=a", "--optconform-json=./a"], "a would be written twice"),
        (
            ["--optconform-known=known.toml", "--optconform-json=known.toml"],
            "known.toml is read, and would be written over",
        ),
    ],
)
def test_files_are_looked_at_first(raising: Path, options: list[str], sentence: str) -> None:
    status, said = ours(raising, *options)
    assert (status, said.count(sentence)) == (4, 1), said


@pytest.mark.parametrize("options", [[], ["-n", "2"]])
@pytest.mark.parametrize("name", ["known.toml", "toy.toml", "test_it.py"])
def test_what_a_test_class_was_made_from_is_not_written_over(
    raising: Path, name: str, options: list[str]
) -> None:
    """Nothing is judged, neither here nor by the workers of pytest-xdist."""
    (raising / "toy.toml").write_text('extends = "sgd"\nname = "toy"\ntitle = "t"\ncite = "c"\n')
    made = RAISES.replace('spec="sgd"', 'spec="toy.toml", known="known.toml"')
    (raising / "test_it.py").write_text(made)
    before = {p.name: p.read_text() for p in raising.iterdir()}
    status, said = ours(raising, f"--optconform-json={name}", *options)
    assert status == (1 if options else 4), said
    assert f"{name} is read, and would be written over" in said
    assert {p.name: p.read_text() for p in raising.iterdir() if p.is_file()} == before


def test_a_known_file_in_the_configuration_is_beside_it(raising: Path) -> None:
    (raising / "pytest.ini").write_text("[pytest]\naddopts = --optconform-known=known.toml\n")
    (raising / "below").mkdir()
    (raising / "test_it.py").rename(raising / "below" / "test_it.py")
    status, said = ours(raising / "below")
    assert (status, "XFAIL" in said) == (0, True), said


DEVICES = """
import pytest, torch
from optconform.testing import conformance_tests

class Plain(torch.optim.SGD):
    pass

class Leaves(torch.optim.SGD):
    def step(self, closure=None):
        torch.set_default_device("meta:1")
        return super().step(closure)

class Skips(torch.optim.SGD):
    def step(self, closure=None):
        pytest.skip("no time")

class Exits(torch.optim.SGD):
    def __init__(self, *a, **k):
        pytest.exit("no time at all", returncode=0)

given = {"spec": "sgd", "dtypes": ["float32"], "examples": 2}
TestPlain = conformance_tests(Plain, **given)
TestLeaves = conformance_tests(Leaves, **given)
TestSkips = conformance_tests(Skips, **given)
TestExits = conformance_tests(Exits, **given)

def test_after():
    assert torch.tensor([1.0]).device.type == "meta"
"""


def test_judging_is_on_the_cpu_and_the_device_is_given_back(tmp_path: Path) -> None:
    """Whatever device the adopter's tests make their tensors on, and whatever a subject leaves."""
    (tmp_path / "conftest.py").write_text("import torch\ntorch.set_default_device('meta')\n")
    (tmp_path / "test_it.py").write_text(DEVICES)
    status, said = ours(tmp_path, "-k", "Plain or Leaves or after")
    failed = re.findall(r"^FAILED test_it.py::(\S+)", said, re.M)
    assert status == 1
    assert not [f for f in failed if not f.startswith("TestLeaves")], said
    assert "TestLeaves::test_contract[float32-surroundings]" in failed
    assert "it changed torch's default device (cpu before, meta" in said


def test_a_subject_cannot_skip_its_own_judgement(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(DEVICES)
    status, said = ours(tmp_path, "-k", "Skips or Exits")
    assert status == 1
    assert "test_it:Skips (sgd, float32): step 1: raised Skipped: no time" in said
    assert "test_it:Exits (sgd, float32): construction: raised Exit: no time at all" in said
