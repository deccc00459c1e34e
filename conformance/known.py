"""Known divergences: an adopter's TOML file of findings that have an issue of their own.

    [[divergence]]
    id = "adamw-eps"                       # any word
    issue = "https://github.com/you/yours/issues/12"
    versions = "<2.1"                      # of the library, PEP 440; "" is every version
    implementation = "yours:AdamW"
    spec = "adamw"
    dtype = "float32"
    check = "param"                        # the tensor, or the contract
    says = "follows eps = inside, claims eps = outside"
    scenario = '{"spec": "adamw", ...}'    # the smallest one, run again every time

A finding is known if all of this fits it, numbers apart; another fault at the same place is news.
The scenario is run again strictly: where it no longer fails the entry is stale, and that is told.
"""

import difflib
import itertools
import json
import re
import tomllib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version

from .errors import RequestError
from .formats import FORMATS
from .printing import visible
from .scenario import AddGroup, Scenario, SetHyper, Step, fits, from_json
from .spec import Spec

BY_TENSOR = ("lockstep", "free-running")  # checks whose findings are named by the tensor
LARGEST = 1_000_000  # elements times steps of a saved scenario

TEXTS = ("id", "issue", "versions", "implementation", "spec", "dtype", "check", "says", "scenario")

Finding = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Divergence:
    """One entry of a known-file; ``scenario`` is None where the check brings its own."""

    id: str
    issue: str
    versions: str
    implementation: str
    spec: str
    dtype: str
    check: str
    says: str
    scenario: Scenario | None = None

    @property
    def name(self) -> str:
        """As in messages."""
        return f"known divergence {self.id!r}" + (f" ({self.issue})" if self.issue else "")

    def concerns(self, implementation: str, spec: str, dtype: str, version: str) -> bool:
        """Whether the entry is about this cell of a report."""
        here = (self.implementation, self.spec, self.dtype) == (implementation, spec, dtype)
        return here and self.holds_for(version)

    def holds_for(self, version: str) -> bool:
        """Whether ``version`` of the library is in the range; one that cannot be read is."""
        try:
            return SpecifierSet(self.versions).contains(Version(version), prereleases=True)
        except InvalidVersion:
            return True

    def is_about(self, finding: Finding) -> bool:
        return self.check == check_of(finding) and reason(self.says) == reason_of(finding)


def check_of(finding: Finding) -> str:
    """What a finding is about: the tensor of a numeric one, else the check."""
    return str(finding["tensor"] if finding["kind"] == "numeric" else finding["check"])


def reason(text: str) -> str:
    """A sentence without its numbers, as a record has it."""
    return re.sub(r"(?<![\w.])[-+]?(?:\d[\d.,]*(?:e[-+]?\d+)?|nan|inf)(?!\w)", "#", visible(text))


def reason_of(finding: Finding) -> str:
    """What a finding says, apart from the place and the numbers."""
    text = str(finding["summary"])
    if finding["kind"] == "numeric":
        text = text.partition(": ")[2] or text
    return reason(text)


# ---- reading ---------------------------------------------------------------------------------


