"""One cell of a report: an implementation, a spec and a dtype, from drawn scenarios to a result."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .contracts.bench import Bench
from .contracts.phase import hold_to_contracts, place
from .contracts.relations import RELATIONS
from .counts import Counts
from .coverage import Separation, regimes
from .decay import AXIS, applied_decay
from .draws import drawn
from .edits import with_company
from .errors import one_line
from .explain import diagnoses
from .findings import Explainer, Key, circumstances, failure_key, profile_in_words
from .formats import EXTENDED
from .identify import UNEXPLAINED, Identification, own_profiles
from .implementation import Implementation, Unsupported, documented, lacks
from .impls.adapters.torch_contracts import SENTENCES
from .lockstep import Judged, failing, failing_params, judge
from .minimise import Focus
from .oracle.scalars import PROFILES, Profile
from .runs import Emit, Runs
from .scenario import Group, Param, Recipe, Scenario, Step, from_json
from .spec import Spec, Value
from .trace import Trace

SLOW_EXAMPLES = 2  # scenarios for an implementation that takes seconds to start
KEPT_TRACES = 6  # failing traces kept for identification, per class of failure

NUMERIC = {
    "lockstep": "every parameter and state tensor after every step, from the subject's own state",
    "free-running": "every parameter after every step, where the state cannot be seen",
    "none-gradient": "a parameter without a gradient, and its state, stay as they are",
    "gradient-untouched": "the step leaves the gradients as they were",
    "reload": "a state dict that is saved and loaded gives parameters and state back",
    "surroundings": "a step leaves the process as it was: default dtype, threads, flush-to-zero",
    "run": "the subject neither raises nor hangs nor ends its process",
}

CHECKS = NUMERIC | {r.name: r.sentence for r in RELATIONS} | SENTENCES
"""What is checked, one sentence each."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How much is drawn.  ``hyper`` fixes hyperparameters by their name in the spec; ``dtypes`` are
    all that are requested: what does not depend on the dtype is tried in one of them.  ``replay``
    are scenarios, in JSON, that are looked at before any that is drawn; the result's ``replayed``
    says what was amiss in each."""

    examples: int = 60
    steps: int = 8
    seed: int = 0
    hyper: Mapping[str, Value] = field(default_factory=dict)
    dtypes: Sequence[str] = ()
    replay: Sequence[Mapping[str, Any]] = ()


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
        self.replay = [from_json(s) for s in settings.replay]
        self.profile = Profile()
        self.runs = Runs(implementation, spec, emit)
        self._clear()

    def _clear(self) -> None:
        self.counts: dict[str, Counts] = {}
        self.regimes: dict[str, int] = {}
        self.separation = Separation(self.spec, self.claimed)
        self.scenarios = self.steps = 0
        self.moved = False
        self.free = False
        self.failures: dict[Key, tuple[Scenario, Focus, int]] = {}
        self.crashes: dict[str, tuple[Scenario, BaseException, int, int]] = {}
        self.broken: dict[str, tuple[Scenario, tuple[int, int, int]]] = {}
        self.failing: dict[Key, list[tuple[int, Trace]]] = {}
        self.passing: list[Trace] = []
        self.contracts: dict[str, str] = {}
        self.breaches: list[dict[str, Any]] = []
        self.replayed: list[list[str]] = []

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
        self.profile = self._own_profile()
        if self.profile != Profile():
            # a precision of its own is no fault; everything is judged again by it
            self._clear()
            self._draw()
        self.runs.forget()
        explainer = Explainer(
            self.runs,
            self.claimed,
            self.passing,
            self.failing,
            profile=self.profile,
            fixed=self.fixed,
        )
        for key, (scenario, focus, count) in self.failures.items():
            explainer.numeric(key, scenario, focus, count)
        for check, (scenario, where) in self.broken.items():
            explainer.contract(check, scenario, where)
        for scenario, error, step, count in self.crashes.values():
            explainer.crash(scenario, error, step, count)
        answers, findings = explainer.answers, explainer.findings
        # the variant that explains everything, when one does
        whole = next(iter(answers), None)
        if whole is not None and any(a.variant != whole.variant for a in answers):
            whole = UNEXPLAINED

        def result() -> dict[str, Any]:
            every = [*findings, *self.runs.left.values(), *self.breaches]
            return self._result(self._verdict(answers), begin, findings=every, answer=whole)

        if refusal is None:
            self.emit({"event": "so far", "result": result()})
            self._contracts(whole)
        return result()

    def _own_profile(self) -> Profile:
        """The precision profile that the subject is judged by: the usual one, unless another that
        keeps the precision of its tensors clears whole classes of failures; then the one that
        clears most of them."""
        cleared: Counter[Profile] = Counter()
        self.emit({"event": "phase", "phase": "identifying"})
        for kept in self.failing.values():
            traces = [t for _, t in kept]
            for profile in own_profiles(traces, self.spec, self.claimed) if traces else ():
                if profile.rounding == "nearest" or self._random(traces[0]):
                    cleared[profile] += 1
        most = max(cleared.values(), default=0)
        return next((p for p in PROFILES if cleared[p] == most > 0), Profile())

    def _random(self, trace: Trace) -> bool:
        """Whether a parameter ahead of the others, which draws its own random numbers, changes
        theirs: stochastic rounding is no fault, and rounding in one direction is."""
        again = self.runs.tried(with_company(trace.scenario))
        if again is None or again.crash is not None:
            return False
        return any(
            not np.array_equal(row.observed["p"], other.observed["p"], equal_nan=True)
            for (g, k), rows in trace.rows.items()
            for row, other in zip(rows, again.rows.get((g, k + (g == 0)), []), strict=False)
        )

    def _probe(self, dtype: str) -> str | None:
        """The reason why the plainest scenario does not run in ``dtype``, or None."""
        param = Param((3,), Recipe("ones"), Recipe("normal"))
        hyper = {**self.spec.defaults, **self.fixed}
        plain = Scenario(self.spec.name, dtype, (Group(hyper, (param,)),), (Step(), Step()))
        try:
            trace = self.runs.run(plain)
        except Unsupported as e:
            return one_line(e)
        return one_line(trace.crash) if trace.crash is not None else None

    def _contracts(self, answer: Identification | None) -> None:
        """Hold the subject to its contracts, by the equations that it was seen to follow."""
        found = answer if answer is not None and answer.variant is not None else None
        variant = self.claimed if found is None or found.variant is None else found.variant
        bench = Bench(
            self.implementation,
            self.spec,
            self.spec.variant(variant),
            found.profile if found is not None else self.profile,
            self.dtype,
            self.fixed,
            self.emit,
            self.runs,
        )
        self.contracts, self.breaches = hold_to_contracts(
            bench, first=self._first(), known=frozenset(self.crashes)
        )

    def _first(self) -> bool:
        """Whether this is the first requested dtype that the subject takes; float32 goes first."""
        order = sorted(self.settings.dtypes or [self.dtype], key=lambda d: d != "float32")
        earlier = order[: order.index(self.dtype)] if self.dtype in order else []
        if self.implementation.slow:
            return not earlier
        return all(self._probe(dtype) is not None for dtype in earlier)

    def _draw(self) -> None:
        slow = self.implementation.slow
        scenarios = drawn(
            self.spec,
            dtype=self.dtype,
            examples=SLOW_EXAMPLES if slow else self.settings.examples,
            seed=self.settings.seed,
            max_steps=self.settings.steps,
            fixed=self.fixed,
            changeable=self.implementation.changeable(self.spec),
            small=slow,
            lacks=lacks(self.implementation),
        )
        amiss = [sorted(self._look(k, s)) for k, s in enumerate([*self.replay, *scenarios])]
        self.replayed = amiss[: len(self.replay)]

    def _look(self, k: int, scenario: Scenario) -> set[str]:
        """Run and judge a scenario; what is amiss in it: tensors, contracts, ``run``."""
        trace = self.runs.numbered(k, scenario)
        if trace is None:
            return set()
        amiss = {"surroundings"} if trace.left else set[str]()
        self.scenarios += 1
        self.steps += scenario.steps
        judged = self._judge(trace)
        self.free |= any(part.free for part in judged)
        for part in judged:
            for name, judgement in part.outputs.items():
                label = "param" if name == "p" else self._label(part, name)
                counts = self.counts.setdefault(label, Counts())
                counts.add(judgement, part.block.place.steps)
            start, observed = part.block.steps.start["p"], part.block.steps.observed["p"]
            self.moved |= bool((start != observed).any())
        for name, n in regimes(judged, scenario).items():
            self.regimes[name] = self.regimes.get(name, 0) + n
        if trace.crash is not None:
            kind = place(trace.crash)  # one fault, one finding
            known = self.crashes.get(kind)
            count = known[3] + 1 if known else 1
            first = known[:3] if known else (scenario, trace.crash, trace.crash_step)
            self.crashes[kind] = (*first, count)
            amiss.add("run")
        for check, *where in trace.broken:
            self.broken.setdefault(check, (scenario, (where[0], where[1], where[2])))
            amiss.add(check)
        self.separation.look(trace, self.profile, follows=not failing(judged))
        if failing(judged):
            for d in diagnoses(trace, self.spec, self.claimed, self.profile, judged):
                key = failure_key(d, scenario)
                focus = (d.step, d.group, d.param, d.index)
                first_seen = self.failures.get(key, (scenario, focus, 0))
                self.failures[key] = (*first_seen[:2], first_seen[2] + 1)
                self._keep(key, trace, judged)
                amiss.add(d.tensor)
        elif len(self.passing) < 2:
            self.passing.append(trace)
        self.emit({"event": "progress", "counts": self._checks()})
        return amiss

    def _keep(self, key: Key, trace: Trace, judged: list[Judged]) -> None:
        """Keep a failing trace for identification; the purer, the better it explains its class."""
        found = failing_params(judged)
        odd = {o for _, _, o in found}
        if len(odd) > 1:
            return
        where = {circumstances(trace.scenario, g, p) for g, p, _ in found}
        kept = self.failing.setdefault(key, [])
        kept.append((len(where), trace))
        kept.sort(key=lambda k: k[0])
        del kept[KEPT_TRACES:]

    def _judge(self, trace: Trace) -> list[Judged]:
        return judge(trace, self.spec, self.claimed, profile=self.profile)

    def _label(self, part: Judged, name: str) -> str:
        return next(s.torch_name for s in part.program.states if s.name == name)

    def _checks(self) -> dict[str, Any]:
        total = Counts()
        for c in self.counts.values():
            total.join(c)
        return {
            **total.as_dict(),
            "passed": total.total - total.failed - total.undecided,
            "scenarios": self.scenarios,
            "steps": self.steps,
            "tensors": {n: c.as_dict() for n, c in self.counts.items()},
            "contracts": self.contracts,
        }

    def _other_decays(self, answer: Identification | None) -> tuple[list[str], list[str]]:
        """The decays that no run told from the one that was found, and those that are the same
        formula in these runs; the one that was found may be among them."""
        if answer is not None and answer.variant is not None and AXIS in self.spec.axes:
            usual = self.spec.axes[AXIS].default
            alike = [v.get(AXIS, usual) for v in answer.aliases]
            rivals = [v.get(AXIS, usual) for v in answer.accepted if v not in answer.aliases]
            return rivals, alike
        sign, found = f"{AXIS} = ", self.separation.as_dict()
        named = (
            [v.removeprefix(sign) for v in found[kind] if v.startswith(sign)]
            for kind in ("open", "same")
        )
        return next(named), next(named)

    # ---- the result --------------------------------------------------------------------------

    def _verdict(self, answers: list[Identification]) -> str:
        if any(a.variant is None for a in answers):
            return "diverges"
        if self.crashes:
            return "error"
        if self.broken or self.breaches or self.runs.left:
            return "diverges"
        if answers:
            return "variant"
        decided = sum(c.total - c.undecided - c.vacuous for c in self.counts.values())
        return "conforms" if decided and self.moved and not self.separation.blind else "undecided"

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
        if verdict == "conforms" and self.profile != Profile():
            message = f"follows the equations, and {profile_in_words(self.profile)}"
        if verdict == "undecided" and not message:
            blind = self.moved and self.separation.blind
            other = "any neighbour of the claimed variant" if blind else "one that does nothing"
            message = f"nothing that was drawn could have told this optimizer from {other}"
        rivals, alike = self._other_decays(answer)
        here: Mapping[str, str] | None = variant
        if variant is None and self.separation.apart:
            # some runs leave every variant; those that do not still tell which decay it is
            here = self.claimed
        return {
            **describe(self.implementation, self.spec, self.dtype),
            "claimed": dict(self.claimed),
            "documented": documented(self.implementation),
            "variant": variant,
            "profile": (answer.profile if answer else self.profile).as_dict(),
            "decay": applied_decay(
                self.implementation,
                self.spec,
                here,
                drawn=self.regimes.get("weight decay on", 0) > 0,
                rivals=rivals,
                alike=alike,
                apart="" if variant is not None else "in the runs that follow the spec",
            ),
            "verdict": verdict,
            "mode": "free-running" if self.free else "lockstep",
            "message": message,
            "checks": self._checks(),
            "regimes": self.regimes,
            "neighbours": self.separation.as_dict(),
            "seconds": round(time.perf_counter() - begin, 3),
            "findings": findings or [],
            **({"replayed": self.replayed} if self.replay else {}),
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
