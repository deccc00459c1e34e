"""One launch: parameters that run the same program on one device, in a table that it reads."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optconform.impls.cuda.body import lowered
from optconform.impls.cuda.emit import CHUNK, Kernel
from optconform.impls.cuda.program import Arguments, Program
from optconform.impls.cuda.rows import Hypers, RowsHere, RowsThere

DTYPE = operator.attrgetter("dtype")
POINTER = Tensor.data_ptr
CONTIGUOUS = Tensor.is_contiguous
COMPLEX = Tensor.is_complex
NEGATED = Tensor.is_neg

NAMES = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
    torch.complex64: "float32",
    torch.complex128: "float64",
}


class Member(NamedTuple):
    """A parameter, as the plan was told of it.

    ``number`` counts all parameters of the optimizer, ``group`` its groups; ``names`` are those of
    ``state`` by the body's names.
    """

    param: Tensor
    number: int
    group: int
    state: dict[str, Any]
    names: Mapping[str, str]

    def array(self, name: str) -> Tensor | None:
        """One of the body's arrays; None for a gradient that is not there."""
        if name == "p":
            return self.param.detach()
        if name == "grad":
            return self.param.grad
        found: Tensor = self.state[self.names[name]]
        return found


@dataclass(frozen=True, slots=True)
class Key:
    """What the members of one launch have in common."""

    spec: str
    truths: frozenset[str]
    zero: frozenset[str]
    param: str
    state: str
    stochastic: bool
    capturable: bool
    device: torch.device


@functools.cache
def kernel_of(key: Key) -> Kernel:
    body = lowered(key.spec, key.truths, zero=key.zero)
    chance = key.stochastic and "bfloat16" in (key.param, key.state)
    return Kernel(body, key.param, key.state, chance)


