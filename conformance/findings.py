"""Findings: a failure made small, explained, and told with a script that replays it."""

import functools
import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from . import explain
from .admit import admitted
from .errors import one_line
from .explain import Diagnosis, diagnoses
from .formats import FORMATS
from .identify import UNEXPLAINED, Identification, identify
from .implementation import repro_of, traceback_of
from .lockstep import judge
from .minimise import Fails, Focus, minimise
from .oracle.scalars import Profile
from .render import equation_text
from .runs import Runs
from .scenario import Scenario, to_json
from .trace import Trace

Key = tuple[str, str, str]
"""A class of failures: the equation, what was seen (finite, non-finite, any), the circumstances."""

CONTRACTS = {
    "none-gradient": "a parameter or its state changed although its gradient is None",
    "gradient-untouched": "the step changed the gradient that it was given",
    "reload": "saving and loading lost or changed a parameter or its state",
}
"""The contracts that every scenario checks, and what a violation means."""


def circumstances(scenario: Scenario, group: int, param: int) -> str:
    """What is special about a parameter, apart from its numbers."""
    out = []
    p = scenario.all_groups[group].params[param]
    if p.layout != "contiguous" and p.shape and (len(p.shape) > 1 or "strided" in p.layout):
        grad_only = p.layout == "grad-strided"
        out.append("non-contiguous gradient" if grad_only else "non-contiguous tensors")
    if group >= len(scenario.groups):
        out.append("group added in mid-training")
    elif group:
        out.append("not the first group")
    return ", ".join(out)


def failure_key(d: Diagnosis, scenario: Scenario) -> Key:
    """The class that a failure belongs to."""
    where = circumstances(scenario, d.group, d.param)
    if "non-contiguous" in where:  # whatever happens to be read from the wrong place
        return d.equation, "any", where
    return d.equation, "finite" if math.isfinite(d.observed) else "non-finite", where


