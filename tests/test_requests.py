"""Requests that cannot be carried out: one clear line, exit status 2, nothing written."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from called import called
from subjects import malformed

from optconform import cli, listing
from optconform.errors import RequestError
from optconform.implementation import resolve
from optconform.testing import conformance_tests

ROOT = Path(__file__).parent.parent
SUBJECTS = "tests/subjects"
SGD = f"{SUBJECTS}/wrong.py:SGD"

GOOD = """\
name = "toy"
title = "Toy"
cite = "nobody"
[hyper]
lr = { default = 0.1, domain = "[0, inf)" }
[state]
m = { init = 0 }
[step]
m = "m + grad"
p = "p - lr * m"
"""


RATE = 'rate = { default = 0.5, domain = "[0, inf)" }\n'

PLAIN = """\
import torch


class Plain(torch.optim.Optimizer):
    def __init__(self, params, lr=1e-3, weight_decay=0.0, nesterov=False, maximize=False):
        super().__init__(params, {"lr": lr, "nesterov": nesterov, "maximize": maximize})
"""


def refused(*arguments: object) -> str:
    """The one line that a refused request prints."""
    done = called(*arguments)
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    assert done.stderr.startswith("optconform: ")
    assert done.stderr.endswith("\n")
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([SGD, "--variant", "decay=l2", "--variant", "decay=none"], "decay is given twice, as l2"),
        ([SGD, "--hyper", "lr=1", "--hyper", "lr=2"], "lr is given twice, as 1.0 and as 2.0"),
        (["torch.optim:NoSuch"], "NoSuch"),
        (["torch.optim:"], "torch.optim:"),
        ([":Adam"], ":Adam"),
        (["torch.optim.nothere:Adam"], "nothere"),
        (["torch:Tensor"], "--spec"),
        (["torch.optim:RAdam", "--dtype", "float32"], "RAdam"),
        (["torch:pi", "--spec", "sgd"], "pi"),
        (["nolibrary"], "nolibrary"),
        (["nomodule:Adam"], "nomodule"),
        ([f"{SUBJECTS}/missing.py:Adam"], "missing.py"),
        ([f"{SUBJECTS}:Adam"], "subjects"),
        ([f"{SUBJECTS}/wrong.py:NoSuch"], "NoSuch"),
        ([f"{SUBJECTS}/raises_on_import.py:Adam"], "not ready"),
        ([f"{SUBJECTS}/exits_on_import.py:Adam"], "exit status 7"),
        ([SGD, "--spec", "nospec"], "nospec"),
        ([SGD, "--spec", "nospec.toml"], "nospec.toml"),
        ([SGD, "--variant", "noaxis=inside"], "noaxis"),
        ([SGD, "--variant", "decay=novalue"], "novalue"),
        ([SGD, "--variant", "decay"], "AXIS=VALUE"),
        ([SGD, "--variant", "decay_order=after"], "needs decay"),
        ([SGD, "--dtype", "float8"], "float8"),
        ([SGD, "--hyper", "nohyper=1"], "nohyper"),
        ([SGD, "--hyper", "lr=-1"], "domain"),
        ([SGD, "--hyper", "lr=1e999"], "domain"),
        ([SGD, "--hyper", "lr=__import__('os')"], "literal"),
        ([SGD, "--hyper", "lr='a'"], "number"),
        ([SGD, "--hyper", "lr=" + "9" * 400], "larger than any double"),
        ([SGD, "--hyper", "lr={[]: 1}"], "literal"),
        ([SGD, "--hyper", "lr=True"], "number"),
        ([SGD, "--hyper", "nesterov=1"], "nesterov"),
        ([SGD, "--hyper", "lr"], "NAME=VALUE"),
        ([SGD, "--hyper", "nesterov=True", "--hyper", "momentum=0"], "requires"),
        ([f"{SUBJECTS}/wrong.py:Adam", "--hyper", "betas=0.9"], "betas"),
        ([f"{SUBJECTS}/wrong.py:Adam", "--hyper", "betas=(0.9, 1)"], "domain"),
        ([SGD, "--examples", "0"], "examples"),
        ([SGD.partition(":")[0]], "is a file; name a class in it"),
        ([SGD, "--timeout", "0"], "timeout"),
        ([SGD, "--timeout", "nan"], "timeout"),
        ([SGD, "--memory", "nan"], "memory"),
        ([SGD, "--markdown", "one.md", "--html", "one.md"], "one.md would be written twice"),
        ([SGD, "--seed", "x"], "seed"),
        ([SGD, "--nooption"], "nooption"),
        ([], "TARGET"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_a_bad_request_is_refused(arguments: list[str], said: str, tmp_path: Path) -> None:
    assert said in refused("check", *arguments, "--json", tmp_path / "record.json")
    assert list(tmp_path.iterdir()) == []


def test_a_process_of_its_own_says_the_same() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "optconform.cli", "check", "torch.optim:NoSuch"],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == refused("check", "torch.optim:NoSuch")


@pytest.mark.parametrize("option", ["--json", "--html", "--markdown"])
def test_an_output_must_have_a_folder(option: str, tmp_path: Path) -> None:
    assert "nofolder" in refused("check", SGD, option, tmp_path / "nofolder" / "out")
    assert "folder" in refused("check", SGD, option, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--json", "--html", "--markdown"])
def test_an_output_is_tried_first(option: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "implementations_of", lambda *_, **__: pytest.fail("it was run"))
    assert "cannot write /proc/x.html" in refused("check", SGD, option, "/proc/x.html")


def report_to(out: Path) -> None:
    done = called("report", ROOT / "tests/data/record-sample.json", "--markdown", out)
    assert done.returncode == 0, done.stderr


def test_what_is_written_keeps_its_place(tmp_path: Path) -> None:
    """A link stays a link, a file its mode, and nothing else of the folder is touched."""
    (tmp_path / "old.md").write_text("old")
    (tmp_path / "old.md").chmod(0o640)
    (tmp_path / "link.md").symlink_to("old.md")
    (tmp_path / "old.md.part").write_text("precious")
    report_to(tmp_path / "link.md")
    assert (tmp_path / "link.md").is_symlink()
    assert "examplelib" in (tmp_path / "old.md").read_text()
    assert stat.S_IMODE((tmp_path / "old.md").stat().st_mode) == 0o640
    assert (tmp_path / "old.md.part").read_text() == "precious"
    assert len(list(tmp_path.iterdir())) == 3


def test_a_pipe_is_written_to(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit((tmp_path / "pipe").read_text)
        report_to(tmp_path / "pipe")
        assert "examplelib" in read.result(60)
    assert (tmp_path / "pipe").is_fifo()


def test_a_link_to_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nofolder/out")
    assert "nofolder" in refused("check", SGD, "--json", tmp_path / "link")


def test_what_is_read_is_not_written_over(tmp_path: Path) -> None:
    spec = tmp_path / "toy.toml"
    spec.write_text(GOOD)
    subject = tmp_path / "subject.py"
    subject.write_text("import torch\n\n\nclass SGD(torch.optim.SGD):\n    pass\n")
    record = tmp_path / "record.json"
    record.write_text("{}")
    before = {p: p.read_text() for p in tmp_path.iterdir()}
    for arguments in (
        ["check", f"{subject}:SGD", "--json", subject],
        ["check", f"{subject}:SGD", "--spec", spec, "--html", spec],
        ["check", f"{subject}:SGD", "--known", record, "--json", record],
        ["identify", f"{subject}:SGD", "--json", subject],
        ["compare", spec, "sgd", "--json", spec],
        ["mutants", spec, "--json", spec],
        ["report", record, "-o", record],
        ["known", record, "-o", record],
    ):
        assert "is read, and would be written over" in refused(*arguments)
    assert {p: p.read_text() for p in tmp_path.iterdir()} == before


def test_what_cannot_be_drawn_is_refused(tmp_path: Path) -> None:
    """Before anything is run: with what is asked for, or with what the class fixes."""
    spec = tmp_path / "toy.toml"
    spec.write_text('requires = ["rate >= lr"]\n' + GOOD.replace("[state]", RATE + "[state]"))
    subject = ROOT / "tests" / "subjects" / "faithful.py"
    said = refused("check", f"{subject}:SGD", "--spec", spec, "--hyper", "lr=2.0")
    assert "requires rate >= lr; the request has lr = 2.0, and no value that is drawn" in said
    plain = tmp_path / "plain.py"
    plain.write_text(PLAIN)
    said = refused("check", f"{plain}:Plain", "--spec", "sgd", "--hyper", "nesterov=True")
    assert "plain.py:Plain has dampening = 0.0, momentum = 0.0, nesterov = True" in said


def test_a_disk_that_fails_later_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(name: str) -> None:
        raise OSError(28, "No space left on device", name)

    monkeypatch.setattr(cli, "load", full)
    assert refused("show", "adam") == "optconform: adam: No space left on device\n"


def test_identify_and_show_refuse_alike(tmp_path: Path) -> None:
    out = ("--json", tmp_path / "answer.json")
    assert "NoSuch" in refused("identify", "torch.optim:NoSuch", *out)
    assert "nohyper" in refused("identify", SGD, "--hyper", "nohyper=1", *out)
    assert "nofolder" in refused("identify", SGD, "--json", tmp_path / "nofolder" / "a.json")
    assert "nospec" in refused("show", "nospec")
    assert "noaxis" in refused("show", "adam", "--variant", "noaxis=x")
    assert "nothing" in refused("list", "nothing")
    assert list(tmp_path.iterdir()) == []


# ---- what implementations say of themselves --------------------------------------------------

MALFORMED = {
    "name_number": "name is 3, and must be a text that is not empty",
    "name_empty": "name is ' ', and must be a text that is not empty",
    "name_raises": "name raised ValueError: not today",
    "library_none": "library is None, and must be a text",
    "version_tuple": "version is (1, 0), and must be a text",
    "spec_none": "spec is None, and must be the name of a spec or the path of a .toml file",
    "spec_unknown": "spec: unknown spec 'nospec'; the specs are: ",
    "spec_file": "spec: cannot read the spec nospec.toml: ",
    "variant_text": "variant is 'decay', and must be a mapping of axes to their values",
    "variant_number": "variant is {'decay': 3}, and must be a mapping of axes to their values",
    "variant_axis": "variant: spec sgd has no axis 'noaxis'; its axes are: ",
    "variant_value": "variant: axis decay of spec sgd has no value 'novalue'; choose from ",
    "variant_needs": "variant: decay_order=after of spec sgd needs decay to be ",
    "slow_text": "slow is 'no', and must be True or False",
    "slow_missing": "it has no 'slow'",
    "fixed_none": "fixed is None, and must be a method",
    "fixed_raises": "fixed() raised ValueError: not today",
    "fixed_list": "fixed() gives ['lr'], and not a mapping",
    "fixed_unknown": "fixed() names 'rate', and knows only lr, momentum, ",
    "fixed_outside": "fixed(): lr = -1.0 is outside its domain [0, inf)",
    "changeable_raises": "changeable() raised ValueError: not today",
    "changeable_text": "changeable() gives 'lr', and not a sequence of names",
    "changeable_unknown": "changeable() names 'rate', and knows only lr, momentum, ",
    "lacks_text": "lacks is 'groups', and must be a collection of names",
    "lacks_unknown": "lacks names 'group', and knows only groups, add-group, ",
    "clock_unknown": "clock is 'nonsense', and must be 'parameter' or 'optimizer'",
    "world_number": "world is 3, and must be a text",
    "silent_text": "silent is 'decay', and must be a collection of axes",
    "keywords_dict": "keywords is {}, and must be a method",
    "long": "…, and must be True or False",
    "Right": "is a class of implementations; name an object of it",
}
"""What tests/subjects/malformed.py has, and the sentence by which it is refused."""


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_implementation_is_refused(name: str, tmp_path: Path) -> None:
    """On the command line, and in a test suite by the same sentence."""
    target = f"{SUBJECTS}/malformed.py:{name}"
    said = refused("check", target, "--json", tmp_path / "record.json")
    assert MALFORMED[name] in said and len(said) < 400
    subject = getattr(malformed, name)
    unnamed = name.startswith("name_") or isinstance(subject, type)
    assert (target if unnamed else "mine:SGD") in said
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RequestError) as error:
        conformance_tests(subject)
    assert MALFORMED[name] in str(error.value)


@pytest.mark.parametrize("how", ["raises", "none"])
def test_what_the_constructor_is_called_with_must_be_told(how: str) -> None:
    said = refused("list", "defaults", f"{SUBJECTS}/malformed.py:constructed_{how}")
    assert said == refused("check", f"{SUBJECTS}/malformed.py:constructed_{how}")
    told = "raised ValueError: not today" if how == "raises" else "gives None, and no mapping"
    assert said == f"optconform: mine:SGD: keywords() {told}\n"


def test_a_wellformed_implementation_is_not_refused() -> None:
    assert resolve(f"{SUBJECTS}/malformed.py:right", None)[0].name == "mine:SGD"
    assert conformance_tests(malformed.right, dtypes=["float32"])


# ---- spec files ------------------------------------------------------------------------------


def test_the_good_spec_is_good(tmp_path: Path) -> None:
    path = tmp_path / "toy.toml"
    path.write_text(GOOD)
    done = called("show", path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Toy" in done.stdout


def test_a_mark_of_the_byte_order_is_no_part_of_a_spec(tmp_path: Path) -> None:
    (tmp_path / "plain.toml").write_text(GOOD, encoding="utf-8")
    (tmp_path / "marked.toml").write_text(GOOD, encoding="utf-8-sig")
    marked, plain = (called("show", tmp_path / f"{n}.toml") for n in ("marked", "plain"))
    assert (marked.returncode, marked.stdout) == (0, plain.stdout), marked.stderr


LINE = 'm = "m + grad"'


def with_line(line: str) -> str:
    assert LINE in GOOD
    return GOOD.replace(LINE, line)


TWO_AXES = """\
[variant.x]
one = { effect = "e" }
two = { effect = "f", m = "m - grad", needs = { %s } }
[variant.y]
three = { effect = "e" }
"""

BAD = {
    "unknown name": (with_line('m = "m + gard"'), "gard"),
    "cycle": (
        with_line(f'a = "b + 1"\nb = "a + 1"\n{LINE}'),
        "spec toy, equation a: it is part of a cycle, a -> b -> a, in which each needs the next to",
    ),
    "cycle of one": (
        with_line(f'a = "a + 1"\n{LINE}'),
        "equation a: it uses its own result 'a', a cycle; only p and a state have an old value",
    ),
    "use before definition": (
        with_line(f'{LINE}\na = "late"\nlate = "m"'),
        "equation a: it uses 'late' before that is computed, in an equation below",
    ),
    "call": (with_line('m = "exp(m) + grad"'), "exp"),
    "import": (with_line('''m = "__import__('os').getpid()"'''), "not"),
    "attribute": (with_line('m = "m.real + grad"'), "m.real"),
    "subscript": (with_line('m = "m[0] + grad"'), "m[0]"),
    "lambda": (with_line('m = "(lambda: grad)()"'), "not"),
    "wrong number of arguments": (with_line('m = "sqrt(m, grad)"'), "sqrt"),
    "no expression": (with_line('m = "m +"'), "m +"),
    "very deep": (with_line(f'm = "{"(" * 900}m{")" * 900}"'), "equation m"),
    "power of a tensor": (with_line('m = "grad**m"'), "power"),
    "condition over a tensor": (with_line('m = "m if grad > 0 else grad"'), "grad"),
    "assigns a hyperparameter's name": (with_line(f'grad = "p"\n{LINE}'), "grad"),
    "bad domain": (GOOD.replace("[0, inf)", "[0; inf)"), "domain"),
    "turned domain": (GOOD.replace("[0, inf)", "[1, 0]"), "domain"),
    "default outside the domain": (GOOD.replace("0.1", "-0.1"), "domain"),
    "default no number": (GOOD.replace("0.1", "'a'"), "default"),
    "missing p": (GOOD.replace("p = ", "q = "), "p"),
    "unassigned state": (GOOD.replace(LINE, "").replace("lr * m", "lr * grad"), "state m"),
    "missing name": (GOOD.replace('name = "toy"\n', ""), "name"),
    "unknown key": ("colour = 'red'\n" + GOOD, "colour"),
    "unknown key below": (GOOD.replace("init = 0", "init = 0, size = 2"), "size"),
    "table expected": (GOOD.replace("[hyper]", "[[hyper]]"), "hyper"),
    "extends the unknown": ('extends = "nospec"\n' + GOOD, "nospec"),
    "not TOML": ("name = = 3\n", "TOML"),
    "empty": ("", "name"),
    "a number for an equation": (with_line("m = 3"), "m"),
    "variant without effect": (GOOD + '[variant.eps.none]\nm = "m"\n', "effect"),
    "variant with an unknown name": (
        GOOD + '[variant.a]\nx = { effect = "e" }\ny = { effect = "e", m = "zz" }\n',
        "zz",
    ),
    "needs an unknown axis": (
        GOOD + TWO_AXES % "z = ['one']",
        "spec toy, x=two: needs names 'z', which is no other axis; the others are: y",
    ),
    "needs its own axis": (
        GOOD + TWO_AXES % "x = ['one']",
        "spec toy, x=two: needs names 'x', which is no other axis; the others are: y",
    ),
    "needs an unknown value": (
        GOOD + TWO_AXES % "y = ['three', 'four']",
        "spec toy, x=two: needs y to be 'four', which is no value of that axis; choose from three",
    ),
    "default that is no variant": (GOOD + '[default]\neps = "inside"\n', "eps"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_spec_is_refused(name: str, tmp_path: Path) -> None:
    text, said = BAD[name]
    path = tmp_path / "toy.toml"
    path.write_text(text)
    line = refused("show", path)
    assert said in line
    assert "toy" in line
    assert list(tmp_path.iterdir()) == [path]


def test_a_spec_that_extends_itself_is_refused(tmp_path: Path) -> None:
    one, other = tmp_path / "one.toml", tmp_path / "other.toml"
    one.write_text(f'extends = "{other}"\n' + GOOD)
    other.write_text(f'extends = "{one}"\n' + GOOD)
    assert "extends itself" in refused("show", one)
    one.write_text(f'extends = "{one}"\n' + GOOD)
    assert "extends itself" in refused("show", one)


def test_a_spec_must_be_a_text_file(tmp_path: Path) -> None:
    folder, binary = tmp_path / "folder.toml", tmp_path / "binary.toml"
    folder.mkdir()
    binary.write_bytes(b"\xff\xfe\x00")
    assert "folder.toml" in refused("show", folder)
    assert "binary.toml" in refused("show", binary)
    assert "missing.toml" in refused("show", tmp_path / "missing.toml")


def test_check_refuses_a_bad_spec_before_it_starts(tmp_path: Path) -> None:
    path = tmp_path / "toy.toml"
    path.write_text(BAD["cycle"][0])
    line = refused("check", SGD, "--spec", path, "--json", tmp_path / "record.json")
    assert "cycle" in line
    assert list(tmp_path.iterdir()) == [path]


def test_installed_is_every_library_that_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that was named must answer; one that is merely there may be left out, and is told."""

    def answer(target: str, spec: str | None) -> list[dict[str, str]]:
        if target == "broken":
            raise RequestError("broken fails on import")
        return [{"implementation": f"{target}:{spec}"}]

    monkeypatch.setattr(listing, "installed", lambda: ["torch", "broken", "optax"])
    monkeypatch.setattr(listing, "list_target", answer)
    found = listing.implementations_of(["optax", "installed"], "adam", processes=2)
    assert [target for target, _ in found] == ["optax", "torch"]
    assert found[0][1] == [{"implementation": "optax:adam"}]
    assert capsys.readouterr().err == "left out: broken: broken fails on import\n"
    with pytest.raises(RequestError, match="fails on import"):
        listing.implementations_of(["broken", "installed"], "adam", processes=2)
    monkeypatch.setattr(listing, "installed", lambda: ["broken"])
    with pytest.raises(RequestError, match="no library"):
        listing.implementations_of(["installed"], None, processes=2)


def test_installed_libraries_are_the_released_ones() -> None:
    from optconform.implementation import installed

    assert "torch" in installed()
    assert not {"reference", "cuda"} & set(installed())
