"""What a step launches: every tensor of an optimizer in a few tables, made once and reused.

A plan holds as long as every tensor lies where it did and the same programs run; :meth:`Plan.holds`
looks at all of that before each step.  Gradients that moved are pointed to anew, and a parameter
without one rests.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from optconform.impls.cuda.launch import POINTER, Launch

Made: Any = getattr(torch._C._dynamo.guards, "TensorGuards", None)

GRAD = operator.attrgetter("grad")
STRIDE = Tensor.stride
SAMPLE = 32
"""State tensors are known by identity.  What moves their memory under them (``x.data = ...``, as
when the state is offloaded) moves all of them, so this many are looked at in each step, in turn;
and so are the strides of parameters, which would have to change in the same memory."""


class Plan:
    """All launches of an optimizer, and what must not change for them to be right.

    ``params`` are those that have taken part so far and ``moving`` those that have a gradient now.
    """

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
        ends = list(itertools.accumulate(len(launch.members) for launch in launches))
        parts = [slice(a, b) for a, b in itertools.pairwise([0, *ends])]
        self.parts = list(zip(launches, parts, strict=True))
        self.params = [m.param for m in members]
        self.order = [m.number for m in members]
        self.whole = self.order == list(range(len(params)))
        self.others = sorted(set(range(len(params))) - set(self.order))
        self.pointers = list(map(POINTER, params))
        self.grads, self.moving = self._there(list(map(GRAD, self.params)))
        self.entries = [dict(entry) for entry in state.values()]
        held = [m.state[n] for m in members for n in ("step", *m.names.values()) if n in m.state]
        turns = -(-max(len(held), len(self.params), 1) // SAMPLE)
        samples = [(held[k::turns], self.params[k::turns]) for k in range(turns)]
        self.samples = itertools.cycle(
            [(h, list(map(POINTER, h)), p, list(map(STRIDE, p))) for h, p in samples]
        )
        self.guards: Guards | None = None

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
        held, where, some, strides = next(self.samples)
        if list(map(POINTER, held)) != where or list(map(STRIDE, some)) != strides:
            return False
        grads = list(map(GRAD, params))
        if not self.whole:
            if any(grads[i] is not None for i in self.others):  # one that had none so far
                return False
            grads = [grads[i] for i in self.order]
        try:
            now, moving = list(map(POINTER, grads)), self.params
        except (TypeError, RuntimeError):  # a gradient is None or sparse
            if any(g is not None and g.layout is not torch.strided for g in grads):
                return False
            now, moving = self._there(grads)
        if self.guards is None or not self.guards.check(*grads):
            if not all(launch.reads(grads[part]) for launch, part in self.parts):
                return False
            self.guards = _guards(grads)
        if now != self.grads:
            for launch, part in self.parts:
                launch.point(now[part])
            self.grads, self.moving = now, moving
        return all(launch.rows.counted() for launch in self.launches)

    def _there(self, grads: Sequence[Tensor | None]) -> tuple[list[int], list[Tensor]]:
        """Where each gradient lies, -1 for none, and the parameters of those that are there."""
        moving = [p for p, g in zip(self.params, grads, strict=True) if g is not None]
        return [-1 if g is None else POINTER(g) for g in grads], moving


class Guards(Protocol):
    """What torch.compile asks of a list of tensors before each call, in one call to C++."""

    def check(self, *tensors: Tensor | None) -> bool:
        """Whether each has the type, dispatch keys, dtype, device, sizes and strides that the
        tensor in its place had.  A no may be due to something that no kernel minds."""


def _guards(grads: Sequence[Tensor | None]) -> Guards | None:
    """Guards for gradients that are read where they lie; None where one is missing, or in a torch
    without them."""
    if Made is None or any(g is None for g in grads):
        return None
    made: Guards = Made(*grads, dynamic_dims_sizes=None, dynamic_dims_strides=None)
    return made


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
