"""Two specs or variants compared: on paper, by proof, by the smallest input, along trajectories.

Both sides see the same hyperparameters throughout; only where their defaults differ is one more
trajectory run with each at its own.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..spec import Value
from ..strategies import refuse_unsatisfiable
from .coincide import Coincidence, Coincidences, coincidences, under
from .lively import lively
from .pair import (
    AxisDifference,
    DefaultDifference,
    Line,
    Pair,
    axis_differences,
    default_differences,
    lines,
    pair,
    side,
)
from .separate import MOST_STEPS, Separation, separation
from .trajectories import (
    CURVE,
    DECAY_STEPS,
    HEAT_STEPS,
    LOOK,
    SCALES,
    STEPS,
    Trajectories,
    trajectories,
)

SCHEMA = "optconform/compare/1"


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything that is told of two sides.

    ``fixed`` are the hyperparameters that were asked for, ``asked`` a proof that the sides coincide
    under them.  ``separation`` is None where no plain input of up to MOST_STEPS steps separates the
    sides, and ``trajectories`` where they do not part; neither is looked for where they coincide.
    """

    pair: Pair
    seed: int
    fixed: Mapping[str, Value]
    defaults: tuple[DefaultDifference, ...]
    axes: tuple[AxisDifference, ...]
    lines: tuple[Line, ...]
    coincide: Coincidences
    asked: Coincidence | None
    separation: Separation | None
    trajectories: Trajectories | None

    @property
    def same(self) -> bool:
        """Whether both sides are one formula, always or under the settings asked for."""
        return self.coincide.always is not None or self.asked is not None


def compare(a: str, b: str, *, hypers: Mapping[str, Value], seed: int) -> Comparison:
    """Compare ``a`` and ``b``, each ``SPEC`` or ``SPEC[axis=value,...]``.

    ``hypers`` fixes hyperparameters of both; ``seed`` draws the N(0, 1) gradients of the
    trajectories.  Raises RequestError for what is no side, for sides whose hyperparameters
    contradict each other, and for hyperparameters outside the domain of either.
    """
    p = pair(side(a), side(b))
    both = p.both
    both.check_hypers(hypers)
    fixed = {n: v if isinstance(v, bool) else float(v) for n, v in hypers.items()}
    refuse_unsatisfiable(both, fixed)
    found = coincidences(p)
    asked = under(p, fixed) if fixed and found.always is None else None
    same = found.always is not None or asked is not None
    setting = None if same else lively(p, fixed=fixed)
    return Comparison(
        pair=p,
        seed=seed,
        fixed=fixed,
        defaults=default_differences(p),
        axes=axis_differences(p),
        lines=lines(p),
        coincide=found,
        asked=asked,
        separation=None if same else separation(p, found, fixed=fixed),
        trajectories=None if setting is None else trajectories(p, setting, fixed=fixed, seed=seed),
    )


def as_dict(c: Comparison) -> dict[str, Any]:
    """The comparison as plain data: what ``--json`` writes and every report is rendered from."""
    out: dict[str, Any] = {
        "sides": [
            {
                "label": s.label,
                "spec": s.spec.name,
                "variant": dict(s.variant),
                "title": s.spec.title,
                "cite": s.spec.cite,
                "notes": list(s.spec.notes),
            }
            for s in c.pair.sides
        ],
        "same": c.same,
        "hyper": dict(c.fixed),
        "defaults": [asdict(d) for d in c.defaults],
        "axes": [asdict(d) for d in c.axes],
        "equations": [{**asdict(line), "differs": line.differs} for line in c.lines],
        "coincide": {
            "always": c.coincide.always and asdict(c.coincide.always),
            "asked": c.asked and asdict(c.asked),
            "named": [asdict(x) for x in c.coincide.named],
            "first_step": c.coincide.first_step and asdict(c.coincide.first_step),
        },
        "separation": _separation(c.separation),
        "trajectories": c.trajectories and {
            "steps": STEPS,
            "scales": SCALES,
            "curve_steps": CURVE,
            "heat_steps": HEAT_STEPS,
            "decay_steps": DECAY_STEPS,
            "judged_steps": LOOK[-1],
            **asdict(c.trajectories),
        },
    }  # fmt: skip
    return out


def _separation(found: Separation | None) -> dict[str, Any] | None:
    if found is None:
        return None
    dtypes = [{**asdict(d), "apart": d.apart} for d in found.dtypes]
    return {**asdict(found), "steps": found.steps, "dtypes": dtypes}


__all__ = ["MOST_STEPS", "SCHEMA", "Comparison", "as_dict", "compare"]
