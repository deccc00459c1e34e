"""Counts of element-checks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Counts:
    """How many elements were compared, and how it went; ``by_step`` has the largest ratio of each
    step of the scenarios."""

    total: int = 0
    failed: int = 0
    undecided: int = 0
    vacuous: int = 0
    max_ratio: float = 0.0
    by_step: list[float] = field(default_factory=list)

    def add(self, judgement: Any, steps: Sequence[int]) -> None:
        """``steps`` has the step in its scenario, from 0, of each row."""
        self.total += judgement.failed.size
        self.failed += int(judgement.failed.sum())
        self.undecided += int(judgement.outcome.undecided.sum())
        self.vacuous += int(judgement.vacuous.sum())
        self.max_ratio = max(self.max_ratio, float(judgement.ratio.max(initial=0.0)))
        for step, row in zip(steps, judgement.ratio, strict=True):
            self._reach(step, float(row.max(initial=0.0)))

    def _reach(self, step: int, ratio: float) -> None:
        self.by_step += [0.0] * (step + 1 - len(self.by_step))
        self.by_step[step] = max(self.by_step[step], ratio)

    def join(self, other: "Counts") -> None:
        self.total += other.total
        self.failed += other.failed
        self.undecided += other.undecided
        self.vacuous += other.vacuous
        self.max_ratio = max(self.max_ratio, other.max_ratio)
        for step, ratio in enumerate(other.by_step):
            self._reach(step, ratio)

    def as_dict(self) -> dict[str, Any]:
        return {
            "total": self.total,
            "failed": self.failed,
            "undecided": self.undecided,
            "vacuous": self.vacuous,
            "max_ratio": self.max_ratio,
            "ratio_by_step": self.by_step,
        }
