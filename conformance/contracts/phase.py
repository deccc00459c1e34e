"""The contract phase of an examination: every contract once, each with a status and perhaps a
finding."""

import traceback
from collections.abc import Collection
from dataclasses import replace
from typing import Any

from ..errors import one_line
from ..implementation import Implementation, repro_of, traceback_of
from ..interrupted import from_outside
from ..minimise import Focus
from ..scenario import Scenario, from_json, to_json
from .bench import Bench, Breach, Raised, param
from .contract import (
    BringsContracts,
    Contract,
    NotApplicable,
    Relation,
    Script,
    Variation,
    is_refusal,
)
from .relations import RELATIONS

HELD, BROKEN = "held", "broken"
RERUN = RELATIONS[0].name  # the first: what compares runs presupposes it

Finding = dict[str, Any]


def contracts_of(bench: Bench) -> list[Contract]:
    """Those of every implementation, then those of its framework."""
    brought: list[Contract] = []
    if isinstance(bench.implementation, BringsContracts):
        brought = list(bench.implementation.contracts(bench.spec, bench.lively, bench.dtype))
    return [*RELATIONS, *brought]


def hold_to_contracts(
    bench: Bench, *, first: bool = True, known: Collection[str] = ()
) -> tuple[dict[str, str], list[Finding]]:
    """The status of each contract, and the findings.

    Those that do not depend on the dtype are tried in the ``first`` one only; ``known`` are the
    places where the subject was seen to raise before: to raise there again is no news.
    """
    statuses: dict[str, str] = {}
    findings: list[Finding] = []
    raised = dict.fromkeys(known, "run")
    for contract in contracts_of(bench):
        if bench.dtype not in contract.dtypes and not (first and not contract.dtypes):
            continue
        if isinstance(contract, Script) and contract.exact and statuses.get(RERUN, HELD) != HELD:
            contract = replace(contract, why_not="a rerun of it differs")
        status, finding = _tried(contract, bench)
        where = place(finding.pop("error", None)) if finding is not None else ""
        if where in raised:
            status, finding = f"{BROKEN}: it raises as in {raised[where]}", None
        elif where:
            raised[where] = contract.name
        statuses[contract.name] = status
        if finding is not None:
            findings.append(finding)
        # told at once: the next contract may take the process with it
        bench.emit(
            {"event": "contract", "name": contract.name, "status": status, "finding": finding}
        )
    return statuses, findings


def _tried(contract: Contract, bench: Bench) -> tuple[str, Finding | None]:
    if bench.implementation.slow:
        return "not applicable: a run of it takes seconds to start", None
    bench.check = contract.name
    try:
        finding = _broken(contract, bench)
    except NotApplicable as e:
        return f"not applicable: {e}", None
    return (HELD, None) if finding is None else (BROKEN, {"check": contract.name, **finding})


def place(error: BaseException | None) -> str:
    """Where an exception comes from: its message may quote sizes and values."""
    frames = traceback.extract_tb(error.__traceback__) if error is not None else []
    return f"{type(error).__name__} {frames[-1].filename}:{frames[-1].lineno}" if frames else ""


def _broken(contract: Contract, bench: Bench) -> Finding | None:
    try:
        match contract:
            case Relation():
                breach = contract.check(bench)
                return None if breach is None else _told(breach, bench)
            case Script():
                return _script(contract, bench)
            case Variation():
                return _variation(contract, bench)
    except Raised as e:
        assert e.trace.crash is not None
        if isinstance(e.trace.crash, NotImplementedError):
            raise NotApplicable(f"refused: {one_line(e.trace.crash)}") from None
        small = _shrunk(bench, e)
        return {
            **_crash(e.trace.crash, contract.name),
            "scenario": to_json(small),
            "repro": repro_of(e.by, small, bench.spec),
        }


def _shrunk(bench: Bench, raised: Raised) -> Scenario:
    """A smaller scenario in which the subject raises at the same place."""

    def fails(candidate: Scenario) -> Focus | None:
        try:
            bench.run(candidate, by=raised.by)
        except NotApplicable:
            return None
        except Raised as e:
            same = place(e.trace.crash) == place(raised.trace.crash)
            return (max(e.trace.crash_step + 1, 0), 0, 0, 0) if same else None
        return None

    trace = raised.trace
    at = (max(trace.crash_step + 1, 0), 0, 0, 0)
    return bench.minimised(trace.scenario, at, fails)


