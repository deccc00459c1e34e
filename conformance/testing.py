"""Conformance tests in a library's own pytest suite.

    from optconform.testing import conformance_tests

    TestAdamW = conformance_tests(mylib.AdamW, spec="adamw", known="known-divergences.toml")

The class that is returned has one item for each check and dtype; a cell of the report (an
implementation in a dtype) is judged once, when the first of its items runs.
"""

import ast
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from . import expr
from . import known as known_file
from .cells import Cell, Judge
from .contracts.bench import Bench
from .contracts.contract import Script, Variation
from .contracts.phase import contracts_of
from .declared import is_meant
from .errors import RequestError
from .examine import CHECKS
from .formats import FORMATS, format_named
from .implementation import Implementation, given, guess_spec, resolve
from .oracle.scalars import Profile
from .spec import Spec, Value, states_of
from .spec_file import load
from .strategies import refuse_unsatisfiable

JUDGE = pytest.StashKey[Judge]()

Subject = Callable[..., Any] | Implementation | str


@dataclass(frozen=True, slots=True)
class Case:
    """One pytest item: a check of a cell.  ``check`` is a tensor, a contract, or ``run``."""

    cell: Cell
    check: str
    chosen: bool = field(default=False)  # the user asked for this dtype by name


def conformance_tests(
    subject: Subject,
    *,
    spec: str | None = None,
    variant: Mapping[str, str] | None = None,
    hyper: Mapping[str, Value] | None = None,
    dtypes: Sequence[str] | None = None,
    examples: int = 60,
    steps: int = 8,
    seed: int | None = None,
    known: str | Path | None = None,
) -> type:
    """A test class for ``subject``, to be bound to a name that starts with ``Test``.

    ``subject`` is a class or a named function that makes torch-like optimizers, an object that
    follows :class:`optconform.implementation.Implementation`, or a target as the command line takes
    it (``"optax:adamw"``).  ``spec`` is a spec's name or a ``.toml`` file, relative to the calling
    file; by default it is told by the subject's name.  ``variant`` declares axes on which the
    subject differs from the spec, ``hyper`` fixes hyperparameters by the spec's names.  ``dtypes``
    are float32, float64, bfloat16 or float16, at least one; by default all that the subject takes.
    ``examples`` scenarios of at most ``steps`` steps are drawn for each dtype; with a ``seed``
    always the same.  ``known`` is a file of known divergences, relative to the calling file.  Two
    different implementations have two names.

    Raises RequestError, one sentence, when the request cannot be carried out.
    """
    if examples < 1 or steps < 1:
        raise RequestError(f"examples and steps are at least 1, not {examples} and {steps}")
    if dtypes is not None and not dtypes:
        raise RequestError("dtypes is empty; leave it out for all that the subject takes")
    wanted = [format_named(d).name for d in dtypes or FORMATS]
    fixed = dict(hyper or {})
    folder = Path(sys._getframe(1).f_globals.get("__file__", ".")).parent
    entries = known_file.read(folder / known) if known is not None else ()
    if spec is not None and spec.endswith(".toml"):
        spec = str(folder / spec)
    own_file = sys._getframe(1).f_globals.get("__file__")
    named = subject if isinstance(subject, str) else None
    reads = (own_file, named, spec, None if known is None else str(folder / known))
    cases: dict[str, list[Case]] = {"equation": [], "contract": [], "run": []}
    for implementation in _implementations(subject, spec):
        loaded = load(spec or implementation.spec)
        claimed = loaded.variant({**implementation.variant, **(variant or {})})
        loaded.check_hypers(fixed)
        every = {**implementation.fixed(loaded), **fixed}
        refuse_unsatisfiable(loaded, every, implementation.name)
        asked = Cell(
            implementation, spec or implementation.spec, claimed, "", fixed, wanted, examples,
            steps, seed, entries, tuple(filter(None, reads)),
        )  # fmt: skip
        for found in cases_of(asked, loaded, chosen=dtypes is not None):
            kind = "run" if found.check == "run" else "contract"
            cases["equation" if found.check in tensors(asked) else kind].append(found)
    several = len({c.cell.implementation.name for c in cases["run"]}) > 1
    return type(
        "Conformance",
        (),
        {
            "__doc__": f"Conformance of {subject!r}.",
            "__module__": sys._getframe(1).f_globals.get("__name__", __name__),
            "test_equation": _method(cases["equation"], several, "A tensor follows its equation."),
            "test_contract": _method(cases["contract"], several, "A contract is kept."),
            "test_run": _method(cases["run"], several, "It neither raises nor escapes judgement."),
        },
    )