def work_list(sizes: NDArray[np.int64]) -> NDArray[np.int32]:
    """(tensor, chunk) for every chunk of every tensor; shape (chunks, 2), int32."""
    chunks = -(-sizes // CHUNK)
    total = int(chunks.sum())
    out = np.empty((total, 2), np.int32)
    out[:, 0] = np.repeat(np.arange(len(sizes)), chunks)
    out[:, 1] = np.arange(total) - np.repeat(np.cumsum(chunks) - chunks, chunks)
    return out


class Launch:
    """One launch: members that run the same program on one device.

    A member without a gradient rests: its entry has no elements and its counter stands still.
    """

    def __init__(
        self, key: Key, members: Sequence[Member], build: Callable[[Kernel], Program], seed: int
    ) -> None:
        self.key, self.members, self.kernel = key, members, kernel_of(key)
        self.program = build(self.kernel)
        params = [m.param.detach() for m in members]
        self.plain = all(map(CONTIGUOUS, params)) and not any(map(COMPLEX, params))
        self.dtype = params[0].dtype
        self.staged: list[tuple[int, int, Tensor]] = []  # member, array, its copy in flat order
        entries = self.entries = np.zeros(len(members), self.kernel.entry)
        self.sizes = np.array([x.numel() << x.is_complex() for x in params], np.int64)
        for k, name in enumerate(self.kernel.body.arrays):
            column = params if name == "p" else [m.array(name) for m in members]
            if not self._in_order([x for x in column if x is not None]):
                column = [x if x is None else self._flat(i, k, x) for i, x in enumerate(column)]
            entries["array"][:, k] = [0 if x is None else POINTER(x) for x in column]
        entries["number"] = [m.number for m in members]
        self.fixed = np.bitwise_or.reduce(np.delete(entries["array"], 1, axis=1), axis=1)
        copied = {i for i, k, _ in self.staged if k == 1}
        # members whose gradient is read where it is
        self.loose = [i for i in range(len(members)) if i not in copied]
        self.arguments = Arguments(self.kernel, self.program)
        work = work_list(self.sizes)
        self.arguments.values["seed"], self.arguments.values["n_work"] = seed, len(work)
        self.arguments.place("work", work)
        self.rows = self._rows()
        self.scaled = False
        self.live = np.array([m.param.grad is not None for m in members])
        self._arrange()
        self.start = self.program.launch(self.arguments.values)

    def _rows(self) -> RowsHere | RowsThere:
        groups = np.array([m.group for m in self.members])
        steps = self._shared_steps()
        if self.key.capturable and steps is not None:  # every class that is capturable counts
            return RowsThere(self.kernel, self.arguments, groups, steps)
        return RowsHere(self.kernel, self.arguments, groups, steps)

    @functools.cached_property
    def strides(self) -> list[tuple[int, ...]]:
        """In which every member's elements are taken."""
        return [_flat_strides(m.param) for m in self.members]

    def _in_order(self, arrays: Sequence[Tensor]) -> bool:
        """Whether all lie as plain parameters do."""
        return self.plain and all(map(CONTIGUOUS, arrays)) and not any(map(NEGATED, arrays))

    def _flat(self, i: int, k: int, x: Tensor) -> Tensor:
        """An array as it lies in memory, or a copy if that is not the order of the parameter's."""
        real = torch.view_as_real(x.resolve_conj()) if x.is_complex() else x
        odd = x.is_conj() or x.is_neg()
        if not odd and _same_layout(real.shape, real.stride(), self.strides[i]):
            return real
        copy = torch.empty_strided(real.shape, self.strides[i], dtype=real.dtype, device=x.device)
        self.staged.append((i, k, copy))
        return copy

    def _shared_steps(self) -> Tensor | None:
        """The step counters of all members as views of one tensor, so that one addition counts."""
        if "step" not in self.members[0].state:
            return None
        device = self.key.device if self.key.capturable else torch.device("cpu")
        now = [torch.as_tensor(m.state["step"]) for m in self.members]
        if (base := _whole(now)) is not None and base.device == device:
            return base  # of the plan before, with which a CUDA graph may go on counting
        if len({(x.device, x.dtype, x.shape) for x in now}) > 1:
            now = [x.to(device, torch.float32).reshape(()) for x in now]
        steps = torch.stack(now).to(device, torch.float32).reshape(-1)
        for m, x in zip(self.members, steps.unbind(), strict=True):
            m.state["step"] = x
        return steps

    def tables(self) -> list[object]:
        """What a launch reads beside tensors of the optimizer.  Those that change are made anew."""
        return [*self.arguments.placed.values(), *self.rows.tables()]

    def _arrange(self) -> None:
        """Settle who moves, and by which constants."""
        self.entries["n"] = np.where(self.live, self.sizes, 0)
        self.entries["row"] = self.rows.arrange(self.live)
        self._place_entries()

    def _place_entries(self) -> None:
        self.entries["aligned"] = ((self.fixed | self.entries["array"][:, 1]) & 15) == 0
        self.arguments.place("entries", self.entries)

    def reads(self, grads: Sequence[Tensor | None]) -> bool:
        """Whether gradients lie as their parameters do, or as those that are copied."""
        read = [grads[i] for i in self.loose] if self.staged else grads
        there = [g for g in read if g is not None]
        if {*map(DTYPE, there)} - {self.dtype}:
            return False
        if self._in_order(there):
            return True
        for i, g in zip(self.loose, read, strict=True):
            if g is None:
                continue
            real = torch.view_as_real(g) if g.is_complex() and not g.is_conj() else g
            if g.is_neg() or g.is_conj():
                return False
            if not _same_layout(real.shape, real.stride(), self.strides[i]):
                return False
        return True

    def point(self, where: Sequence[int]) -> None:
        """Take gradients that moved, -1 for those that are not there."""
        at = np.array(where, np.int64)
        live = at != -1
        if len(self.loose) == len(where):
            self.entries["array"][:, 1] = np.where(live, at, 0)
        else:
            for i in self.loose:
                self.entries["array"][i, 1] = max(0, where[i])
        if np.array_equal(live, self.live):
            self._place_entries()
        else:
            self.live = live
            self._arrange()

    def run(
        self,
        hypers: Hypers,
        rates: Sequence[object],
        grad_scale: Tensor | None,
        found_inf: Tensor | None,
    ) -> None:
        """One step.  ``hypers`` of every group, ``rates`` their lr as the user gave it."""
        if self.staged:
            self._gather()
        self.rows.step(hypers, rates, found_inf)
        scaled = grad_scale is not None or found_inf is not None
        if scaled or self.scaled:
            scale, inf = (
                None if x is None else x.to(self.key.device, torch.float32)
                for x in (grad_scale, found_inf)
            )
            self.arguments.values["grad_scale"] = 0 if scale is None else scale.data_ptr()
            self.arguments.values["found_inf"] = 0 if inf is None else inf.data_ptr()
            self.scaled = scaled
        self.start(self.arguments.placed.values())
        if self.staged:
            self._scatter()

    @torch.no_grad()
    def _gather(self) -> None:
        for i, k, copy in self.staged:
            name = self.kernel.body.arrays[k]
            x = self.members[i].array(name)
            if name in self.kernel.body.reads and x is not None:
                copy.copy_(_real(x))

    def _scatter(self) -> None:
        for i, k, copy in self.staged:
            name = self.kernel.body.arrays[k]
            x = self.members[i].array(name)
            if name in self.kernel.body.writes and x is not None and self.live[i]:
                _real(x).copy_(copy)


def _whole(parts: Sequence[Tensor]) -> Tensor | None:
    """The vector in float32 of which these are all the elements, in order, if there is one."""
    base = parts[0]._base
    if base is None or base.dtype is not torch.float32 or not base.is_contiguous():
        return None
    inside = all(x._base is base and x.storage_offset() == i for i, x in enumerate(parts))
    return base if inside and base.shape == (len(parts),) else None


def _real(x: Tensor) -> Tensor:
    """A tensor whose complex numbers are pairs in the same memory."""
    return torch.view_as_real(x.resolve_conj()) if x.is_complex() else x


def _flat_strides(p: Tensor) -> tuple[int, ...]:
    """The strides in which a parameter's elements fill memory without gaps: its own if they do."""
    real = torch.view_as_real(p.detach()) if p.is_complex() else p
    return torch.empty_like(real, device="meta", memory_format=torch.preserve_format).stride()


def _same_layout(shape: Sequence[int], a: Sequence[int], b: Sequence[int]) -> bool:
    return a == b or all(n <= 1 or x == y for n, x, y in zip(shape, a, b, strict=True))