def _told(breach: Breach, bench: Bench, by: Implementation | None = None) -> Finding:
    """A breach as a finding; its script runs what was compared, one after the other."""
    made_by = by or bench.implementation
    scripts = {
        what: repro_of(made_by, scenario, bench.spec)
        for what, scenario in dict(breach.runs).items()
    }
    repro = "\n".join(f"print({f'==== {what}'!r})\n{text}" for what, text in scripts.items())
    repro += f"# {breach.summary}\n"
    return {
        "kind": "contract",
        "summary": breach.summary,
        "scenario": to_json(next(iter(breach.runs.values()))),
        "repro": repro,
    }


def _crash(error: BaseException, contract: str) -> Finding:
    return {
        "kind": "crash",
        "summary": f"{contract}: raised {one_line(error)}",
        "traceback": traceback_of(error),
        "error": error,
    }


# ---- scripts of a framework ------------------------------------------------------------------


def _script(contract: Script, bench: Bench) -> Finding | None:
    if contract.why_not:
        raise NotApplicable(contract.why_not)
    done = {
        "spec": bench.spec.name,
        "dtype": bench.dtype,
        "contract": contract.name,
        "says": contract.sentence,
    }
    finding: Finding
    try:
        with bench.runs.watched(done, contract.repro, check=contract.name):
            contract.run()
        return None
    except NotApplicable:
        raise
    except NotImplementedError as e:
        raise NotApplicable(f"refused: {one_line(e)}") from None
    except BaseException as e:
        if from_outside(e):
            raise
        ours = traceback.extract_tb(e.__traceback__)[-1].filename == contract.source
        if ours and isinstance(e, AttributeError):  # no torch.optim.Optimizer, but much like one
            raise NotApplicable(f"it has no {e.name}") from None
        if ours and isinstance(e, AssertionError):
            finding = {"kind": contract.kind, "summary": one_line(e).partition(": ")[2]}
        else:
            finding = _crash(e, contract.name)
    return {**finding, "scenario": done, "repro": contract.repro()}


# ---- other circumstances ---------------------------------------------------------------------


def _variation(contract: Variation, bench: Bench) -> Finding | None:
    if contract.why_not:
        raise NotApplicable(contract.why_not)
    given = {n: v for n, v in contract.hyper.items() if n not in bench.fixed}
    held = False
    refused: BaseException | None = None
    flags = bench.flags if contract.flags else []
    for hyper in (given, *({**given, flag: True} for flag in flags)):
        usual = [[param(1, 6, grad="normal"), param(2, 16)], [param(3, 4)]]
        groups = [contract.params] if contract.params else usual
        plain = bench.scenario(*groups, hyper=hyper)
        if not bench.spec.admissible(plain.groups[0].hyper):
            continue
        if not bench.right(plain):
            continue  # lockstep has told so
        try:
            trace = bench.run(plain, by=contract.implementation)
        except Raised as e:
            refused = e.trace.crash
            # a claim may be denied clearly and at once; what is not claimed, in any way
            if contract.claimed and not (is_refusal(refused) and e.trace.crash_step <= 0):
                raise
            continue
        held = True
        missed = bench.misses(trace, any_profile=contract.any_profile)
        if missed:
            small = _smaller(contract, bench, plain)
            breach = Breach(f"{contract.sentence}, but {small[1]}", {"the run": small[0]})
            return _told(breach, bench, contract.implementation)
    if not held:
        reason = f"refused: {one_line(refused)}" if refused else "it is wrong without it, too"
        raise NotApplicable(reason)
    return None


def _smaller(contract: Variation, bench: Bench, plain: Scenario) -> tuple[Scenario, str]:
    """One parameter and as few steps as will do."""
    hyper = plain.groups[0].hyper
    one = contract.params[:1] or [param(1, 2, grad="normal")]
    tried = [bench.scenario(one, steps=n, hyper=hyper) for n in (1, 2, 3)]
    for scenario in (*tried, plain):
        try:
            trace = bench.run(scenario, by=contract.implementation)
        except Raised:
            continue
        missed = bench.misses(trace, any_profile=contract.any_profile)
        if missed:
            return scenario, str(missed[0])
    return plain, "it leaves its bound"


# ---- the script alone ------------------------------------------------------------------------


def script_of(bench: Bench, check: str, done: Any) -> str:
    """The repro script of what was ``done`` last, be it a scenario or a script's contract."""
    contract = next((c for c in contracts_of(bench) if c.name == check), None)
    if isinstance(contract, Script):
        return contract.repro()
    by = contract.implementation if isinstance(contract, Variation) else bench.implementation
    return repro_of(by, from_json(done), bench.spec)
