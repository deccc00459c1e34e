"""Where two sides are the same formula: proved, never sampled.

The proof is an induction over the steps.  Both sides start from their initial states; then, in each
case of the settings, their new parameters are one rational function of what went in, if the states
were related as they are.  The relation (equal, or one is lr times the other) is read off the first
step and must survive every later one; states without a relation are unrelated unknowns.

A rational function says nothing of where a formula divides by zero, and so neither does a proof.
"""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from .. import expr
from ..equivalence import Case, Forms, Unwieldy, cases
from ..expr import Graph, Hyper, Index, Input, Product, reachable
from ..interpreter import Machine, machine, rebuilt
from ..spec import Value
from .pair import Pair

STEADY_LR = "lr constant"


@dataclass(frozen=True, slots=True)
class Coincidence:
    """That both sides compute the same parameters from the same gradients.

    ``when`` lists the conditions in words, none for always.  ``state`` tells whether their visible
    state is the same as well, ``identical`` whether even the expressions are, ``divides`` whether
    anything is divided at all: if so, and they are not identical, 0/0 is left open.
    """

    when: tuple[str, ...]
    state: bool
    identical: bool
    divides: bool
    cases: int


@dataclass(frozen=True, slots=True)
class Coincidences:
    """``always`` is None where the sides differ, or where no proof was found; then ``named`` holds
    the fewest conditions under which they coincide, and ``first_step`` tells whether the very first
    step is the same under any setting."""

    always: Coincidence | None
    named: tuple[Coincidence, ...]
    first_step: Coincidence | None

    def given(self, condition: str) -> bool:
        """Whether the sides are the same under this condition alone, or always."""
        return self.always is not None or any(c.when == (condition,) for c in self.named)


def coincidences(p: Pair) -> Coincidences:
    """Whether the two sides are the same formula, always or under named conditions."""
    prover = _Prover(p)
    if always := prover.proof(()):
        return Coincidences(always, (), None)
    named: list[Coincidence] = []
    conditions = prover.conditions()
    for count in (1, 2):
        found = []
        for some in itertools.combinations(conditions, count):
            if any(set(c.when) <= {words for words, _ in some} for c in named):
                continue  # one of them will do
            if proved := prover.proof(some):
                found.append(proved)
        named += found
    return Coincidences(None, tuple(named), prover.proof((), first_step=True))


def under(p: Pair, hypers: Mapping[str, Value]) -> Coincidence | None:
    """A proof that the sides are the same formula with these hyperparameters; None without."""
    conditions: list[Condition] = []
    for name, value in hypers.items():
        if isinstance(value, bool):
            conditions.append(
                (f"{name} {'on' if value else 'off'}", name if value else f"not {name}")
            )
        else:
            conditions.append((f"{name} = {value:g}", f"{name} == {value!r}"))
    return _Prover(p).proof(conditions)


Condition = tuple[str, str]
"""In words, and as an expression over hyperparameters (empty for a steady lr)."""


def read_by(m: Machine) -> set[str]:
    """The hyperparameters that its equations and initial states read."""
    nodes = [m.graph.nodes[i] for i in (*m.reachable(), *m.inits.values())]
    return {n.name for n in nodes if isinstance(n, Hyper)}


class _Prover:
    def __init__(self, p: Pair) -> None:
        self.pair = p
        self.graph = Graph()
        self.machines = tuple(machine(s.spec, s.variant, self.graph) for s in p.sides)
        self.tested = tuple(dict.fromkeys(c for m in self.machines for c in m.conditions))

    def conditions(self) -> list[Condition]:
        """What may make the sides coincide: flags, zeros of what they read, a steady lr."""
        read = set().union(*(read_by(m) for m in self.machines))
        tested = set().union(*(expr.names(expr.parse(c, where="")) for c in self.tested))
        found: list[Condition] = []
        for name, hyper in self.pair.both.hypers.items():
            if hyper.domain is None:
                if name in tested:
                    found += [(f"{name} off", f"not {name}"), (f"{name} on", name)]
            elif name != "lr" and (name in read or name in tested) and 0.0 in hyper.domain:
                found.append((f"{name} = 0", f"{name} == 0"))  # with lr = 0 nothing moves at all
        if "lr" in read:
            found.append((STEADY_LR, ""))
        return found

    def proof(
        self, conditions: Sequence[Condition], *, first_step: bool = False
    ) -> Coincidence | None:
        """A proof under these conditions, of the whole run or of its first step; None without."""
        spec = self.pair.both
        wanted = [c for _, c in conditions if c]
        restricted = replace(spec, requires=(*spec.requires, *wanted))
        found = cases(restricted, self.tested)
        if first_step and found:
            found = [case for case in found if case.constants.get("t") == 1]
        if not found:
            return None
        steady = any(words == STEADY_LR for words, _ in conditions)
        try:
            return _Induction(self.machines, found, steady).conclusion(
                tuple(words for words, _ in conditions)
            )
        except Unwieldy:
            return None


