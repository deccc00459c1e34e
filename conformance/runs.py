"""Runs of a subject in which nothing goes unseen.

Each is told before it begins; what it has changed for the whole process is set back and told; and
it is kept to be judged again.
"""

from collections.abc import Callable
from typing import Any

from . import surroundings
from .implementation import Implementation, Unsupported
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
        self._kept: dict[int, tuple[Trace, str] | None] = {}

    def run(self, scenario: Scenario) -> tuple[Trace, str]:
        """The trace, and a sentence about what it has left behind, if anything.  Raises
        Unsupported."""
        self.emit({"event": "scenario", "scenario": to_json(scenario)})
        try:
            trace = run(self.implementation, scenario, self.spec)
        finally:
            left = self._give_back(scenario)
        return trace, left

    def numbered(self, k: int, scenario: Scenario) -> tuple[Trace, str] | None:
        """The same for the ``k``-th scenario, made once; None where it is not supported."""
        if k in self._kept:
            return self._kept[k]
        try:
            found = self.run(scenario)
        except Unsupported:
            found = None
        if k < KEPT:
            self._kept[k] = found
        return found

    def forget(self) -> None:
        self._kept.clear()

    def end(self) -> None:
        surroundings.give_back(self._around)

    def _give_back(self, scenario: Scenario) -> str:
        """What a run has changed for the whole process, which is set back; told once."""
        sentence = surroundings.give_back(self._around)
        if sentence and sentence not in self.left:
            self.left[sentence] = {
                "kind": "contract",
                "check": "surroundings",
                "summary": sentence,
                "scenario": to_json(scenario),
                "repro": self.implementation.repro(scenario, self.spec),
            }
        return sentence
