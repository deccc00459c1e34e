"""What one step launches: every tensor of an optimizer in a few tables, made once and reused.

A plan holds as long as every tensor lies where it did, each parameter that had a gradient has one
again, and the same programs run; :meth:`Plan.holds` looks at all of that before each step.
Gradients that only moved are pointed to anew.
"""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.overrides import TorchFunctionMode

from optconform.impls.cuda.body import lowered
from optconform.impls.cuda.emit import CHUNK, Kernel

GRAD = operator.attrgetter("grad")
POINTER = Tensor.data_ptr
CONTIGUOUS = Tensor.is_contiguous
COMPLEX = Tensor.is_complex
NEGATED = Tensor.is_neg
STRIPES = 16
"""State tensors are known by identity.  What moves their memory under them (``x.data = ...``, as
when the state is offloaded) moves all of them, so a part is looked at in each step."""

NAMES = {
    torch.float32: "float32",
    torch.float64: "float64",
    torch.bfloat16: "bfloat16",
    torch.float16: "float16",
    torch.complex64: "float32",
    torch.complex128: "float64",
}


class Program(Protocol):
    """A kernel that was built for a kind of memory."""

    def place(self, array: NDArray[Any]) -> tuple[int, object]:
        """Where the kernel can read ``array``, itself or a copy, and what keeps that alive."""

    def launch(self, args: NDArray[np.void]) -> Callable[[], None]:
        """What runs the work list, with the rest of ``args`` as it is then."""

    def rows(self, hypers: Tensor, out: Tensor) -> None:
        """The constants of every row, computed where the tensors are."""