def read(path: Path) -> tuple[Divergence, ...]:
    """The entries of a file.  Raises RequestError with one sentence."""
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as e:
        raise RequestError(f"cannot read {path}: {e.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as e:
        raise RequestError(f"{path} is no TOML: {e}") from None
    entries = data.pop("divergence", [])
    if data or not isinstance(entries, list):
        raise RequestError(f"{path} must hold [[divergence]] tables and nothing else")
    found = tuple(_entry(x, f"{path}, divergence {k + 1}") for k, x in enumerate(entries))
    twice = [d.id for k, d in enumerate(found) if d.id in {e.id for e in found[:k]}]
    if twice:
        raise RequestError(f"{path} has two divergences with the id {twice[0]!r}")
    return found


def _entry(data: Any, where: str) -> Divergence:
    if not isinstance(data, dict) or not all(isinstance(v, str) for v in data.values()):
        raise RequestError(f"{where} must hold texts alone")
    if unknown := set(data) - set(TEXTS):
        raise RequestError(f"{where} has no key {sorted(unknown)[0]!r}; it has {', '.join(TEXTS)}")
    needed = ("id", "implementation", "spec", "dtype", "check", "says")
    if missing := [n for n in needed if not data.get(n)]:
        raise RequestError(f"{where} lacks {missing[0]!r}")
    if data["dtype"] not in FORMATS:
        raise RequestError(f"{where}: unknown dtype {data['dtype']!r}")
    try:
        SpecifierSet(data.get("versions", ""))
    except InvalidSpecifier:
        raise RequestError(f"{where}: {data['versions']!r} is no range of versions") from None
    scenario = None
    if text := data.get("scenario"):
        try:
            scenario = from_json(json.loads(text))
        except (ValueError, RecursionError) as e:
            raise RequestError(f"{where}: {e}") from None
        if scenario.dtype != data["dtype"]:
            raise RequestError(f"{where}: the scenario is in {scenario.dtype}")
    return Divergence(**{**{"issue": "", "versions": ""}, **data, "scenario": scenario})


def admit(scenario: Scenario, spec: Spec) -> None:
    """Check a scenario from outside before anything is run with it.  Raises RequestError."""
    groups = scenario.all_groups
    if scenario.spec != spec.name:
        raise RequestError(f"the scenario is of {scenario.spec}, not of {spec.name}")
    for group in groups:
        if set(group.hyper) != set(spec.hypers):
            raise RequestError(f"the scenario does not set the hyperparameters of {spec.name}")
        spec.check_hypers(group.hyper)
        if not spec.admissible(group.hyper):
            raise RequestError(f"the scenario is not what {spec.name} requires")
    every = [p for g in groups for p in g.params]
    if sum(p.size for p in every) * max(scenario.steps, 1) > LARGEST:
        raise RequestError(f"the scenario has more than {LARGEST:,} elements times steps")
    if not all(fits(p) and (p.grad.kind != "values" or p.grad.values) for p in every):
        raise RequestError("the scenario has values that do not fit the shape")
    if not scenario.groups:
        raise RequestError("the scenario has no group")
    count = len(scenario.groups)
    for event in scenario.events:
        match event:
            case AddGroup():
                count += 1
            case SetHyper(g, hyper):
                if not 0 <= g < count:
                    raise RequestError("the scenario changes a group that is not there")
                spec.check_hypers(hyper)
            case Step(skipped):
                if any(not (0 <= g < count and 0 <= k < len(groups[g].params)) for g, k in skipped):
                    raise RequestError("the scenario skips a parameter that is not there")


# ---- holding results against it --------------------------------------------------------------


def for_cell(
    known: Iterable[Divergence],
    result: Mapping[str, str],
    spec: Spec,
    checks: Collection[str] | None = None,
) -> tuple[Divergence, ...]:
    """The entries about a cell (implementation, dtype, version), their scenarios checked.

    ``checks`` are all that there are, apart from the tensors of ``spec``; None where they cannot be
    told.  An entry about another is a slip of the pen: no run could bring its finding, so that it
    would be called stale.
    """
    found = tuple(
        d
        for d in known
        if d.concerns(result["implementation"], spec.name, result["dtype"], result["version"])
    )
    for d in found:
        if checks is not None:
            _check_named(d, [*_tensors(spec), *(c for c in checks if c not in BY_TENSOR)])
        if d.scenario is not None:
            try:
                admit(d.scenario, spec)
            except RequestError as e:
                raise RequestError(f"{d.name}: {e}") from None
    return found


def _check_named(d: Divergence, names: Collection[str]) -> None:
    if d.check in names:
        return
    near = difflib.get_close_matches(d.check, names, 1, 0)
    raise RequestError(f"{d.name}: there is no check {d.check!r}; the nearest is {near[0]!r}")


def _tensors(spec: Spec) -> list[str]:
    """What equations are checked of, in all variants of a spec."""
    choices = [c for a in spec.axes.values() for c in (*a.choices.values(), a.number) if c]
    states = [spec.states, *(c.states for c in choices)]
    return ["param", *dict.fromkeys(s.torch_name for some in states for s in some.values())]


def replays(entries: Sequence[Divergence]) -> list[Divergence]:
    """Those whose scenario is run again, in the order of a result's ``replayed``."""
    return [d for d in entries if d.scenario is not None]


def stale(result: Mapping[str, Any], entries: Sequence[Divergence]) -> list[Divergence]:
    """The entries that a result shows to be fixed; what was not judged shows nothing."""
    if result["verdict"] == "unsupported":
        return []
    seen = dict(zip((d.id for d in replays(entries)), result.get("replayed", ()), strict=False))
    contracts = result["checks"].get("contracts", {})
    whole = result["verdict"] != "error" and not _cut_short(result)

    def fixed(d: Divergence) -> bool:
        if d.check in contracts:  # which brings the scenarios that it compares
            return bool(contracts[d.check] == "held")
        if d.scenario is not None:  # a run that broke off may have come to it later
            return d.id in seen and not {d.check, "run"} & set(seen[d.id])
        return whole and not any(d.is_about(f) for f in result["findings"])

    return [d for d in entries if fixed(d)]


def _cut_short(result: Mapping[str, Any]) -> bool:
    """Whether the subject, or optconform, did not live to the end: what ended it is the message."""
    return any(
        f["kind"] == "crash" and f["summary"] == result["message"] for f in result["findings"]
    )


def settle(result: dict[str, Any], entries: Sequence[Divergence]) -> dict[str, Any]:
    """The result with every known finding marked, and a finding for every stale entry."""
    findings = []
    for f in result["findings"]:
        entry = next((d for d in entries if d.is_about(f)), None)
        findings.append(f if entry is None else {**f, "known": entry.id, "issue": entry.issue})
    for d in stale(result, entries):
        findings.append(
            {
                "kind": "stale",
                "check": d.check,
                "summary": f"{d.name} no longer occurs; take it out of the file",
                "known": d.id,
                "issue": d.issue,
            }
        )
    return {**result, "findings": findings}


def all_known(result: Mapping[str, Any]) -> bool:
    """Whether a settled result has findings, and each of them is known and still there."""
    findings = result["findings"]
    return bool(findings) and all("known" in f and f["kind"] != "stale" for f in findings)


def unmatched(known: Iterable[Divergence], cells: Iterable[Mapping[str, str]]) -> list[str]:
    """One sentence for each entry about none of ``cells``."""
    some = [(c["implementation"], c["spec"], c["dtype"], c["version"]) for c in cells]
    return [
        f"{d.name} is about nothing that was judged: {d.implementation}, {d.spec}, {d.dtype}"
        + (f", versions {d.versions}" if d.versions else "")
        for d in known
        if not any(d.concerns(*cell) for cell in some)
    ]


# ---- writing ---------------------------------------------------------------------------------


def entry_of(
    result: Mapping[str, Any], finding: Finding, *, issue: str = "", taken: set[str] | None = None
) -> str:
    """A finding as the TOML of an entry; its id, which is none of ``taken``, is added to them."""
    check = check_of(finding)
    words = (result["implementation"], check, result["dtype"])
    plain = "-".join(re.sub(r"\W+", "-", str(w)).strip("-").lower() for w in words)
    taken = set() if taken is None else taken
    ids = (plain if k == 1 else f"{plain}-{k}" for k in itertools.count(1))
    chosen = next(i for i in ids if i not in taken)
    taken.add(chosen)
    text = {
        "id": chosen,
        "issue": issue,
        "versions": "",
        "implementation": result["implementation"],
        "spec": result["spec"],
        "dtype": result["dtype"],
        "check": check,
        "says": reason_of(finding),
    }
    scenario = finding.get("scenario")
    lines = ["[[divergence]]", *(f"{k} = {_quoted(str(v))}" for k, v in text.items())]
    if isinstance(scenario, dict) and "groups" in scenario:
        packed = json.dumps(scenario, allow_nan=False)
        lines.append(f"scenario = {_quoted(packed)}")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A TOML string; a literal one where that can be read without escapes."""
    if "'" not in text and '"' in text and text.isprintable():
        return f"'{text}'"
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