def _implementations(subject: Subject, spec: str | None) -> list[Implementation]:
    if isinstance(subject, str):
        return resolve(subject, spec)
    name = getattr(subject, "__qualname__", "")
    if is_meant(subject):
        return [given(subject, name or type(subject).__qualname__, spec)]
    if not callable(subject) or not name or "<" in name:
        raise RequestError(
            f"{subject!r} is no class, named function of a module, or Implementation; scripts that "
            "replay a finding must be able to import it"
        )
    from .impls.adapters import torch_optim

    module = subject.__module__
    return torch_optim.implementations(
        subject,
        name=f"{module}:{name}",
        module=module,
        spec=load(spec).name if spec else guess_spec(subject, name),
    )


def tensors(cell: Cell) -> list[str]:
    """The names of what equations are checked: the parameter, then the state as torch calls it,
    without what no setting that can be chosen brings about."""
    spec = load(cell.spec)
    fixed = {**cell.implementation.fixed(spec), **cell.hyper}

    def never(when: str | None) -> bool:
        if when is None or not expr.names(ast.parse(when, mode="eval")) <= set(fixed):
            return False
        return not expr.holds(when, fixed)

    states = states_of(spec, cell.claimed).values()
    return ["param", *(s.torch_name for s in states if not never(s.when))]


def cases_of(asked: Cell, spec: Spec, *, chosen: bool) -> list[Case]:
    """The items of an implementation; what does not depend on the dtype has one."""
    out = []
    first = sorted(asked.dtypes, key=lambda d: d != "float32")[0]
    for dtype in asked.dtypes:
        cell = asked.in_dtype(dtype)
        bench = Bench(
            asked.implementation, spec, asked.claimed, Profile(), dtype,
            {**asked.implementation.fixed(spec), **asked.hyper}, lambda _: None,
        )  # fmt: skip
        checks = ["run", *tensors(asked), "none-gradient", "reload"]
        checks += ["gradient-untouched", "surroundings"]
        for contract in contracts_of(bench):
            offered = not (isinstance(contract, Script | Variation) and contract.why_not)
            here = dtype in contract.dtypes if contract.dtypes else dtype == first
            if offered and here and not asked.implementation.slow:
                checks.append(contract.name)
        out += [Case(cell, check, chosen) for check in checks]
    return out


def _method(cases: Sequence[Case], several: bool, doc: str) -> Callable[..., None]:
    def label(case: Case) -> str:
        path = case.cell.implementation.name.rpartition("[")[2].rstrip("]")
        parts = [path] if several else []
        return "-".join([*parts, case.cell.dtype, *([case.check] if case.check != "run" else [])])

    # by the key: pytest-xdist does not see a group in whose name there is a bracket
    params = [
        pytest.param(c, id=label(c), marks=pytest.mark.xdist_group(c.cell.key)) for c in cases
    ]

    def test(self: Any, case: Case, request: pytest.FixtureRequest) -> None:
        _hold(case, request.config)

    test.__doc__ = doc
    made: Callable[..., None] = pytest.mark.parametrize("case", params)(test)
    return made


# ---- one item --------------------------------------------------------------------------------


def _hold(case: Case, config: pytest.Config) -> None:
    """Pass, skip, xfail or fail, by what the result of the cell says of the check."""
    judge = config.stash.get(JUDGE, None) or config.stash.setdefault(JUDGE, Judge())
    try:
        result = judge.result(case.cell)
    except RequestError as e:
        pytest.fail(str(e), pytrace=False)
    if result["verdict"] == "unsupported":
        if case.chosen and case.check == "run":
            pytest.fail(f"{_who(result)} is unsupported: {result['message']}", pytrace=False)
        pytest.skip(f"{case.cell.dtype} is unsupported: {result['message']}")
    findings = findings_of(case, result)
    strict = config.getoption("runxfail", False)  # then pytest.xfail does nothing at all
    news = [f for f in findings if strict or "known" not in f or f["kind"] == "stale"]
    if news:
        pytest.fail("\n\n".join(told(result, f) for f in news), pytrace=False)
    if findings:
        pytest.xfail("; ".join(f"{f['summary']} ({f['issue'] or f['known']})" for f in findings))
    _judged(case, result)


