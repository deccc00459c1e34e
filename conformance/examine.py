"""One cell of a report: an implementation, a spec and a dtype, from drawn scenarios to a result."""

import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase

from . import explain
from .explain import Diagnosis, diagnose
from .formats import EXTENDED
from .identify import Identification, identify
from .implementation import Implementation, Unsupported, one_line
from .lockstep import Judged, Trace, failing, judge, run
from .minimise import Focus, minimise
from .oracle.scalars import Profile
from .render import equation_text
from .scenario import Group, Param, Recipe, Scenario, Step, to_json
from .spec import Spec, Value
from .strategies import scenarios

Emit = Callable[[dict[str, Any]], None]
"""Tells the outside what goes on, so that nothing is lost when the subject kills the process."""

SLOW_EXAMPLES = 2  # scenarios for an implementation that takes seconds to start
KEPT_TRACES = 8  # failing traces kept for identification


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is drawn.  ``hyper`` fixes hyperparameters by their name in the spec."""

    examples: int = 60
    steps: int = 8
    seed: int = 0
    hyper: Mapping[str, Value] = field(default_factory=dict)


@dataclass
class _Counts:
    total: int = 0
    failed: int = 0
    undecided: int = 0
    vacuous: int = 0
    max_ratio: float = 0.0

    def add(self, judgement: Any) -> None:
        self.total += judgement.failed.size
        self.failed += int(judgement.failed.sum())
        self.undecided += int(judgement.outcome.undecided.sum())
        self.vacuous += int(judgement.vacuous.sum())
        self.max_ratio = max(self.max_ratio, float(judgement.ratio.max(initial=0.0)))

    def as_dict(self) -> dict[str, Any]:
        return {
            "total": self.total,
            "failed": self.failed,
            "undecided": self.undecided,
            "vacuous": self.vacuous,
            "max_ratio": self.max_ratio,
        }


class Examination:
    """Draws scenarios, judges them, and explains what fails."""

    def __init__(
        self,
        implementation: Implementation,
        spec: Spec,
        claimed: Mapping[str, str],
        dtype: str,
        settings: Settings,
        emit: Emit,
    ) -> None:
        self.implementation, self.spec, self.dtype = implementation, spec, dtype
        self.claimed = spec.variant(claimed)
        self.settings, self.emit = settings, emit
        self.fixed = {**implementation.fixed(spec), **settings.hyper}
        self.counts: dict[str, _Counts] = {}
        self.regimes: dict[str, int] = {}
        self.scenarios = self.steps = 0
        self.moved = False
        self.visible = True
        self.failures: dict[tuple[str, str], tuple[Scenario, Focus, int]] = {}
        self.crashes: dict[str, tuple[Scenario, BaseException, int, int]] = {}
        self.touched: tuple[Scenario, tuple[int, int, int]] | None = None
        self.failing: list[Trace] = []
        self.passing: list[Trace] = []

    # ---- drawing -----------------------------------------------------------------------------

    def result(self) -> dict[str, Any]:
        """Run everything and give the result as it stands in the record."""
        begin = time.perf_counter()
        if self.dtype == "float64" and not EXTENDED:
            return self._result(
                "unsupported", begin, message="float64 subjects need an 80-bit long double here"
            )
        refusal = self._probe(self.dtype)
        if refusal is not None and self.dtype != "float32" and self._probe("float32") is None:
            return self._result("unsupported", begin, message=refusal)
        self._draw()
        findings = [self._crash_finding(*c) for c in self.crashes.values()]
        if self.touched is not None:
            findings.append(self._touched_finding(*self.touched))
        answer: Identification | None = None
        if self.failures:
            answer = self._identified()
            findings = [self._numeric_finding(k, answer) for k in self.failures] + findings
        verdict = self._verdict(answer)
        return self._result(verdict, begin, findings=findings, answer=answer)

    def _probe(self, dtype: str) -> str | None:
        """The reason why the plainest scenario does not run in ``dtype``, or None."""
        param = Param((3,), Recipe("ones"), Recipe("normal"))
        hyper = {**self.spec.defaults, **self.fixed}
        plain = Scenario(self.spec.name, dtype, (Group(hyper, (param,)),), (Step(), Step()))
        self.emit({"event": "scenario", "scenario": to_json(plain)})
        try:
            trace = run(self.implementation, plain, self.spec)
        except Unsupported as e:
            return one_line(e)
        return one_line(trace.crash) if trace.crash is not None else None

    def _draw(self) -> None:
        slow = self.implementation.slow
        strategy = scenarios(
            self.spec,
            dtype=self.dtype,
            max_steps=self.settings.steps,
            fixed=self.fixed,
            changeable=tuple(self.implementation.changeable(self.spec)),
            events=not slow,
        )

        @hypothesis.seed(self.settings.seed)
        @hypothesis.settings(
            max_examples=min(self.settings.examples, SLOW_EXAMPLES) if slow else self.settings.examples,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @hypothesis.given(strategy)
        def body(scenario: Scenario) -> None:
            self._look(scenario)

        body()

    def _look(self, scenario: Scenario) -> None:
        self.emit({"event": "scenario", "scenario": to_json(scenario)})
        try:
            trace = run(self.implementation, scenario, self.spec)
        except Unsupported:
            return
        self.scenarios += 1
        self.steps += scenario.steps
        judged = self._judge(trace)
        self.visible &= trace.visible
        for part in judged:
            for name, judgement in part.outputs.items():
                label = "param" if name == "p" else self._label(part, name)
                self.counts.setdefault(label, _Counts()).add(judgement)
            start, observed = part.block.steps.start["p"], part.block.steps.observed["p"]
            self.moved |= bool((start != observed).any())
        for name, n in explain.regimes(judged, scenario).items():
            self.regimes[name] = self.regimes.get(name, 0) + n
        if trace.crash is not None:
            kind = f"{type(trace.crash).__name__}: {one_line(trace.crash)}"
            known = self.crashes.get(kind)
            count = known[3] + 1 if known else 1
            first = known[:3] if known else (scenario, trace.crash, trace.crash_step)
            self.crashes[kind] = (*first, count)
        if trace.touched and self.touched is None:
            self.touched = (scenario, trace.touched[0])
        if failing(judged):
            d = diagnose(trace, self.spec, self.claimed, Profile(), judged)
            assert d is not None
            focus = (d.step, d.group, d.param, d.index)
            known_failure = self.failures.get(d.key)
            self.failures[d.key] = (
                (known_failure[0], known_failure[1], known_failure[2] + 1)
                if known_failure
                else (scenario, focus, 1)
            )
            if len(self.failing) < KEPT_TRACES:
                self.failing.append(trace)
        elif len(self.passing) < 2:
            self.passing.append(trace)
        self.emit({"event": "progress", "scenarios": self.scenarios, "checks": self._total()})

    def _judge(self, trace: Trace) -> list[Judged]:
        return judge(trace, self.spec, self.claimed, profile=Profile())

    def _label(self, part: Judged, name: str) -> str:
        return next(s.torch_name for s in part.program.states if s.name == name)

    def _total(self) -> int:
        return sum(c.total for c in self.counts.values())

    # ---- explaining --------------------------------------------------------------------------

    def _identified(self) -> Identification:
        self.emit({"event": "phase", "phase": "identifying"})
        return identify([*self.failing, *self.passing], self.spec)

    def _again(self, scenario: Scenario) -> tuple[Trace, Diagnosis] | None:
        """Run a scenario once more; its trace and diagnosis when it fails."""
        self.emit({"event": "scenario", "scenario": to_json(scenario)})
        try:
            trace = run(self.implementation, scenario, self.spec)
        except Unsupported:
            return None
        if trace.crash is not None:
            return None
        d = diagnose(trace, self.spec, self.claimed, Profile(), self._judge(trace))
        return None if d is None else (trace, d)

    def _numeric_finding(self, key: tuple[str, str], answer: Identification) -> dict[str, Any]:
        scenario, focus, occurrences = self.failures[key]

        def fails(candidate: Scenario) -> Focus | None:
            again = self._again(candidate)
            if again is None or again[1].key != key or not again[1].confirmed:
                return None
            d = again[1]
            return d.step, d.group, d.param, d.index

        budget = 4 if self.implementation.slow else 150
        small = minimise(scenario, focus, fails, self.spec, budget=budget)
        again = self._again(small)
        if again is None:
            return self._unsteady(scenario, key)
        trace, d = again
        match = answer.variant if answer.variant and answer.variant != self.claimed else None
        shift = None
        if answer.variant is None:
            shift = next(
                (
                    k
                    for k in (1, -1)
                    if all(
                        explain.shifted_t(x, self.spec, self.claimed, Profile(), k)
                        for x in self.failing
                    )
                ),
                None,
            )
        place = f"{d.tensor}[{d.index}]"
        summary = f"step {d.step}, {place}: {self._reason(d, answer, match, shift)}"
        return {
            "kind": "numeric",
            "check": "free-running" if d.free else "lockstep",
            "summary": summary,
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
            "profile_match": answer.profile.as_dict() if answer.profile != Profile() else None,
            "confirmed": d.confirmed,
            "occurrences": occurrences,
            "scenario": to_json(small),
            "repro": self.implementation.repro(small, self.spec) + _expectation(d),
        }

    def _reason(
        self, d: Diagnosis, answer: Identification, match: Mapping[str, str] | None, shift: int | None
    ) -> str:
        if answer.variant is not None and answer.profile != Profile():
            parts = [f"{k} in {v}" for k, v in answer.profile.as_dict().items() if v == "float32"]
            return f"computes {' and '.join(parts)}, a precision that it does not claim"
        if match is not None:
            axes = {**{a: self.spec.axes[a].default for a in self.claimed}, **match}
            follows = ", ".join(f"{a} = {v}" for a, v in axes.items() if self.claimed.get(a) != v)
            claims = ", ".join(
                f"{a} = {self.claimed.get(a, self.spec.axes[a].default)}"
                for a in axes
                if self.claimed.get(a) != axes[a]
            )
            return f"follows {follows}, claims {claims}"
        if shift is not None:
            used = ", ".join(explain.uses_t(self.spec, self.claimed))
            return f"t is off by one ({shift:+d}) in {used}"
        if d.must_nan:
            return f"{d.observed!r} where the equation {d.equation} is 0/0 or starts from NaN"
        if d.observed != d.observed or abs(d.observed) == float("inf"):
            return f"{d.observed!r} instead of {d.expected!r}; no variant of {d.equation} explains it"
        return f"off by {d.ratio:.3g} bounds; no variant of the equation {d.equation} explains it"

    def _unsteady(self, scenario: Scenario, key: tuple[str, str]) -> dict[str, Any]:
        return {
            "kind": "contract",
            "check": "determinism",
            "summary": f"a failure of equation {key[1]} did not come back when the scenario ran again",
            "scenario": to_json(scenario),
            "repro": self.implementation.repro(scenario, self.spec),
        }

    def _touched_finding(
        self, scenario: Scenario, where: tuple[int, int, int]
    ) -> dict[str, Any]:
        step, group, param = where

        def fails(candidate: Scenario) -> Focus | None:
            try:
                trace = run(self.implementation, candidate, self.spec)
            except Unsupported:
                return None
            if not trace.touched:
                return None
            s, g, p = trace.touched[0]
            return s + 1, g, p, 0

        budget = 4 if self.implementation.slow else 60
        small = minimise(scenario, (step + 1, group, param, 0), fails, self.spec, budget=budget)
        return {
            "kind": "contract",
            "check": "none-gradient",
            "summary": f"step {step + 1}: parameter {param} of group {group} or its state changed "
            "although its gradient is None",
            "scenario": to_json(small),
            "repro": self.implementation.repro(small, self.spec),
        }

    def _crash_finding(
        self, scenario: Scenario, error: BaseException, step: int, occurrences: int
    ) -> dict[str, Any]:
        def fails(candidate: Scenario) -> Focus | None:
            self.emit({"event": "scenario", "scenario": to_json(candidate)})
            try:
                trace = run(self.implementation, candidate, self.spec)
            except Unsupported:
                return None
            if trace.crash is None or type(trace.crash) is not type(error):
                return None
            return trace.crash_step + 1, 0, 0, 0

        budget = 4 if self.implementation.slow else 60
        small = minimise(scenario, (step + 1, 0, 0, 0), fails, self.spec, budget=budget)
        lines = traceback.format_exception(error)
        return {
            "kind": "crash",
            "check": "run",
            "summary": f"step {step + 1}: raised {one_line(error)}",
            "occurrences": occurrences,
            "traceback": "".join(lines)[-4000:],
            "scenario": to_json(small),
            "repro": self.implementation.repro(small, self.spec),
        }

    # ---- the result --------------------------------------------------------------------------

    def _verdict(self, answer: Identification | None) -> str:
        if self.failures:
            assert answer is not None
            return "variant" if answer.variant is not None else "diverges"
        if self.crashes:
            return "error"
        if self.touched is not None:
            return "diverges"
        decided = sum(c.total - c.undecided - c.vacuous for c in self.counts.values())
        return "conforms" if decided and self.moved else "undecided"

    def _result(
        self,
        verdict: str,
        begin: float,
        *,
        message: str = "",
        findings: list[dict[str, Any]] | None = None,
        answer: Identification | None = None,
    ) -> dict[str, Any]:
        total = _Counts()
        for c in self.counts.values():
            total.total += c.total
            total.failed += c.failed
            total.undecided += c.undecided
            total.vacuous += c.vacuous
            total.max_ratio = max(total.max_ratio, c.max_ratio)
        variant: dict[str, str] | None = dict(self.claimed)
        if answer is not None:
            variant = answer.variant
        if verdict == "undecided" and not message:
            message = "nothing that was drawn could have told this optimizer from one that does nothing"
        return {
            **describe(self.implementation, self.spec, self.dtype),
            "claimed": dict(self.claimed),
            "variant": variant,
            "profile": (answer.profile if answer else Profile()).as_dict(),
            "verdict": verdict,
            "mode": "lockstep" if self.visible else "free-running",
            "message": message,
            "checks": {
                **total.as_dict(),
                "passed": total.total - total.failed - total.undecided,
                "scenarios": self.scenarios,
                "steps": self.steps,
                "tensors": {n: c.as_dict() for n, c in self.counts.items()},
            },
            "regimes": self.regimes,
            "seconds": round(time.perf_counter() - begin, 3),
            "findings": findings or [],
        }


def describe(implementation: Implementation, spec: Spec, dtype: str) -> dict[str, Any]:
    """Who is judged by what: the head of a result."""
    return {
        "implementation": implementation.name,
        "library": implementation.library,
        "version": implementation.version,
        "spec": spec.name,
        "dtype": dtype,
    }


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
