"""The constants of a launch, a row for all members that share them, and the counters of steps that
they hang on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optconform.impls.cuda.emit import Kernel
from optconform.impls.cuda.program import Arguments

Hypers = Sequence[Mapping[str, float]]
"""The hyperparameters of each group."""


class RowsHere:
    """Computed by Python, where the counters are in the host's memory.  A row for each group and
    number of steps, if the constants hang on that; few of them are passed by value.

    ``groups`` has the group of each member.
    """

    def __init__(
        self,
        kernel: Kernel,
        arguments: Arguments,
        groups: NDArray[np.int64],
        steps: Tensor | None,
    ) -> None:
        self.kernel, self.arguments, self.groups = kernel, arguments, groups
        self.constants = kernel.body.constants
        self.seen = None if steps is None else steps.numpy()
        self.left = b"" if self.seen is None else self.seen.tobytes()
        # of steps, where the constants or chance hang on them
        self.numbers = self.seen if self.constants.counts or kernel.stochastic else None

    def arrange(self, live: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The row of each member; those that are not live rest, and have none."""
        self.moves = live.astype(np.float32)
        moving = np.flatnonzero(live)
        counts = np.zeros(len(moving)) if self.numbers is None else self.numbers[moving]
        alike = list(zip(self.groups[moving].tolist(), counts.tolist(), strict=True))
        first: dict[tuple[int, float], int] = {}
        for i, pair in zip(moving.tolist(), alike, strict=True):
            first.setdefault(pair, i)
        number = {pair: r for r, pair in enumerate(first)}
        rows = np.zeros(len(live), np.int64)
        rows[moving] = [number[pair] for pair in alike]
        self.members = np.array(list(first.values()), np.int64)  # one of each row
        self.group_of = [group for group, _ in first]
        few = len(first) <= self.kernel.few
        if few:
            self.rows = self.arguments.values["few"][0, : len(first)]
            self.arguments.values["rows"] = 0
        else:
            self.rows = np.zeros(len(first), self.kernel.row)
        self.placed = None if few else b""
        self.told: object = None  # what the rows were computed from
        return rows

    def counted(self) -> bool:
        """Whether the step counters stand where the last step left them."""
        return self.seen is None or self.seen.tobytes() == self.left

    def step(self, hypers: Hypers, rates: Sequence[object], found_inf: Tensor | None) -> None:
        """Count, and compute what has changed with that or with the hyperparameters."""
        if self.seen is not None:
            np.add(self.seen, self.moves, out=self.seen)
            self.left = self.seen.tobytes()
        numbers = [0.0] * len(self.members)
        if self.numbers is not None:
            numbers = self.numbers.take(self.members).tolist()
        if (now := (hypers, numbers)) != self.told:
            self._compute(hypers, numbers)
            self.told = now

    def _compute(self, hypers: Hypers, numbers: Sequence[float]) -> None:
        k, width = self.rows["k"], len(self.constants)
        for r, (group, t) in enumerate(zip(self.group_of, numbers, strict=True)):
            k[r, :width] = self.constants.values({**hypers[group], "t": t})
            self.rows["t"][r] = t
        if self.placed is not None and self.rows.tobytes() != self.placed:
            self.arguments.place("rows", self.rows)
            self.placed = self.rows.tobytes()

    def tables(self) -> list[object]:
        """What the rows are made from in the device's memory: nothing."""
        return []


class RowsThere:
    """Computed where the tensors are, from counters and learning rates there: a row for each
    member, and nothing is read back."""

    def __init__(
        self,
        kernel: Kernel,
        arguments: Arguments,
        groups: NDArray[np.int64],  # ascending
        steps: Tensor,
    ) -> None:
        self.names, self.program = kernel.hypers, arguments.program
        self.groups, self.steps = groups, steps
        self.which = np.unique(groups).tolist()
        n, device = len(groups), steps.device
        self.table = torch.zeros((n, len(self.names)), dtype=torch.float64, device=device)
        self.told = np.full((len(self.which), len(self.names)), np.nan)
        self.moves = torch.empty(n, device=device)
        self.rows = torch.zeros(n * kernel.row.itemsize, dtype=torch.uint8, device=device)
        arguments.values["rows"] = self.rows.data_ptr()
        # which are read where that waits for nothing
        self.seen = steps.numpy() if device.type == "cpu" else None
        self.left = b"" if self.seen is None else self.seen.tobytes()

    def arrange(self, live: NDArray[np.bool_]) -> NDArray[np.int64]:
        """The row of each member; those that are not live rest."""
        self.moves = torch.empty_like(self.moves)  # a CUDA graph may read the one before
        self.program.fill(self.moves, live.astype(np.float32))
        return np.arange(len(live))

    def counted(self) -> bool:
        """Whether the step counters stand where the last step left them, as far as can be seen."""
        return self.seen is None or self.seen.tobytes() == self.left

    @torch.no_grad()
    def step(self, hypers: Hypers, rates: Sequence[object], found_inf: Tensor | None) -> None:
        """Count where nothing infinite was found, and compute; ``rates`` are the groups' lr as the
        user gave it."""
        names = self.names
        now = np.array(
            [[0.0 if n in ("t", "lr0") else hypers[g][n] for n in names] for g in self.which]
        )
        if not np.array_equal(now, self.told):
            self.table = torch.empty_like(self.table)
            self.program.fill(self.table, now[np.searchsorted(self.which, self.groups)])
            self.told = now
        if found_inf is None:
            self.steps += self.moves
        else:  # which is a sum over devices
            self.steps += self.moves * (found_inf.to(self.steps.device) == 0)
        self.left = b"" if self.seen is None else self.seen.tobytes()
        self.table[:, names.index("t")].copy_(self.steps)
        for group in self.which:
            rate = rates[group]
            if isinstance(rate, Tensor) and "lr" in names:
                first, last = np.searchsorted(self.groups, [group, group + 1]).tolist()
                self.table[first:last, names.index("lr")].copy_(rate.reshape(()))
        self.program.rows(self.table, self.rows)

    def tables(self) -> list[object]:
        """What the rows are made from in the device's memory; what changes is made anew."""
        return [self.table, self.moves]
