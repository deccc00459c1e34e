"""How many historic bugs the suite flags, beside what people use today.

    python tests/power/bugs.py reports/published/bugs      # writes bugs.json and bugs.md
    python tests/power/bugs.py reports/published/bugs --only 'b03*'   # anew; the others stay

Every file of tests/bugs is checked as a user would: ``optconform check FILE:CLASS --spec SPEC``, at
its default settings.  Beside it stands the usual test: ten steps of N(0, 1) gradients on N(0, 1)
parameters at default hyperparameters, next to the class of torch.optim, and
``torch.testing.assert_close`` with its defaults on the parameters at the end.

Exit status: 0 when every file turns out as it says, 1 when one does not.
"""

from __future__ import annotations

import argparse
import ast
import fnmatch
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

ROOT = Path(__file__).resolve().parent.parent.parent
FOLDER = ROOT / "tests" / "bugs"
CLASSES = ("SGD", "Adagrad", "RMSprop", "Adadelta", "Adam", "AdamW")
SHAPES = ((), (5,), (3, 4), (17,), (2, 3, 4))
STEPS = 10
SLOW = 30.0  # seconds: nobody waits longer for one optimizer


@dataclass(frozen=True, slots=True)
class Case:
    """A file of tests/bugs, read without running it."""

    name: str
    path: Path
    mistake: str
    spec: str
    reference: str
    check: str  # the contract that shows it, where drawn scenarios do not
    admitted: str  # why it is knowingly not flagged
    variant: Mapping[str, str]  # not empty: no bug but a dialect, to be named
    control: bool  # no bug at all, to be left alone

    @property
    def kind(self) -> str:
        return "control" if self.control else "dialect" if self.variant else "bug"

    @property
    def class_name(self) -> str:
        return next(c for c in CLASSES if c.lower() == self.spec)

    @property
    def target(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.class_name}"


def cases(pattern: str = "*") -> list[Case]:
    return [read(p) for p in sorted(FOLDER.glob("b*.py")) if fnmatch.fnmatch(p.stem, pattern)]


def read(path: Path) -> Case:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }
    return Case(
        path.stem,
        path,
        (ast.get_docstring(tree) or "").partition("\n")[0],
        constants["SPEC"],
        constants["REFERENCE"],
        constants.get("CHECK", ""),
        constants.get("ADMITTED", ""),
        constants.get("VARIANT", {}),
        constants.get("CONTROL", False),
    )


# ---- optconform ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """What ``optconform check`` said of a case."""

    flagged: bool
    kind: str
    summary: str
    variant: Mapping[str, str] | None
    seconds: float


def check(case: Case, jobs: int, *options: str) -> Answer:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "record.json"
        command = [
            sys.executable, "-m", "optconform.cli", "check", case.target, "--spec", case.spec,
            "--jobs", str(jobs), "--json", str(file), *options,
        ]  # fmt: skip
        begin = time.monotonic()
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
        seconds = time.monotonic() - begin
        if done.returncode not in (0, 1):
            raise RuntimeError(f"{case.target}: exit status {done.returncode}: {done.stderr}")
        results = json.loads(file.read_text(encoding="utf-8"))["results"]
    found = [(r, f) for r in results for f in r["findings"]]
    faults = [f["summary"] for _, f in found if f["summary"].startswith("optconform ")]
    if faults:  # the judge's own, which flags nothing
        raise RuntimeError(f"{case.target}: {faults[0]}")
    if not found:
        return Answer(False, "", "", None, round(seconds, 1))
    result, finding = found[0]
    return Answer(
        done.returncode == 1,
        finding["kind"],
        finding["summary"],
        result["variant"] if result["verdict"] == "variant" else None,
        round(seconds, 1),
    )


# ---- assert_close ----------------------------------------------------------------------------


def caught_by_assert_close(case: Case) -> bool:
    """Whether ten steps beside the class of torch.optim show that something is wrong."""
    subject = load(case)
    torch.manual_seed(0)
    start = [torch.randn(shape) for shape in SHAPES]
    grads = [[torch.randn(shape) for shape in SHAPES] for _ in range(STEPS)]
    ends = []
    for make in (getattr(torch.optim, case.class_name), subject):
        params = [x.clone().requires_grad_() for x in start]
        try:
            optimizer = make(params)
            for row in grads:
                for p, g in zip(params, row, strict=True):
                    p.grad = g.clone()
                optimizer.step()
        except Exception:  # a test that raises fails: the bug is caught
            return True
        ends.append([p.detach() for p in params])
    try:
        torch.testing.assert_close(ends[1], ends[0])
    except AssertionError:
        return True
    return False


def load(case: Case) -> Any:
    if str(FOLDER) not in sys.path:
        sys.path.insert(0, str(FOLDER))  # where the frame lies
    spec = importlib.util.spec_from_file_location(case.name, case.path)
    assert spec is not None and spec.loader is not None
    module = sys.modules[case.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, case.class_name)


