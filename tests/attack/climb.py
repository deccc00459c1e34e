"""The attack with a memory: evolve the inputs of one program towards its largest ratio.

Random inputs round well on average, and many roundings never conspire by chance.  Here the
elements and the settings that came closest to the bound breed the next ones.

    python -m tests.attack.climb --dtype bfloat16 --spec adam --programs 50
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optconform.errors import SpecError
from optconform.formats import FORMATS, Format
from optconform.oracle.judge import Steps, compare, outcomes
from optconform.oracle.scalars import Profile
from optconform.spec import Spec, program
from optconform.spec_file import load

from .campaign import SPECS, Hole, Job, any_hypers, any_variant, tensor
from .programs import Faithful, Habits

Array = NDArray[Any]
KINDS = ("natural", "low", "few", "mixed", "near", "brink", "full", "tiny", "nought")
ROWS, WIDTH = 16, 48


def jittered(
    spec: Spec, hypers: Mapping[str, float], rng: np.random.Generator, fmt: Format
) -> dict[str, float]:
    """The setting with numbers moved to where they round badly, up or down."""
    out = dict(hypers)
    for h in spec.hypers.values():
        x = out[h.name]
        if h.domain is None or x in (0.0, 1.0) or rng.random() < 0.5:
            continue
        how = rng.random()
        if how < 0.4:
            mantissa = 1 + fmt.unit * float(rng.choice([0.999, 1.001]))
            moved = 2.0 ** np.floor(np.log2(x)) * mantissa
        elif how < 0.7:
            moved = x * (1 + fmt.unit * rng.uniform(-4, 4))
        else:
            moved = x * np.exp2(rng.uniform(-1, 1))
        if moved in h.domain:
            out[h.name] = float(moved)
    return out


def mutated(x: Array, rng: np.random.Generator, fmt: Format) -> Array:
    """Children of a tensor: a few units away, another mantissa, another magnitude or sign."""
    shape = x.shape
    how = rng.random(shape)
    by = np.where(
        how < 0.35,
        1 + 2 * fmt.unit * rng.integers(-3, 4, shape),
        np.where(
            how < 0.5,
            np.exp2(rng.uniform(-1, 1, shape)),
            np.where(how < 0.6, np.exp2(rng.integers(-6, 7, shape)), 1.0),
        ),
    )
    out = fmt.round(x * by)
    return np.where(np.isfinite(out), out, x)


def climb(
    name: str, fmt: Format, seed: int, *, wild: bool = True, generations: int = 25,
    habits: Habits | None = None, variant: Mapping[str, str] | None = None,
    hypers: Mapping[str, Any] | None = None, target: str | None = None,
    kinds: Mapping[str, str] | None = None,
) -> tuple[dict[str, float], list[Hole], int, Faithful]:  # fmt: skip
    """Evolve the inputs of one program: the largest ratio of each output, holes and checks."""
    rng = np.random.default_rng((seed, SPECS.index(name), 77))
    spec = load(name)
    chosen = any_variant(spec, rng) if variant is None else spec.variant(variant)
    base: dict[str, Any] = {**any_hypers(spec, rng, wild, fmt), **(hypers or {})}
    if not spec.admissible(base):
        raise SpecError("not admissible")
    t = float(rng.choice([1, 2, 3, 10, 100]))
    p = program(spec, chosen, base, int(t))
    setting = {k: float(v) for k, v in base.items()}

    def row_of(h: Mapping[str, float]) -> dict[str, float]:
        return {**h, "t": t, "lr0": h["lr"]}

    settings = [setting] + [jittered(spec, setting, rng, fmt) for _ in range(ROWS - 1)]
    faithful = Faithful(p, [row_of(setting)], fmt, rng, habits=habits)
    inputs = ("p", "grad", *(s.name for s in p.states))
    kinds = {n: str(rng.choice(KINDS)) for n in inputs} | dict(kinds or {})
    start = {
        n: np.stack([tensor(rng, k, WIDTH, fmt) for _ in range(ROWS)]) for n, k in kinds.items()
    }
    for s in p.states:
        if s.nonneg:
            start[s.name] = np.abs(start[s.name])
    best: dict[str, float] = {}
    holes: dict[str, Hole] = {}
    checks = 0
    target = target or str(rng.choice(list(p.outputs)))
    for _ in range(generations):
        rows = [row_of(s) for s in settings]
        for k in range(ROWS):  # a setting under which the program may not be run goes
            if not faithful.fits([rows[k]]):
                settings[k], rows[k] = setting, row_of(setting)
        faithful.fits(rows)
        runs = [faithful.step(k, {n: x[k] for n, x in start.items()}) for k in range(ROWS)]
        observed = {n: np.stack([out[n] for out, _ in runs]) for n in p.outputs}
        excused = np.stack([e for _, e in runs])
        (answer,) = outcomes(Steps(rows, start, observed), [p], fmt=fmt, profile=Profile())
        score = np.zeros((ROWS, WIDTH))
        for n, outcome in answer.items():
            j = compare(outcome, observed[n], start[n])
            ratio = np.where(excused | j.outcome.undecided, 0, j.ratio)
            checks += ratio.size
            top = float(ratio.max())
            if top > max(best.get(n, 0.0), 1.0):
                r, e = np.unravel_index(np.argmax(ratio), ratio.shape)
                at = {k: float(x[r, e]) for k, x in start.items()}
                job = Job(p, [rows[r]], {k: x[r] for k, x in start.items()}, [start["grad"][r]])
                holes[n] = Hole(
                    job, 0, n, int(e), float(outcome.value[r, e]), float(outcome.error[r, e]),
                    top, float(observed[n][r, e]), at,
                )  # fmt: skip
            best[n] = max(best.get(n, 0.0), top)
            if n == target:
                score = ratio
        # the better half of the settings stays, and of each the better quarter of its elements
        order = np.argsort(-score.max(axis=1))
        keep = order[: ROWS // 2]
        settings = [settings[k] for k in keep]
        settings += [jittered(spec, settings[int(rng.integers(len(keep)))], rng, fmt)
                     for _ in range(ROWS - len(keep))]  # fmt: skip
        parents = [*keep, *rng.choice(keep[: max(1, ROWS // 4)], ROWS - len(keep))]
        ranked = np.argsort(-score, axis=1)[:, : WIDTH // 4]
        for n, x in start.items():
            elite = np.take_along_axis(x, ranked, axis=1)[parents]
            start[n] = elite
        more = rng.integers(0, WIDTH // 4, (ROWS, WIDTH - WIDTH // 4))
        for n, elite in start.items():
            children = mutated(np.take_along_axis(elite, more, axis=1), rng, fmt)
            start[n] = np.concatenate([elite, children], axis=1)
        if score.max() > 1:
            break
    return best, list(holes.values()), checks, faithful


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", choices=tuple(FORMATS), default="float32")
    parser.add_argument("--spec", choices=SPECS, action="append")
    parser.add_argument("--programs", type=int, default=50, help="for each spec")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=3, help="holes to print for each spec")
    args = parser.parse_args(arguments)
    began, total, found = time.perf_counter(), 0, 0
    for name in args.spec or SPECS:
        largest: dict[str, float] = {}
        shown = 0
        for k in range(args.programs):
            best, holes, checks, faithful = climb(name, FORMATS[args.dtype], args.seed * 10**6 + k)
            total += checks
            found += len(holes)
            for n, x in best.items():
                largest[n] = max(largest.get(n, 0.0), x)
            for hole in holes:
                if shown < args.show:
                    print("  HOLE", k, hole, faithful, sep="\n  ", flush=True)
                    shown += 1
        told = "  ".join(f"{n} {x:.4f}" for n, x in largest.items())
        print(f"{args.dtype} climb {name:9s} largest ratio: {told}", flush=True)
    print(f"{total} checks, {found} holes, {time.perf_counter() - began:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
