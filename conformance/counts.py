"""Counts of element-checks."""

from dataclasses import dataclass
from typing import Any


@dataclass
class Counts:
    """How many elements were compared, and how it went."""

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
