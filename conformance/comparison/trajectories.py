"""Where and how fast two sides part: textbook trajectories in extended precision.

The gradients are given, the same for both sides, and do not depend on the parameters: constant ones
and N(0, 1) draws, times a scale.  Distance is relative to what was travelled,
|p_a - p_b| / |p_a - p_0|, over all elements of a trajectory.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..expr import Root
from ..formats import FORMATS
from ..interpreter import Machine, machine
from ..spec import Value
from .lively import Knob, Setting, knob
from .march import Array, march
from .pair import Pair
from .separate import bounds, ratios

STEPS = (1, 10, 100, 1000)
SCALES = (1e-3, 1.0, 1e3)
KINDS = ("constant", "normal")
WIDTH = 16  # elements of a trajectory
CURVE = tuple(sorted({round(10 ** (k / 8)) for k in range(25)}))  # 1 to 1000, about evenly in log
HEAT_STEPS = 100
DECAY_STEPS = 100
LOOK = (2, 16)  # for the step at which they part, so many steps are judged, then so many

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Row:
    """One trajectory: what it was, and the relative distance after each of STEPS.

    ``distance`` is None where the first side does not move.  ``parts`` is the first step in which
    some element is farther apart than both float32 bounds; None: not within LOOK[1] steps.
    """

    gradients: str
    scale: float
    lr: float | None
    value: float | None
    distance: tuple[float | None, ...]
    parts: int | None


@dataclass(frozen=True, slots=True)
class Curve:
    """Relative distance after each of CURVE, N(0, 1) gradients times ``scale``."""

    value: float | None
    scale: float
    distance: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Heat:
    """Relative distance after HEAT_STEPS steps of N(0, 1) gradients: one row for each value."""

    lrs: tuple[float, ...]
    values: tuple[float, ...]
    distance: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True, slots=True)
class DecayEffect:
    """What weight_decay takes away of a parameter: the change that it makes within DECAY_STEPS
    steps of N(0, 1) gradients, along the initial parameter and relative to it, for each of SCALES;
    the mean over the gradients and their opposites.

    ``rescaled`` tells whether it depends on the gradients' scale, ``root`` whether the side divides
    by a root.
    """

    label: str
    taken: tuple[float, ...]
    rescaled: bool
    root: bool


@dataclass(frozen=True, slots=True)
class Trajectories:
    """``knob`` is the hyperparameter that is turned beside lr.  ``own`` is the distance after each
    of STEPS when each side has its own defaults, or None where these are the same."""

    setting: Setting
    knob: str | None
    rows: tuple[Row, ...]
    curves: tuple[Curve, ...]
    heat: Heat | None
    own: tuple[float | None, ...] | None
    decay: tuple[DecayEffect, ...]


def trajectories(
    p: Pair, setting: Setting, *, fixed: Mapping[str, Value], seed: int
) -> Trajectories:
    """Run both sides beside each other from ``setting``; ``fixed`` hyperparameters stay."""
    return _Runs(p, setting, fixed, seed).all()


class _Runs:
    def __init__(self, p: Pair, setting: Setting, fixed: Mapping[str, Value], seed: int) -> None:
        self.pair, self.setting, self.fixed = p, setting, fixed
        self.knob: Knob | None = knob(p, setting, fixed=fixed)
        rng = np.random.default_rng(seed)
        self.start = _single(rng.standard_normal(WIDTH))
        self.draws = _single(rng.standard_normal((STEPS[-1], WIDTH)))

    @cached_property
    def machines(self) -> tuple[Machine, ...]:
        return tuple(machine(s.spec, s.variant) for s in self.pair.sides)

    def all(self) -> Trajectories:
        rows, curves = self.rows_and_curves()
        return Trajectories(
            setting=self.setting,
            knob=self.knob.name if self.knob else None,
            rows=rows,
            curves=curves,
            heat=self.heat(),
            own=self.own(),
            decay=self.decay(),
        )

    # -- settings and gradients

    @property
    def lrs(self) -> tuple[float | None, ...]:
        lr = self.setting.hypers.get("lr")
        if lr is None:
            return (None,)
        return (float(lr),) if "lr" in self.fixed else (lr / 10, float(lr), 10 * lr)

    @property
    def values(self) -> tuple[float | None, ...]:
        return self.knob.few if self.knob else (None,)

    def hypers(self, lr: float | None, value: float | None) -> dict[str, Value]:
        hypers = dict(self.setting.hypers)
        if lr is not None:
            hypers["lr"] = lr
        if self.knob is not None and value is not None:
            hypers[self.knob.name] = value
        return hypers

    def columns(self, kinds: Sequence[str], scales: Sequence[float]) -> tuple[Floats, Floats]:
        """Starts and gradients of a trajectory for each kind and scale, side by side."""
        draws = [np.ones_like(self.draws) if k == "constant" else self.draws for k in kinds]
        gradients = np.concatenate([_single(s * d) for d in draws for s in scales], axis=1)
        return np.tile(self.start, len(kinds) * len(scales)), gradients

    def run(
        self,
        settings: Sequence[Mapping[str, Value]],
        kinds: Sequence[str],
        scales: Sequence[float],
        at: Sequence[int],
    ) -> list[Array]:
        """Parameters of both sides: (steps, settings, kinds * scales, WIDTH)."""
        start, gradients = self.columns(kinds, scales)
        found = []
        for s, m in zip(self.pair.sides, self.machines, strict=True):
            p = march(
                m, [s.own(h) for h in settings], start, lambda t: gradients[t - 1],
                at=at, halvings=self.setting.halvings,
            )  # fmt: skip
            found.append(p.reshape(len(at), len(settings), -1, WIDTH))
        return found

    def distances(
        self,
        settings: Sequence[Mapping[str, Value]],
        kinds: Sequence[str],
        scales: Sequence[float],
        at: Sequence[int],
    ) -> Floats:
        """Relative distances: (steps, settings, kinds * scales); NaN where nothing moved."""
        a, b = self.run(settings, kinds, scales, at)
        return relative(a, b, self.start, at)

    # -- what is told

    def rows_and_curves(self) -> tuple[tuple[Row, ...], tuple[Curve, ...]]:
        settings = [(lr, v) for lr in self.lrs for v in self.values]
        hypers = [self.hypers(*x) for x in settings]
        trajectories = [(kind, scale) for kind in KINDS for scale in SCALES]
        at = sorted({*STEPS, *CURVE})
        distance = self.distances(hypers, KINDS, SCALES, at)

        def told(steps: Sequence[int], k: int, c: int) -> tuple[float | None, ...]:
            return tuple(_or_none(distance[at.index(n), k, c]) for n in steps)

        rows, curves = [], []
        for k, (lr, value) in enumerate(settings):
            parts = self.parting(hypers[k])
            for c, (kind, scale) in enumerate(trajectories):
                rows.append(Row(kind, scale, lr, value, told(STEPS, k, c), parts[c]))
                if kind == "normal" and lr == self.setting.hypers.get("lr"):
                    curves.append(Curve(value, scale, told(CURVE, k, c)))
        return tuple(rows), tuple(curves)

    def parting(self, hypers: Mapping[str, Value]) -> list[int | None]:
        """The step at which each trajectory parts by more than both float32 bounds."""
        start, gradients = self.columns(KINDS, SCALES)
        found: list[int | None] = [None] * (start.size // WIDTH)
        for steps in LOOK:
            a, b = (
                bounds(
                    s, hypers, start, gradients[:steps],
                    dtype="float32", halvings=self.setting.halvings,
                )
                for s in self.pair.sides
            )  # fmt: skip
            for t, (x, y) in enumerate(zip(a, b, strict=True), 1):
                apart = (ratios(x, y)[0] > 1).reshape(-1, WIDTH).any(axis=1)
                found = [
                    t if at is None and here else at for at, here in zip(found, apart, strict=True)
                ]
            if None not in found:
                break
        return found

    def heat(self) -> Heat | None:
        lr = self.setting.hypers.get("lr")
        if self.knob is None or not lr or "lr" in self.fixed:
            return None
        lrs = tuple(float(f"{lr * 10 ** (k / 2):.0e}") for k in range(-4, 5))
        hypers = [self.hypers(x, v) for v in self.knob.grid for x in lrs]
        distance = self.distances(hypers, ("normal",), (1.0,), (HEAT_STEPS,))
        table = distance.reshape(len(self.knob.grid), len(lrs))
        return Heat(lrs, self.knob.grid, tuple(tuple(_or_none(d) for d in row) for row in table))

    def own(self) -> tuple[float | None, ...] | None:
        a, b = ({**s.spec.defaults, **s.own(self.fixed)} for s in self.pair.sides)
        if all(a[n] == b[n] for n in a if n in b):
            return None
        start, gradients = self.columns(("normal",), (1.0,))
        x, y = (
            march(m, [h], start, lambda t: gradients[t - 1], at=STEPS)[:, :, None, :]
            for m, h in zip(self.machines, (a, b), strict=True)
        )
        return tuple(_or_none(d) for d in relative(x, y, self.start, STEPS)[:, 0, 0])

    def decay(self) -> tuple[DecayEffect, ...]:
        """Of both sides, where both have a weight_decay and do not apply it in the same way."""
        a, b = self.pair.sides
        name = "weight_decay"
        alike = all(a.value(axis) == b.value(axis) for axis in ("decay", "decay_order"))
        if name not in a.spec.hypers or name not in b.spec.hypers:
            return ()
        with_it = float(self.setting.hypers[name])
        if (alike and a.spec.equations == b.spec.equations) or not with_it:
            return ()
        hypers = [{**self.setting.hypers, name: w} for w in (with_it, 0.0)]
        # with each gradient its opposite: what the gradients do by themselves cancels out
        runs = self.run(hypers, ("normal",), (*SCALES, *(-s for s in SCALES)), (DECAY_STEPS,))
        found = []
        for s, m, p in zip(self.pair.sides, self.machines, runs, strict=True):
            change = p[0, 1] - p[0, 0]  # without minus with: (scales, WIDTH)
            change = (change[: len(SCALES)] + change[len(SCALES) :]) / 2
            taken = (change * self.start).sum(axis=1) / (self.start**2).sum()
            told = tuple(float(x) for x in taken)
            low, high = min(told), max(told)
            root = any(isinstance(m.graph.nodes[i], Root) for i in m.reachable())
            rescaled = not (low > 0 and high / low < 1.05)
            found.append(DecayEffect(s.label, told, rescaled, root))
        return tuple(found)


def relative(a: Array, b: Array, start: Floats, at: Sequence[int]) -> Floats:
    """|a - b| / |a - start| over the last axis, after the steps ``at`` along the first; NaN where a
    did not move, and 0 where it is no more than our own rounding."""
    own = 8 * float(np.finfo(a.dtype).eps) * (1 + np.array(at))
    with np.errstate(all="ignore"):
        apart = np.sqrt(((a - b) ** 2).sum(axis=-1))
        moved = np.sqrt(((a - start) ** 2).sum(axis=-1))
        size = np.sqrt((a**2).sum(axis=-1)) + np.sqrt((start**2).sum())
        seen = apart > own.reshape(-1, *[1] * (apart.ndim - 1)) * size
        out: Floats = np.where(seen, apart / moved, np.where(moved > 0, 0.0, np.nan))
    return out.astype(np.float64)


def _single(x: Floats) -> Floats:
    """Numbers of float32, so that the float32 bound speaks of the very same inputs."""
    return FORMATS["float32"].round(x)


def _or_none(x: float) -> float | None:
    return float(x) if np.isfinite(x) else None