def findings_of(case: Case, result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The findings that an item answers for; ``run`` answers for all that no other item does."""

    def place(f: Mapping[str, Any]) -> str:
        return known_file.check_of(f)

    if case.check != "run":
        return [f for f in result["findings"] if place(f) == case.check]
    spec = load(case.cell.spec)
    others = {c.check for c in cases_of(case.cell, spec, chosen=False)} - {"run"}
    return [f for f in result["findings"] if place(f) not in others]


def _judged(case: Case, result: Mapping[str, Any]) -> None:
    """A check without a finding must have been decided to count as passed."""
    checks = result["checks"]
    contracts = checks["contracts"]
    if case.check == "run":
        if result["verdict"] == "undecided":
            pytest.fail(f"{_who(result)} is undecided: {result['message']}", pytrace=False)
    elif case.check in contracts:
        if contracts[case.check] != "held":
            pytest.skip(f"{case.check} is {contracts[case.check]}")
    elif case.check in tensors(case.cell):
        counts = checks["tensors"].get(case.check)
        if counts is None:
            hidden = result["mode"] == "free-running" and case.check != "param"
            pytest.skip("the state cannot be seen" if hidden else "no scenario has this tensor")
        if counts["failed"]:
            pytest.skip("outside its bound only because of what another item reports")
        if counts["total"] == counts["undecided"] + counts["vacuous"]:
            pytest.skip("nothing that was drawn decides it")
    elif case.check in CHECKS and not checks["scenarios"]:
        pytest.skip("no scenario ran")
    elif case.check not in ("none-gradient", "reload", "gradient-untouched", "surroundings"):
        pytest.skip("it was not tried in this dtype")


def _who(result: Mapping[str, Any]) -> str:
    return f"{result['implementation']} ({result['spec']}, {result['dtype']})"


def told(result: Mapping[str, Any], finding: Mapping[str, Any]) -> str:
    """A finding as pytest prints it: the sentence, the equation, the scenario, the script."""
    lines = [f"{_who(result)}: {finding['summary']}"]
    if finding["kind"] == "stale":
        return lines[0]
    if finding.get("equation"):
        lines += [
            "",
            f"  equation  {finding['equation']}",
            f"  observed  {finding['observed']}",
            f"  expected  {finding['expected']}, faithful roundings within {finding['bound']:.3g}",
        ]
    if text := known_scenario(finding):
        lines += ["", "The smallest scenario:", "", *(f"  {line}" for line in text)]
    if finding.get("traceback"):
        lines += ["", *(f"  {line}" for line in str(finding["traceback"]).splitlines()[-3:])]
    if finding.get("repro"):
        lines += ["", "To replay it with the library alone:", ""]
        lines += [f"  {line}" for line in str(finding["repro"]).splitlines()]
    if "known" in finding:
        return "\n".join([*lines, "", f"It is known: {finding['issue'] or finding['known']}"])
    entry = known_file.entry_of(result, finding)
    lines += ["", "If it has an issue of its own, this is its entry in a file of known", ""]
    lines[-2] += " divergences:"
    lines += [f"  {line}" for line in entry.splitlines()]
    return "\n".join(lines)


def known_scenario(finding: Mapping[str, Any]) -> list[str]:
    """A scenario for people: settings, tensors and events, a line each."""
    scenario = finding.get("scenario")
    if not isinstance(scenario, Mapping) or "groups" not in scenario:
        return []
    out = []
    for g, group in enumerate(scenario["groups"]):
        settings = ", ".join(f"{k}={v}" for k, v in group["hyper"].items())
        out.append(f"group {g}: {settings}")
        for p in group["params"]:
            out.append(
                f"  parameter of shape {tuple(p['shape'])}, {p['layout']}: "
                f"{_recipe(p['init'])}; gradients {_recipe(p['grad'])}"
            )
    events = [
        e["op"] + (f" {e['hyper']}" if "hyper" in e else "")
        + (f" without {e['skipped']}" if e.get("skipped") else "")
        for e in scenario["events"]
    ]  # fmt: skip
    return [*out, f"then {', '.join(events)}"]


def _recipe(recipe: Mapping[str, Any]) -> str:
    if "values" not in recipe:
        return f"{recipe['kind']} (seed {recipe['seed']})"
    text = str(recipe["values"])
    return text if len(text) < 200 else text[:200] + "…"
