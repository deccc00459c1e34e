"""What runs an emitted kernel, on the device or on the host, and what it is given."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from optconform.impls.cuda.emit import Kernel


class Program(Protocol):
    """A kernel that was built for a kind of memory."""

    def place(self, array: NDArray[Any]) -> tuple[int, Any]:
        """Where the kernel can read ``array``, itself or a copy, and what keeps that alive."""

    def fill(self, tensor: Tensor, array: NDArray[Any]) -> None:
        """Give a tensor that a launch reads the values of an array."""

    def launch(self, args: NDArray[np.void]) -> Callable[[Collection[Any]], None]:
        """What runs the work list, with the rest of ``args`` as it is then; it is told of what
        :meth:`place` made for it."""

    def rows(self, hypers: Tensor, out: Tensor) -> None:
        """The constants of every row, computed where the tensors are."""


class Arguments:
    """What a launch is given: numbers by value, and tables, of which ``placed`` keeps alive what
    the program reads."""

    def __init__(self, kernel: Kernel, program: Program) -> None:
        self.values = np.zeros(1, kernel.args)
        self.program = program
        self.placed: dict[str, Any] = {}

    def place(self, name: str, array: NDArray[Any]) -> None:
        self.values[name], self.placed[name] = self.program.place(array)