class Member(NamedTuple):
    """A parameter with a gradient, as the plan was told of it.

    ``number`` counts all parameters of the optimizer, ``group`` its groups; ``names`` are those of
    ``state`` by the body's names.
    """

    param: Tensor
    number: int
    group: int
    state: dict[str, Any]
    names: Mapping[str, str]
    taken: int  # steps

    def array(self, name: str) -> Tensor:
        if name == "p":
            return self.param.detach()
        if name == "grad":
            assert self.param.grad is not None
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
    """One launch: members that run the same program on one device."""

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
        for k, name in enumerate(self.kernel.body.arrays):
            column = params if name == "p" else [m.array(name) for m in members]
            if not self._in_order(column):
                column = [self._flat(i, k, x) for i, x in enumerate(column)]
            entries["array"][:, k] = list(map(POINTER, column))
        entries["n"] = [x.numel() << x.is_complex() for x in params]
        entries["number"] = [m.number for m in members]
        copied = {i for i, k, _ in self.staged if k == 1}
        # members whose gradient is read where it is
        self.loose = [i for i in range(len(members)) if i not in copied]
        alike: dict[tuple[int, int], int] = {}
        for m in members:
            alike.setdefault((m.group, m.taken), len(alike))
        entries["row"] = [alike[m.group, m.taken] for m in members]
        self.row_groups = [group for group, _ in alike]
        self.counts = [float(count) for _, count in alike]
        first = {r: i for i, r in reversed(list(enumerate(entries["row"].tolist())))}
        self.row_members = np.array([first[r] for r in range(len(alike))])
        self.steps = self._shared_steps()
        self.seen = self.steps.numpy() if self.steps is not None and not self._on_device else None
        self.left = b"" if self.seen is None else self.seen.tobytes()
        self._prepare(seed)
        self.start = self.program.launch(self.args)

    @property
    def _on_device(self) -> bool:
        return self.key.device.type != "cpu" and self.key.capturable

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
        steps = torch.tensor([m.taken for m in self.members], dtype=torch.float32, device=device)
        for m, x in zip(self.members, steps.unbind(), strict=True):
            m.state["step"] = x
        return steps

    def _prepare(self, seed: int) -> None:
        args = self.args = np.zeros(1, self.kernel.args)
        self.work = work_list(self.entries["n"])
        args["seed"], args["n_work"] = seed, len(self.work)
        args["work"], self._work_owner = self.program.place(self.work)
        self.place_entries()
        n_rows, body = len(self.row_groups), self.kernel.body
        self.rows = np.zeros(max(n_rows, 1), self.kernel.row)
        self.by_value = n_rows <= self.kernel.few and not self.key.capturable
        if self.by_value:
            self.rows = args["few"][0, :n_rows]
        self.k = self.rows["k"]
        self.width = len(body.constants)
        if self.key.capturable:
            names = self.kernel.hypers
            self.table = torch.zeros((n_rows, len(names)), dtype=torch.float64)
            self.table = self.table.to(self.key.device)
            self.told = np.zeros((n_rows, len(names)))
            self.told[:] = np.nan
            size = n_rows * self.kernel.row.itemsize
            self.device_rows = torch.zeros(size, dtype=torch.uint8, device=self.key.device)
            args["rows"] = self.device_rows.data_ptr()
            self.row_index = torch.from_numpy(self.row_members).to(self.key.device)

    def place_entries(self) -> None:
        pointers = self.entries["array"]
        self.entries["aligned"] = (np.bitwise_or.reduce(pointers, axis=1) & 15) == 0
        self.args["entries"], self._entries_owner = self.program.place(self.entries)

    def repoint(self, grads: Sequence[Tensor]) -> bool:
        """Take gradients that moved; False where one no longer lies as its parameter does."""
        if any(grads[i].dtype is not self.dtype for i in self.loose):
            return False
        for i in () if self._in_order(grads) else self.loose:
            g = grads[i]
            real = torch.view_as_real(g) if g.is_complex() and not g.is_conj() else g
            if g.is_neg() or g.is_conj():
                return False
            if not _same_layout(real.shape, real.stride(), self.strides[i]):
                return False
        if len(self.loose) == len(grads):
            self.entries["array"][:, 1] = list(map(POINTER, grads))
        else:
            for i in self.loose:
                self.entries["array"][i, 1] = grads[i].data_ptr()
        self.place_entries()
        return True

    def counted(self) -> bool:
        """Whether the step counters stand where this plan left them."""
        return self.seen is None or self.seen.tobytes() == self.left

    def _count(self) -> list[float]:
        """Count this step where torch keeps its counters; its number in each row."""
        if self.seen is None:
            self.counts = [t + 1 for t in self.counts]
            return self.counts
        self.seen += 1
        self.left = self.seen.tobytes()
        numbers: list[float] = self.seen.take(self.row_members).tolist()
        return numbers

    def run(
        self,
        hypers: Sequence[Mapping[str, float]],
        rates: Sequence[object],
        grad_scale: Tensor | None,
        found_inf: Tensor | None,
    ) -> None:
        """One step.  ``hypers`` of every group, ``rates`` their lr as the user gave it."""
        if self.staged:
            self._gather()
        if self.key.capturable:
            self._rows_on_device(hypers, rates, found_inf)
        else:
            constants = self.kernel.body.constants
            for r, (group, t) in enumerate(zip(self.row_groups, self._count(), strict=True)):
                self.k[r, : self.width] = constants.values({**hypers[group], "t": t})
                self.rows["t"][r] = t
            if not self.by_value:
                self.args["rows"], self._rows_owner = self.program.place(self.rows)
        scale, inf = (
            None if x is None else x.to(self.key.device, torch.float32)
            for x in (grad_scale, found_inf)
        )
        self.args["grad_scale"] = 0 if scale is None else scale.data_ptr()
        self.args["found_inf"] = 0 if inf is None else inf.data_ptr()
        self.start()
        if self.staged:
            self._scatter()

    @torch.no_grad()
    def _gather(self) -> None:
        for i, k, copy in self.staged:
            name = self.kernel.body.arrays[k]
            if name in self.kernel.body.reads:
                copy.copy_(_real(self.members[i].array(name)))

    def _scatter(self) -> None:
        for i, k, copy in self.staged:
            name = self.kernel.body.arrays[k]
            if name in self.kernel.body.writes:
                _real(self.members[i].array(name)).copy_(copy)

    @torch.no_grad()
    def _rows_on_device(
        self,
        hypers: Sequence[Mapping[str, float]],
        rates: Sequence[object],
        found_inf: Tensor | None,
    ) -> None:
        """The constants from the step counters and learning rates where they are."""
        names = self.kernel.hypers
        now = np.array(
            [[0.0 if n in ("t", "lr0") else hypers[g][n] for n in names] for g in self.row_groups]
        )
        if not np.array_equal(now, self.told):
            self.table.copy_(torch.from_numpy(now))
            self.told = now
        t = names.index("t")
        if self.steps is None:
            self.table[:, t].fill_(self._count()[0])
        else:
            self.steps += 1 if found_inf is None else 1 - found_inf.to(self.steps.device)
            self.left = b"" if self.seen is None else self.seen.tobytes()
            self.table[:, t].copy_(self.steps.index_select(0, self.row_index))
        for r, group in enumerate(self.row_groups):
            rate = rates[group]
            if isinstance(rate, Tensor) and "lr" in names:
                self.table[r, names.index("lr")].copy_(rate.reshape(()))
        self.program.rows(self.table, self.device_rows)


