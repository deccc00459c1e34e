"""One cell of a report: an implementation, a spec and a dtype, from drawn scenarios to a result."""

import math
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
from .lockstep import Judged, Trace, failing, failing_params, judge, run
from .minimise import Focus, minimise
from .oracle.scalars import Profile
from .render import equation_text
from .scenario import Group, Param, Recipe, Scenario, Step, to_json
from .spec import Spec, Value
from .strategies import scenarios

Emit = Callable[[dict[str, Any]], None]
"""Tells the outside what goes on, so that nothing is lost when the subject kills the process."""

SLOW_EXAMPLES = 2  # scenarios for an implementation that takes seconds to start
KEPT_TRACES = 6  # failing traces kept for identification, per class of failure

Key = tuple[str, str, str]
"""What makes two failures one finding: the equation, the value seen, the circumstances."""


CONTRACTS = {
    "none-gradient": "a parameter or its state changed although its gradient is None",
    "gradient-untouched": "the step changed the gradient that it was given",
}
"""The contracts that every scenario checks, and what a violation means."""

CHECKS = {
    "lockstep": "every parameter and state tensor after every step, from the subject's own state",
    "free-running": "every parameter after every step, where the state cannot be seen",
    "none-gradient": "a parameter without a gradient, and its state, stay as they are",
    "gradient-untouched": "the step leaves the gradients as they were",
    "run": "the subject neither raises nor hangs nor ends its process",
    "determinism": "a scenario that failed fails again",
}
"""What is checked, one sentence each."""


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
        self.failures: dict[Key, tuple[Scenario, Focus, int]] = {}
        self.crashes: dict[str, tuple[Scenario, BaseException, int, int]] = {}
        self.broken: dict[str, tuple[Scenario, tuple[int, int, int]]] = {}
        self.failing: dict[Key, list[tuple[int, Trace]]] = {}
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
        findings += [self._contract_finding(check, *c) for check, c in self.broken.items()]
        numeric: dict[Any, dict[str, Any]] = {}
        answers: list[Identification] = []
        for key in self.failures:
            same, finding, answer = self._numeric_finding(key)
            if same in numeric:
                numeric[same]["occurrences"] += finding["occurrences"]
            else:
                numeric[same] = finding
                answers.append(answer)
        findings = [*numeric.values(), *findings]
        verdict = self._verdict(answers)
        # the variant that explains everything, when one does
        whole = next(iter(answers), None)
        if whole is not None and any(a.variant != whole.variant for a in answers):
            whole = Identification(self.spec.name, None, Profile(), [], [], 0)
        return self._result(verdict, begin, findings=findings, answer=whole)

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
        for check, *where in trace.broken:
            self.broken.setdefault(check, (scenario, (where[0], where[1], where[2])))
        if failing(judged):
            d = diagnose(trace, self.spec, self.claimed, Profile(), judged)
            assert d is not None
            key = self._key(d, scenario)
            first_seen = self.failures.get(key, (scenario, (d.step, d.group, d.param, d.index), 0))
            self.failures[key] = (*first_seen[:2], first_seen[2] + 1)
            self._keep(key, trace, judged)
        elif len(self.passing) < 2:
            self.passing.append(trace)
        self.emit({"event": "progress", "counts": self._checks()})

    def _keep(self, key: Key, trace: Trace, judged: list[Judged]) -> None:
        """Keep a failing trace for identification; the purer, the better it explains its class."""
        found = failing_params(judged)
        odd = {o for _, _, o in found}
        if len(odd) > 1:
            return
        where = {_circumstances(trace.scenario, g, p) for g, p, _ in found}
        kept = self.failing.setdefault(key, [])
        kept.append((len(where), trace))
        kept.sort(key=lambda k: k[0])
        del kept[KEPT_TRACES:]

    def _judge(self, trace: Trace) -> list[Judged]:
        return judge(trace, self.spec, self.claimed, profile=Profile())

    def _label(self, part: Judged, name: str) -> str:
        return next(s.torch_name for s in part.program.states if s.name == name)

    def _checks(self) -> dict[str, Any]:
        total = _Counts()
        for c in self.counts.values():
            total.total += c.total
            total.failed += c.failed
            total.undecided += c.undecided
            total.vacuous += c.vacuous
            total.max_ratio = max(total.max_ratio, c.max_ratio)
        return {
            **total.as_dict(),
            "passed": total.total - total.failed - total.undecided,
            "scenarios": self.scenarios,
            "steps": self.steps,
            "tensors": {n: c.as_dict() for n, c in self.counts.items()},
        }

    # ---- explaining --------------------------------------------------------------------------

    def _key(self, d: Diagnosis, scenario: Scenario) -> Key:
        seen = "finite" if math.isfinite(d.observed) else "non-finite"
        return d.equation, seen, _circumstances(scenario, d.group, d.param)

    def _identified(self, key: Key, smallest: Trace) -> Identification:
        """What explains a class of failures; from the smallest trace alone only if unambiguous."""
        self.emit({"event": "phase", "phase": "identifying"})
        kept = self.failing.get(key, [])
        for some in ([t for n, t in kept if n == 1], [t for _, t in kept]):
            if some:
                answer = identify([*some, *self.passing], self.spec, instead_of=self.claimed)
                if answer.variant is not None:
                    return answer
        answer = identify([smallest, *self.passing], self.spec, instead_of=self.claimed)
        if answer.variant is not None and (answer.unique or answer.variant == self.claimed):
            return answer
        return Identification(self.spec.name, None, Profile(), [], [], 0)

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

    def _numeric_finding(self, key: Key) -> tuple[Any, dict[str, Any], Identification]:
        """A finding, what makes it the same as another one, and what explains it."""
        scenario, focus, occurrences = self.failures[key]

        def fails(candidate: Scenario) -> Focus | None:
            again = self._again(candidate)
            if again is None or not again[1].confirmed:
                return None
            d = again[1]
            if d.equation != key[0] or math.isfinite(d.observed) != (key[1] == "finite"):
                return None
            return d.step, d.group, d.param, d.index

        budget = 4 if self.implementation.slow else 150
        small = minimise(scenario, focus, fails, self.spec, budget=budget)
        again = self._again(small)
        if again is None:
            nothing = Identification(self.spec.name, None, Profile(), [], [], 0)
            return ("unsteady",), self._unsteady(scenario, key, occurrences), nothing
        trace, d = again
        answer = self._identified(key, trace)
        match = answer.variant if answer.variant and answer.variant != self.claimed else None
        shift = None
        kept = [t for _, t in self.failing.get(key, [])]
        if answer.variant is None and kept:
            shift = next(
                (
                    k
                    for k in (1, -1)
                    if all(
                        explain.shifted_t(x, self.spec, self.claimed, Profile(), k)
                        for x in kept
                    )
                ),
                None,
            )
        place = f"{d.tensor}[{d.index}]"
        summary = f"step {d.step}, {place}: {self._reason(d, answer, match, shift)}"
        where = _circumstances(small, d.group, d.param)
        if where:
            summary += f" ({where})"
        same = (d.equation, key[1], where, str(match), answer.profile, shift)
        finding = {
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
        return same, finding, answer

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

    def _unsteady(self, scenario: Scenario, key: Key, occurrences: int) -> dict[str, Any]:
        return {
            "occurrences": occurrences,
            "kind": "contract",
            "check": "determinism",
            "summary": f"a failure of equation {key[0]} did not come back when the scenario ran again",
            "scenario": to_json(scenario),
            "repro": self.implementation.repro(scenario, self.spec),
        }

    def _contract_finding(
        self, check: str, scenario: Scenario, where: tuple[int, int, int]
    ) -> dict[str, Any]:
        step, group, param = where

        def fails(candidate: Scenario) -> Focus | None:
            self.emit({"event": "scenario", "scenario": to_json(candidate)})
            try:
                trace = run(self.implementation, candidate, self.spec)
            except Unsupported:
                return None
            found = next((b for b in trace.broken if b[0] == check), None)
            return None if found is None else (found[1] + 1, found[2], found[3], 0)

        budget = 4 if self.implementation.slow else 60
        small = minimise(scenario, (step + 1, group, param, 0), fails, self.spec, budget=budget)
        again = fails(small) or (step + 1, group, param, 0)
        return {
            "kind": "contract",
            "check": check,
            "summary": f"step {again[0]}: {CONTRACTS[check]} (parameter {again[2]} of group {again[1]})",
            "step": again[0],
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

    def _verdict(self, answers: list[Identification]) -> str:
        if any(a.variant is None for a in answers):
            return "diverges"
        if self.crashes:
            return "error"
        if self.broken:
            return "diverges"
        if answers:
            return "variant"
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
            "checks": self._checks(),
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


def _circumstances(scenario: Scenario, group: int, param: int) -> str:
    """What is special about where a failure was seen, apart from its numbers."""
    out = []
    p = scenario.all_groups[group].params[param]
    if p.layout != "contiguous" and p.shape and (len(p.shape) > 1 or "strided" in p.layout):
        out.append("non-contiguous gradient" if p.layout == "grad-strided" else "non-contiguous tensors")
    if group >= len(scenario.groups):
        out.append("group added in mid-training")
    elif group:
        out.append("not the first group")
    return ", ".join(out)


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