class _Induction:
    """Two machines in some cases, with lr keeping its value if ``steady``."""

    def __init__(self, machines: Sequence[Machine], found: Sequence[Case], steady: bool) -> None:
        self.a, self.b = machines
        self.graph, self.cases, self.steady = self.a.graph, found, steady
        self.identical = True

    def conclusion(self, when: tuple[str, ...]) -> Coincidence | None:
        relation = self._relation()
        divides = False
        for case in self.cases:
            x, y = self._both(case, relation)
            if not self._same(x["p"], y["p"]):
                return None
            divides |= _divides(self.graph, [*x.values(), *y.values()])
        one = self.graph.const(1)
        seen = [(set(m.visible(c.truths)) for m in (self.a, self.b)) for c in self.cases]
        named = [tuple(pair) for pair in seen]
        state = all(a == b and all(relation.get(n) == one for n in a) for a, b in named)
        return Coincidence(when, state, self.identical, divides, len(self.cases))

    def _relation(self) -> dict[str, Index]:
        """State -> what it must be multiplied by to be the other side's; those that survive.

        The first step proposes, the later ones dispose: what fails in one of them gives way to the
        next proposal, or leaves the state unrelated, until nothing fails any more.
        """
        proposals = {n: list(self._factors()) for n in self.a.inits if n in self.b.inits}
        while True:
            relation = {n: some[0] for n, some in proposals.items() if some}
            failed = {n for case in self.cases for n in self._broken(case, relation)}
            if not failed:
                return relation
            for n in failed:
                proposals[n].pop(0)

    def _factors(self) -> Iterator[Index]:
        graph = self.graph
        yield graph.const(1)
        if self.steady:
            lr = graph.add(Hyper("lr"))
            yield lr
            yield graph.product([(-1, lr)])

    def _broken(self, case: Case, relation: Mapping[str, Index]) -> Iterator[str]:
        """The related states that are not related any more after a step."""
        x, y = self._both(case, relation)
        for name, factor in relation.items():
            if name in x and name in y:
                scaled = self.graph.product([(1, factor), (1, x[name])])
                if not Forms(self.graph).same(scaled, y[name]):
                    yield name
            elif (name in x) != (name in y):
                yield name

    def _both(
        self, case: Case, relation: Mapping[str, Index]
    ) -> tuple[dict[str, Index], dict[str, Index]]:
        return self._outputs(self.a, case, {}), self._outputs(self.b, case, relation)

    def _outputs(self, m: Machine, case: Case, relation: Mapping[str, Index]) -> dict[str, Index]:
        """The new parameter and states, with everything in place that the case settles."""
        graph = self.graph
        known = {graph.add(Hyper(n)): graph.const(v) for n, v in case.constants.items()}
        begins = case.constants.get("t") == 1
        if begins or self.steady:
            known[graph.add(Hyper("lr0"))] = rebuilt(graph, graph.add(Hyper("lr")), dict(known))
        for n, init in m.inits.items():
            mine = graph.add(Input(n))
            if begins:
                known[mine] = rebuilt(graph, init, dict(known))
            elif m is self.b:
                factor = relation.get(n)
                known[mine] = (
                    graph.add(Input(f"the other {n}"))
                    if factor is None
                    else graph.product([(1, rebuilt(graph, factor, dict(known))), (1, mine)])
                )
        return {n: rebuilt(graph, i, known) for n, i in m.settled(case.truths).items()}

    def _same(self, i: Index, j: Index) -> bool:
        if i == j:
            return True
        self.identical = False
        return Forms(self.graph).same(i, j)


def _divides(graph: Graph, roots: Sequence[Index]) -> bool:
    nodes = [graph.nodes[i] for i in reachable(graph, roots)]
    return any(e < 0 for n in nodes if isinstance(n, Product) for e, _ in n.factors)