# ---- the table -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    case: Case
    answer: Answer
    declared: Answer | None  # of a dialect, once it says which it is
    caught: bool

    @property
    def right(self) -> bool:
        """Whether the suite did what it ought to: flag, name, or leave alone."""
        match self.case.kind:
            case "bug":
                return self.answer.flagged
            case "dialect":
                assert self.declared is not None
                named = self.answer.variant == self.case.variant
                return self.answer.flagged and named and not self.declared.flagged
            case _:
                return not self.answer.flagged

    @property
    def expected(self) -> bool:
        return self.right == (not self.case.admitted)

    def as_dict(self) -> dict[str, Any]:
        return {
            "bug": self.case.name,
            "kind": self.case.kind,
            "mistake": self.case.mistake,
            "reference": self.case.reference,
            "spec": self.case.spec,
            "admitted": self.case.admitted,
            "optconform": asdict(self.answer),
            "declared": asdict(self.declared) if self.declared else None,
            "assert_close": "caught" if self.caught else "missed",
            "right": self.right,
        }


def judged(case: Case, jobs: int) -> Row:
    declared = None
    if case.variant:
        declared = check(case, jobs, *(f"--variant={a}={v}" for a, v in case.variant.items()))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        caught = caught_by_assert_close(case)
    return Row(case, check(case, jobs), declared, caught)


def earlier(file: Path) -> list[Row]:
    """The rows of an earlier run, of the files that are still there."""
    if not file.is_file():
        return []
    known = {c.name: c for c in cases()}
    return [
        Row(
            known[r["bug"]],
            Answer(**r["optconform"]),
            Answer(**r["declared"]) if r["declared"] else None,
            r["assert_close"] == "caught",
        )
        for r in json.loads(file.read_text(encoding="utf-8"))["cases"]
        if r["bug"] in known
    ]


def scores(rows: Sequence[Row]) -> list[str]:
    out = []
    for kind, done in (("bug", "flagged"), ("dialect", "named"), ("control", "left alone")):
        some = [r for r in rows if r.case.kind == kind]
        if not some:
            continue
        line = f"{kind}s: {sum(r.right for r in some)} of {len(some)} {done}"
        if kind == "bug":
            admitted = sum(bool(r.case.admitted) for r in some)
            line += f", {admitted} knowingly admitted" if admitted else ""
            line += f"; assert_close catches {sum(r.caught for r in some)} of {len(some)}"
            line += f"; slowest {max(r.answer.seconds for r in some):.1f} s"
        out.append(line)
    return out


HEADINGS = {
    "bug": "Bugs",
    "dialect": "Dialects: documented or disputed forms, named and then accepted",
    "control": "Controls: reported as bugs and none",
}


def markdown(rows: Sequence[Row]) -> str:
    out = ["# Historic bugs", ""]
    out += [f"- {line}" for line in scores(rows)]
    out += [
        "",
        "Each is a small optimizer in [`tests/bugs`](../../tests/bugs), checked by",
        "`optconform check FILE:CLASS --spec SPEC` at default settings, and compared with the",
        f"class of torch.optim after {STEPS} steps of random gradients at default hyperparameters",
        "(`assert_close`). Made by `tests/power/bugs.py`.",
    ]
    for kind, heading in HEADINGS.items():
        some = [r for r in rows if r.case.kind == kind]
        if not some:
            continue
        out += ["", f"## {heading}", ""]
        out += ["| bug | spec | what optconform says | s | assert_close |", "|---|---|---|--:|---|"]
        for row in some:
            link = f"[{escaped(row.case.mistake)}]({row.case.reference})"
            if row.answer.flagged:
                said = escaped(f"{row.answer.kind}: {row.answer.summary}")
            elif row.case.admitted:
                said = f"**nothing**: {escaped(row.case.admitted)}"
            else:
                said = "conforms" if row.right else "**nothing**"
            cells = [
                f"{link} ({row.case.name.partition('_')[0]})",
                row.case.spec,
                said,
                f"{row.answer.seconds:.0f}",
                "caught" if row.caught else "missed",
            ]
            out.append("| " + " | ".join(cells) + " |")
    return "\n".join(out) + "\n"


def escaped(text: str) -> str:
    """Text that Markdown and its HTML show as it is, on one line of a table."""
    text = " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;")
    return "".join(f"\\{c}" if c in r"\`*_[]|~" else c for c in text)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check every re-enacted bug of tests/bugs.")
    parser.add_argument("out", type=Path, help="writes OUT.json and OUT.md")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="names to run, as b03*")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args(arguments)
    file = options.out.with_suffix(".json")
    done = {r.case.name: r for r in earlier(file)} if options.only != "*" else {}
    for case in cases(options.only):
        done[case.name] = row = judged(case, options.jobs)
        said = f"{row.answer.kind}: {row.answer.summary}" if row.answer.flagged else "not flagged"
        why = f" [admitted: {case.admitted}]" if case.admitted else ""
        print(f"{case.name} ({row.answer.seconds:.0f} s): {said}{why}", flush=True)
    rows = [done[name] for name in sorted(done)]
    made = {"scores": scores(rows), "cases": [row.as_dict() for row in rows]}
    file.write_text(json.dumps(made, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    options.out.with_suffix(".md").write_text(markdown(rows), encoding="utf-8")
    odd = [r for r in rows if not r.expected]
    for row in odd:
        print(f"not as {row.case.name} says: {'right' if row.right else 'wrong'}", file=sys.stderr)
    slow = [r for r in rows if r.answer.seconds > SLOW]
    for row in slow:
        print(f"{row.case.name} took {row.answer.seconds:.0f} s", file=sys.stderr)
    print("\n".join(scores(rows)))
    return 1 if odd or slow else 0


if __name__ == "__main__":
    sys.exit(main())
