"""The one door to a subject: runs of it in which nothing goes unseen.

Each is told before it begins and when it has ended, so that its time is its own and not the
judge's; what it has changed for the whole process is set back at once, and told; and those that are
numbered are kept, to be judged again.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from . import surroundings
from .implementation import Implementation, Unsupported, repro_of
from .scenario import Scenario, to_json
from .spec import Spec
from .trace import Trace, run

KEPT = 200  # runs, should they be judged again by another precision

Emit = Callable[[dict[str, Any]], None]
"""Tells the outside what goes on, so that nothing is lost when the subject kills the process."""


class Runs:
    """``left`` holds a finding for each sentence about what runs have changed for the process."""

    def __init__(self, implementation: Implementation, spec: Spec, emit: Emit) -> None:
        self.implementation, self.spec, self.emit = implementation, spec, emit
        self.left: dict[str, dict[str, Any]] = {}
        self._around = surroundings.look()
        self._kept: dict[int, Trace | None] = {}

    def run(
        self,
        scenario: Scenario,
        *,
        by: Implementation | None = None,
        first: int = 0,
        check: str = "",
    ) -> Trace:
        """What the subject does, or it in other circumstances: ``by``.  ``check`` is the contract
        that asks.  Raises Unsupported."""
        by = by or self.implementation
        done = to_json(scenario)
        with self.watched(done, lambda: repro_of(by, scenario, self.spec), check=check) as left:
            trace = run(by, scenario, self.spec, first=first)
        if left:  # what was read in other surroundings may not be what is there
            trace.left = left[0]
            trace.broken.clear()
        return trace

    def tried(self, scenario: Scenario) -> Trace | None:
        """The same; None where the scenario is not supported."""
        try:
            return self.run(scenario)
        except Unsupported:
            return None

    def numbered(self, k: int, scenario: Scenario) -> Trace | None:
        """The same for the ``k``-th scenario, made once."""
        if k in self._kept:
            return self._kept[k]
        found = self.tried(scenario)
        if k < KEPT:
            self._kept[k] = found
        return found

    def forget(self) -> None:
        self._kept.clear()

    @contextmanager
    def watched(
        self, done: Any, repro: Callable[[], str], *, check: str = ""
    ) -> Iterator[list[str]]:
        """While the subject is at work on what is ``done``.  Afterwards the list has a sentence
        about what it has left behind, if anything, which is told once."""
        left: list[str] = []
        self.emit({"event": "scenario", "scenario": done, **({"check": check} if check else {})})
        try:
            yield left
        finally:
            sentence = surroundings.give_back(self._around)
            if sentence:
                left.append(sentence)
            if sentence and sentence not in self.left:
                self.left[sentence] = {
                    "kind": "contract",
                    "check": "surroundings",
                    "summary": sentence,
                    "scenario": done,
                    "repro": repro(),
                }
            self.emit({"event": "phase", "phase": "judging"})