class Plan:
    """All launches of an optimizer, and what must not change for them to be right."""

    def __init__(
        self,
        params: Sequence[Tensor],
        launches: Sequence[Launch],
        shapes: Sequence[object],
        state: Mapping[Tensor, dict[str, Any]],
        *,
        once: bool,
    ) -> None:
        self.launches, self.shapes, self.once = launches, shapes, once
        members = [m for launch in launches for m in launch.members]
        self.params = [m.param for m in members]
        self.order = [m.number for m in members]
        self.live = frozenset(self.order)
        self.whole = self.order == list(range(len(params)))
        self.pointers = list(map(POINTER, params))
        self.grads = list(map(POINTER, map(GRAD, self.params)))
        self.entries = [dict(entry) for entry in state.values()]
        held = [m.state[n] for m in members for n in ("step", *m.names.values()) if n in m.state]
        stripes = (held[k::STRIPES] for k in range(STRIPES))
        self.stripes = [(stripe, list(map(POINTER, stripe))) for stripe in stripes]
        self.turn = 0
        self.plain = all(launch.plain and not launch.staged for launch in launches)

    def holds(
        self,
        params: Sequence[Tensor],
        shapes: Sequence[object],
        state: Mapping[Tensor, dict[str, Any]],
    ) -> bool:
        """Whether it still describes what is there; gradients that moved are taken over."""
        if self.once or shapes != self.shapes or list(map(POINTER, params)) != self.pointers:
            return False
        if not _same_objects(self.entries, list(state.values())):
            return False
        self.turn = (self.turn + 1) % STRIPES
        held, where = self.stripes[self.turn]
        if list(map(POINTER, held)) != where:
            return False
        grads = list(map(GRAD, params))
        if not self.whole:
            if any((g is None) is (i in self.live) for i, g in enumerate(grads)):
                return False
            grads = [grads[i] for i in self.order]
        try:
            now = list(map(POINTER, grads))
        except (TypeError, RuntimeError):  # a gradient is None or sparse
            return False
        if now != self.grads or not (self.plain and all(map(CONTIGUOUS, grads))):
            if any(g.layout is not torch.strided for g in grads):
                return False
            left = iter(grads)
            for launch in self.launches:
                if not launch.repoint(list(itertools.islice(left, len(launch.members)))):
                    return False
            self.grads = now
        return all(launch.counted() for launch in self.launches)


class _Apart(TorchFunctionMode):
    """Where it is entered no tensor equals another: what compares equal is one object.

    Python's containers look at identity before they ask, in C, which no loop of ours can match.
    """

    def __torch_function__(
        self, func: object, types: object, args: object = (), kwargs: object = None
    ) -> bool:
        return False


def _same_objects(a: list[dict[str, Any]], b: list[dict[str, Any]]) -> bool:
    """Whether two lists of states hold the very same tensors."""
    try:
        with _Apart():
            return a == b
    except (RuntimeError, TypeError, ValueError):  # what else a user keeps there may not compare
        return False


def _real(x: Tensor) -> Tensor:
    """A tensor whose complex numbers are pairs in the same memory."""
    return torch.view_as_real(x.resolve_conj()) if x.is_complex() else x


def _flat_strides(p: Tensor) -> tuple[int, ...]:
    """The strides in which a parameter's elements fill memory without gaps: its own if they do."""
    real = torch.view_as_real(p.detach()) if p.is_complex() else p
    return torch.empty_like(real, device="meta", memory_format=torch.preserve_format).stride()


def _same_layout(shape: Sequence[int], a: Sequence[int], b: Sequence[int]) -> bool:
    return a == b or all(n <= 1 or x == y for n, x, y in zip(shape, a, b, strict=True))
