"""Counts of element-checks."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Counts:
    """How many elements were compared, and how it went; ``by_step`` is the largest ratio of each
    step of a scenario."""

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
        self.by_step += [0.0] * (max(steps, default=-1) + 1 - len(self.by_step))
        for step, row in zip(steps, judgement.ratio, strict=True):
            self.by_step[step] = max(self.by_step[step], float(row.max(initial=0.0)))

    def join(self, other: "Counts") -> None:
        self.total += other.total
        self.failed += other.failed
        self.undecided += other.undecided
        self.vacuous += other.vacuous
        self.max_ratio = max(self.max_ratio, other.max_ratio)

    def as_dict(self) -> dict[str, Any]:
        return {
            "total": self.total,
            "failed": self.failed,
            "undecided": self.undecided,
            "vacuous": self.vacuous,
            "max_ratio": self.max_ratio,
        }