class Explainer:
    """Turns failures of one implementation into findings.

    ``fixed`` are the hyperparameters that keep their values when a scenario is made small.
    ``failing`` holds traces of each class of failures, with how mixed they are.  ``findings`` and
    ``answers`` (what explains each class of numeric failures) grow with each call; failures that
    turn out to be the same are merged.
    """

    def __init__(
        self,
        runs: Runs,
        claimed: Mapping[str, str],
        passing: Sequence[Trace],
        failing: Mapping[Key, Sequence[tuple[int, Trace]]],
        *,
        profile: Profile,
        fixed: Collection[str],
    ) -> None:
        self.runs, self.claimed = runs, claimed
        self.implementation, self.spec = runs.implementation, runs.spec
        self.profile, self.fixed = profile, fixed
        self.passing, self.failing = list(passing), failing
        self.findings: list[dict[str, Any]] = []
        self.answers: list[Identification] = []
        self._known: list[tuple[Key, Identification, dict[str, Any]]] = []

    # ---- numeric -----------------------------------------------------------------------------

    def numeric(
        self,
        key: Key,
        scenario: Scenario,
        focus: Focus,
        occurrences: int,
    ) -> None:
        """A class of numeric failures, first seen in ``scenario``."""

        def fails(candidate: Scenario) -> Focus | None:
            again = self._again(candidate, key)
            if again is None or not again[1].confirmed:
                return None
            d = again[1]
            return d.step, d.group, d.param, d.index

        small = self._minimised(scenario, focus, fails, 150)
        again = self._again(small, key)
        if again is None:
            self.findings.append(self._unsteady(scenario, key, occurrences))
            self.answers.append(UNEXPLAINED)
            return
        trace, d = again
        least = failure_key(d, small)
        kept = self.failing.get(key, ())
        traces = [t for _, t in kept]
        for other, answer, finding in self._known:
            if other == least and self._covers(answer, least, trace, traces):
                finding["occurrences"] += occurrences
                return
        lent = None
        if d.group:
            lent = explain.borrowed(
                [trace, *traces], self.spec, self.claimed, self.profile, d.output
            )
        answer = UNEXPLAINED if lent else self._identified(key, least, trace)
        for other, known, finding in self._known:
            if other == least and (known.variant, known.profile) == (
                answer.variant,
                answer.profile,
            ):
                finding["occurrences"] += occurrences
                return
        finding = self._numeric(d, small, occurrences, answer, traces, lent)
        self._known.append((least, answer, finding))
        self.findings.append(finding)
        self.answers.append(answer)

    def _again(self, scenario: Scenario, key: Key) -> tuple[Trace, Diagnosis] | None:
        """Run a scenario once more; its trace and diagnosis when it fails in the same way."""
        trace = self.runs.tried(scenario)
        if trace is None or trace.crash is not None:
            return None
        judged = judge(trace, self.spec, self.claimed, profile=self.profile)
        for d in diagnoses(trace, self.spec, self.claimed, self.profile, judged):
            if d.equation == key[0] and key[1] in (_seen(d), "any"):
                return trace, d
        return None

    @functools.cached_property
    def _whole(self) -> Identification:
        """One explanation of everything that failed, the plainest there can be."""
        # some of each class; the smallest first: they reject most hypotheses at the least cost
        some = {id(t): t for kept in self.failing.values() for _, t in kept[:2]}
        traces = sorted(some.values(), key=lambda t: sum(len(r) for r in t.rows.values()))
        return self._identify([*traces, *self.passing]) if traces else UNEXPLAINED

    def _identify(self, traces: Sequence[Trace], *, decisive: bool = True) -> Identification:
        return identify(
            traces, self.spec, instead_of=self.claimed, base=self.profile, decisive=decisive
        )

    def _explains(self, answer: Identification, traces: Sequence[Trace]) -> bool:
        """Whether a known explanation (or the lack of one) covers these traces as well."""
        if answer.variant is None:
            return True
        variant = tuple(self.spec.variant(answer.variant).items())
        return all(admitted(t, self.spec, [variant], answer.profile) for t in traces)

    def _covers(
        self, answer: Identification, key: Key, smallest: Trace, traces: Sequence[Trace]
    ) -> bool:
        """Whether a known explanation leaves nothing of a class; what ``traces`` show besides is
        another's."""
        if answer.variant is None:
            return True
        if not self._explains(answer, [smallest]):
            return False
        name, seen, _ = key
        for trace in traces:
            for part in judge(trace, self.spec, answer.variant, profile=answer.profile):
                for output in [name] if name in part.outputs else part.outputs:
                    failed = part.outputs[output].failed
                    finite = np.isfinite(part.block.steps.observed[output])
                    alike = {"finite": failed & finite, "non-finite": failed & ~finite}
                    if alike.get(seen, failed).any():
                        return False
        return True

    def _identified(self, key: Key, least: Key, smallest: Trace) -> Identification:
        """What explains the class ``key`` of failures, which became ``least`` when made small; from
        the smallest trace alone only if unambiguous."""
        self.runs.emit({"event": "phase", "phase": "identifying"})
        # more traces explain no more; with 16 bits, master weights admit too much in so small a one
        low = FORMATS[smallest.scenario.dtype].digits < FORMATS["float32"].digits
        if not low and self._identify([smallest], decisive=False).variant is None:
            return UNEXPLAINED
        whole = self._whole
        if whole.variant is not None and self._explains(whole, [smallest]):
            return whole
        kept = [k for some in dict.fromkeys((key, least)) for k in self.failing.get(some, ())]
        pure, every = [t for n, t in kept if n == 1], [t for _, t in kept]
        for some in [pure, every] if len(pure) < len(every) else [every]:
            # the smallest goes first: it rejects most hypotheses at the least cost
            answer = self._identify([smallest, *some, *self.passing])
            if answer.variant is None:
                break
            if some or answer.unique or answer.variant == self.claimed:
                return answer
        return UNEXPLAINED

    def _numeric(
        self,
        d: Diagnosis,
        small: Scenario,
        occurrences: int,
        answer: Identification,
        traces: Sequence[Trace],
        lent: str | None,
    ) -> dict[str, Any]:
        match = answer.variant if answer.variant != self.claimed else None
        shift = self._shift(traces) if answer.variant is None and lent is None else None
        where = circumstances(small, d.group, d.param)
        reason = self._reason(d, answer, match, shift, small.dtype)
        if lent is not None:
            reason = (
                f"{lent} of the group is ignored; the first group's value explains what is seen"
            )
        summary = f"step {d.step}, {d.tensor}[{d.index}]: {reason}"
        return {
            "kind": "numeric",
            "check": "free-running" if d.free else "lockstep",
            "summary": f"{summary} ({where})" if where else summary,
            "step": d.step,
            "tensor": d.tensor,
            "group": d.group,
            "param": d.param,
            "index": [d.index],
            "observed": d.observed,
            "expected": d.expected,
            "bound": d.bound,
            "ratio": d.ratio,
            "equation": equation_text(self.spec, self.claimed, d.equation),
            "equation_name": d.equation,
            "variant_match": match,
            "profile_match": answer.profile.as_dict() if answer.profile != self.profile else None,
            "confirmed": d.confirmed,
            "occurrences": occurrences,
            "scenario": to_json(small),
            "repro": repro_of(self.implementation, small, self.spec) + _expectation(d),
        }

    def _shift(self, traces: Sequence[Trace]) -> int | None:
        """By how much t is off, when that explains every trace."""
        for k in (1, -1):
            if traces and all(
                explain.shifted_t(t, self.spec, self.claimed, self.profile, k) for t in traces
            ):
                return k
        return None

    def _reason(
        self,
        d: Diagnosis,
        answer: Identification,
        match: Mapping[str, str] | None,
        shift: int | None,
        dtype: str,
    ) -> str:
        told = answer.profile != self.profile and (
            match is None or not answer.profile.harmless(dtype)
        )
        if answer.variant is not None and told:
            parts = profile_in_words(answer.profile)
            follows = f"{self._follows(match)}; " if match is not None else ""
            return f"{follows}{parts}, a precision that it does not claim"
        if match is not None:
            return self._follows(match)
        if shift is not None:
            used = ", ".join(explain.uses_t(self.spec, self.claimed))
            return f"t is off by one ({shift:+d}) in {used}"
        if d.must_nan:
            return f"{d.observed!r} where the equation {d.equation} is 0/0 or starts from NaN"
        if not (math.isfinite(d.observed) and math.isfinite(d.ratio)):  # no ratio to tell
            wanted = f"{d.observed!r} instead of {d.expected!r}"
            return f"{wanted}; no variant of {d.equation} explains it"
        return f"off by {d.ratio:.3g} bounds; no variant of the equation {d.equation} explains it"

    def _follows(self, match: Mapping[str, str]) -> str:
        axes = self.spec.axes
        differ = {
            a: (match.get(a, axes[a].default), self.claimed.get(a, axes[a].default)) for a in axes
        }
        differ = {a: pair for a, pair in differ.items() if pair[0] != pair[1]}
        follows = ", ".join(f"{a} = {found}" for a, (found, _) in differ.items())
        claims = ", ".join(f"{a} = {wanted}" for a, (_, wanted) in differ.items())
        return f"follows {follows}, claims {claims}"

    def _unsteady(self, scenario: Scenario, key: Key, occurrences: int) -> dict[str, Any]:
        return {
            "kind": "contract",
            "check": "determinism",
            "summary": f"a failure of equation {key[0]} did not come back when the scenario ran "
            "again",
            "occurrences": occurrences,
            "scenario": to_json(scenario),
            "repro": repro_of(self.implementation, scenario, self.spec),
        }

    # ---- contracts and crashes ---------------------------------------------------------------

    def contract(self, check: str, scenario: Scenario, where: tuple[int, int, int]) -> None:
        """A broken contract, seen at (step from 0, group, param)."""

        def fails(candidate: Scenario) -> Focus | None:
            trace = self.runs.tried(candidate)
            found = (
                None if trace is None else next((b for b in trace.broken if b[0] == check), None)
            )
            return None if found is None else (found[1] + 1, found[2], found[3], 0)

        small, at = self._smaller(scenario, (where[0] + 1, where[1], where[2], 0), fails)
        self.findings.append(
            {
                "kind": "contract",
                "check": check,
                "summary": f"step {at[0]}: {CONTRACTS[check]} (parameter {at[2]} of group {at[1]})",
                "step": at[0],
                "scenario": to_json(small),
                "repro": repro_of(self.implementation, small, self.spec),
            }
        )

    def crash(self, scenario: Scenario, error: BaseException, step: int, occurrences: int) -> None:
        """An exception of the subject, first seen in ``scenario``."""

        def fails(candidate: Scenario) -> Focus | None:
            trace = self.runs.tried(candidate)
            if trace is None or type(trace.crash).__qualname__ != type(error).__qualname__:
                return None
            return max(trace.crash_step + 1, 0), 0, 0, 0

        steady = fails(scenario)
        if steady is None:
            small = scenario
            summary = f"raised {one_line(error)}, once, and not when the scenario ran again"
        else:
            small, at = self._smaller(scenario, steady, fails)
            when = f"step {at[0]}" if at[0] else "construction"
            summary = f"{when}: raised {one_line(error)}"
        self.findings.append(
            {
                "kind": "crash",
                "check": "run" if steady else "determinism",
                "summary": summary,
                "occurrences": occurrences,
                "traceback": traceback_of(error),
                "scenario": to_json(small),
                "repro": repro_of(self.implementation, small, self.spec),
            }
        )

    def _smaller(self, scenario: Scenario, at: Focus, fails: Fails) -> tuple[Scenario, Focus]:
        small = self._minimised(scenario, at, fails, 60)
        return small, fails(small) or at

    def _minimised(self, scenario: Scenario, at: Focus, fails: Fails, budget: int) -> Scenario:
        """Within so many trials; one of a slow subject takes seconds."""
        budget = 3 if self.implementation.slow else budget
        return minimise(scenario, at, fails, self.spec, fixed=self.fixed, budget=budget)


def profile_in_words(profile: Profile) -> str:
    """What is special about a profile."""
    told = {
        "scalars": "computes scalars in float32",
        "hypers": "rounds hyperparameters to float32",
        "memory": "remembers more digits than its tensors show",
        "subnormals": "flushes subnormal numbers to zero",
        "rounding": "rounds to either neighbour, not to the nearest",
    }
    return " and ".join(told[name] for name in profile.deviations())


def _seen(d: Diagnosis) -> str:
    return "finite" if math.isfinite(d.observed) else "non-finite"


def _expectation(d: Diagnosis) -> str:
    """What to look for in the output of a repro script."""
    if d.must_nan:
        right = "NaN (the equation is 0/0 there, or its input is NaN)"
    else:
        right = f"{d.expected!r}, with every faithful rounding within {d.bound:.3g} of it"
    return (
        f"# expected after step {d.step}, {d.tensor}, element {d.index} of parameter {d.param} "
        f"of group {d.group}:\n#   {right}\n# observed: {d.observed!r}\n"
    )
