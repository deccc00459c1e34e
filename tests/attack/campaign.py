"""The attack: draw faithful programs, run them, and look for elements beyond the bound.

    python -m tests.attack.campaign --dtype float32 --wild --programs 500 --seed 1

A *hole* is an element that a faithful program computes and that the bound excludes.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optconform.errors import SpecError
from optconform.formats import FORMATS, Format
from optconform.oracle.free import free_running
from optconform.oracle.judge import Judgement, Steps, compare, outcomes
from optconform.oracle.scalars import Profile
from optconform.spec import Program, Spec, program
from optconform.spec_file import load

from .programs import Faithful, Habits

Array = NDArray[Any]
SPECS = ("sgd", "adagrad", "rmsprop", "adadelta", "adam", "adamw")
STEPS = 5
ROUNDINGS = ("nearest", "chance", "up", "down", "zero")

NATURAL: dict[str, tuple[float, ...]] = {
    "lr": (1e-3, 0.1, 3e-4, 1e-2),
    "beta1": (0.9, 0.95, 0.8),
    "beta2": (0.999, 0.99, 0.95),
    "rho": (0.9, 0.95),
    "alpha": (0.99, 0.9),
    "eps": (1e-8, 1e-6, 1e-5),
    "weight_decay": (0.0, 0.01, 0.1),
    "momentum": (0.0, 0.9, 0.5),
    "dampening": (0.0, 0.1),
    "lr_decay": (0.0, 1e-2),
    "initial_accumulator_value": (0.0, 0.1),
}
BETAS = (0.0, 0.3, 0.5, 0.9, 0.999, 0.999999, 1e-9, 6e-8, 4e-4, 0.004, 0.01, 0.2, 0.8)
WILD: dict[str, tuple[float, ...]] = {
    "lr": (0.0, 1e-3, 1.0, 1e-12, 1e6, 1e-30, 3e-3),
    "beta1": BETAS,
    "beta2": BETAS,
    "rho": (*BETAS, 1.0),
    "alpha": BETAS,
    "eps": (0.0, 1e-300, 1e-45, 1e-15, 1e-8, 1e-3, 1.0, 30.0),
    "weight_decay": (0.0, 0.01, 0.5, 1.0, 10.0, 1e4),
    "momentum": (0.0, 0.9, 0.999999, 0.5, 1e-6, 1e-3, 1.0, 2.0),
    "dampening": (0.0, 0.5, 1.0, 0.1),
    "lr_decay": (0.0, 1e-2, 1e3),
    "initial_accumulator_value": (0.0, 1.0, 1e-6, 1e-12),
}
KINDS = (
    "natural", "tiny", "huge", "mixed", "full", "zeros", "subnormal", "constant", "near",
    "low", "brink", "few", "odd", "nought",
)  # fmt: skip


@dataclass(frozen=True)
class Job:
    """One program to draw, with the steps that it runs."""

    program: Program
    rows: list[dict[str, float]]  # of consecutive steps
    start: dict[str, Array]
    grads: list[Array]


@dataclass
class Tally:
    checks: int = 0
    undecided: int = 0
    excused: int = 0
    holes: int = 0
    largest: float = 0.0
    ratios: list[Array] = field(default_factory=list)

    def add(self, j: Judgement, excused: Array) -> Array:
        """Count one output of some steps; the mask of the holes is returned."""
        failed = j.failed & ~excused
        judged = ~j.outcome.undecided & ~excused
        self.checks += j.ratio.size
        self.undecided += int(j.outcome.undecided.sum())
        self.excused += int((excused & ~j.outcome.undecided).sum())
        self.holes += int(failed.sum())
        ratio = j.ratio[judged]
        if ratio.size:
            self.largest = max(self.largest, float(ratio.max()))
            self.ratios.append(ratio[ratio > 0][:20])
        return failed


@dataclass(frozen=True)
class Hole:
    job: Job
    row: int
    output: str
    element: int
    value: float
    error: float
    ratio: float
    observed: float
    start: dict[str, float]

    def __str__(self) -> str:
        p = self.job.program
        return (
            f"{p.spec.name} {dict(p.variant)} {self.output}: {self.observed!r} is not "
            f"{self.value!r} ± {self.error!r} (ratio {self.ratio:.6g}) from {self.start}, "
            f"scalars {self.job.rows[self.row]}"
        )


# ---- what to run -----------------------------------------------------------------------------


def variants(spec: Spec) -> list[dict[str, str]]:
    """The default, every axis value alone (with what it needs) and a number where one may stand."""
    out: list[dict[str, str]] = [{}]
    for axis in spec.axes.values():
        for value, choice in axis.choices.items():
            if value != axis.default:
                needed = {k: v[0] for k, v in choice.needs.items()}
                out.append({axis.name: value, **needed})
        if axis.number is not None:
            out.append({axis.name: "0.1"})
    return out


def any_variant(spec: Spec, rng: np.random.Generator) -> dict[str, str]:
    choice = rng.random()
    if choice < 0.25:
        return {}
    if choice < 0.6:
        singles = variants(spec)
        return singles[int(rng.integers(len(singles)))]
    while True:
        wanted = {
            a.name: str(rng.choice(list(a.choices)))
            for a in spec.axes.values()
            if rng.random() < 0.5
        }
        try:
            return spec.variant(wanted)
        except SpecError:
            continue


def any_hypers(
    spec: Spec, rng: np.random.Generator, wild: bool, fmt: Format
) -> dict[str, float | bool]:
    while True:
        out: dict[str, float | bool] = {}
        for h in spec.hypers.values():
            if h.domain is None:
                out[h.name] = bool(rng.random() < 0.4)
                continue
            table = WILD if wild and rng.random() < 0.7 else NATURAL
            value = float(rng.choice(table[h.name]))
            if wild and value and rng.random() < 0.3:
                # just above a power of two: hardly anything else is off by a whole unit
                value = float(2.0 ** np.floor(np.log2(value)) * (1 + fmt.unit * 0.999))
            elif value and rng.random() < 0.4:
                moved = value * float(rng.uniform(0.8, 1.25))
                value = moved if moved in h.domain else value
            out[h.name] = value if value in h.domain else float(h.default)
        if spec.admissible(out):
            return out


def tensor(rng: np.random.Generator, kind: str, n: int, fmt: Format) -> Array:
    """A tensor of the format, as doubles."""
    z = rng.standard_normal(n)
    sign = np.sign(z)
    high = np.log2(fmt.largest)
    low = fmt.emin - fmt.digits
    match kind:
        case "tiny":
            x = z * 2.0 ** (fmt.emin / 2)
        case "huge":
            x = z * 2.0 ** (high / 2 - 4)
        case "mixed":
            x = z * np.exp2(rng.uniform(low / 2, high / 2, n))
        case "full":
            x = sign * np.exp2(rng.uniform(low + 1, high, n))
        case "zeros":
            x = np.where(rng.random(n) < 0.5, 0.0, z)
        case "subnormal":
            x = z * fmt.tiny * rng.random(n)
        case "constant":
            x = np.full(n, z[0])
        case "near":
            x = 3.0 * (1 + 10 * fmt.unit * z)
        case "low":  # just above powers of two, where roundings are relatively largest
            x = sign * np.exp2(rng.integers(-3, 4, n)) * (1 + 2 * fmt.unit * rng.integers(0, 6, n))
        case "brink":  # where a square, a product or a sum is about to overflow
            top = np.exp2(high * (rng.choice([0.5, 1.0], n) - 1e-9) - rng.integers(0, 3, n))
            x = sign * np.minimum(top * (1 + 4 * fmt.unit * rng.standard_normal(n)), fmt.largest)
        case "odd":
            x = np.where(rng.random(n) < 0.2, rng.choice([np.nan, np.inf, -np.inf, 0.0], n), z)
            return fmt.round(x)
        case "nought":
            x = np.zeros(n)
        case "few":
            x = rng.integers(-3, 4, n) * 0.5
        case _:
            x = z
    x = fmt.round(np.asarray(x, np.float64))
    return np.where(np.isfinite(x), x, np.copysign(fmt.largest, x))


def gradients(rng: np.random.Generator, n: int, steps: int, wild: bool, fmt: Format) -> list[Array]:
    if not wild:
        return [tensor(rng, "natural", n, fmt) for _ in range(steps)]
    how = rng.integers(4)
    if how == 0:  # as the optimizer would like it least: always new
        return [tensor(rng, str(rng.choice(KINDS)), n, fmt) for _ in range(steps)]
    kind = str(rng.choice(KINDS))
    if how == 1:
        one = tensor(rng, kind, n, fmt)
        return [one * (-1) ** t for t in range(steps)]
    if how == 2:
        return [tensor(rng, kind, n, fmt)] * steps
    return [tensor(rng, kind, n, fmt) for _ in range(steps)]


def jobs(
    spec: Spec, rng: np.random.Generator, wild: bool, n: int, fmt: Format,
    variant: Mapping[str, str] | None = None,
) -> Iterator[Job]:  # fmt: skip
    """One run of a drawn setting: a job for each stretch of steps with the same program."""
    chosen = any_variant(spec, rng) if variant is None else spec.variant(variant)
    hypers = any_hypers(spec, rng, wild, fmt)
    first = int(rng.choice([1, 1, 1, 2, 7, 1000])) if wild else 1
    schedule = wild and rng.random() < 0.25
    rows = []
    for t in range(first, first + STEPS):
        row = {k: float(v) for k, v in hypers.items()}
        if schedule:
            row["lr"] = float(rng.choice(WILD["lr"]))
        rows.append({**row, "t": float(t), "lr0": float(hypers["lr"])})
    grads = gradients(rng, n, STEPS, wild, fmt)
    programs = [program(spec, chosen, hypers, int(r["t"])) for r in rows]
    start = {"p": tensor(rng, str(rng.choice(KINDS)) if wild else "natural", n, fmt)}
    random_states = wild and rng.random() < 0.4
    for s in programs[-1].states:
        init = float(hypers.get(s.init, 0.0)) if s.init in hypers else float(s.init)
        x = tensor(rng, str(rng.choice(KINDS)), n, fmt) if random_states else np.full(n, init)
        start[s.name] = fmt.round(np.abs(x) if s.nonneg else x)
    at = 0
    for _, group in itertools.groupby(programs):
        size = len(list(group))
        yield Job(programs[at], rows[at : at + size], start, grads[at : at + size])
        at += size


def run(faithful: Faithful, job: Job) -> tuple[Steps, Array, dict[str, Array]]:
    """The steps of a job by a program, where it is excused, and the state it ends in."""
    state = job.start
    starts: list[dict[str, Array]] = []
    seen: list[dict[str, Array]] = []
    excused = []
    for row, grad in enumerate(job.grads):
        start = {**state, "grad": grad}
        out, excuse = faithful.step(row, start)
        starts.append(start)
        seen.append(out)
        excused.append(excuse)
        state = {**state, **out}
    steps = Steps(
        job.rows,
        {k: np.stack([s[k] for s in starts]) for k in starts[0]},
        {k: np.stack([s[k] for s in seen]) for k in seen[0]},
    )
    return steps, np.stack(excused), dict(state)


def judge(
    job: Job, steps: Steps, excused: Array, fmt: Format, tallies: dict[str, Tally],
    profile: Profile,
) -> list[Hole]:  # fmt: skip
    """Compare a run with the bound; one hole an output, the worst, is told."""
    (answer,) = outcomes(steps, [job.program], fmt=fmt, profile=profile)
    holes = []
    for name, outcome in answer.items():
        j = compare(outcome, steps.observed[name], steps.start[name])
        failed = tallies[name].add(j, excused)
        if failed.any():
            r, e = np.unravel_index(np.argmax(np.where(failed, j.ratio, 0)), failed.shape)
            holes.append(
                Hole(
                    job,
                    int(r),
                    name,
                    int(e),
                    float(outcome.value[r, e]),
                    float(outcome.error[r, e]),
                    float(j.ratio[r, e]),
                    float(steps.observed[name][r, e]),
                    {k: float(x[r, e]) for k, x in steps.start.items()},
                )
            )
    return holes


def attack(
    name: str, fmt: Format, *, wild: bool, programs: int, width: int, seed: int,
    habits: Habits | None = None, variant: Mapping[str, str] | None = None,
    judged_as: Format | None = None, rounding: str = "nearest", bold: bool = False,
) -> tuple[dict[str, Tally], list[Hole]]:  # fmt: skip
    """Attack one spec with so many programs.  ``judged_as`` swaps the format of the bound."""
    spec = load(name)
    profile = Profile(rounding="nearest" if rounding == "nearest" else "faithful")
    tallies: dict[str, Tally] = collections.defaultdict(Tally)
    holes: list[Hole] = []
    for k in range(programs):
        rng = np.random.default_rng((seed, SPECS.index(name), k))
        state: dict[str, Array] | None = None
        for job in jobs(spec, rng, wild, width, fmt, variant):
            if state is not None:
                job = Job(job.program, job.rows, state, job.grads)
            faithful = Faithful(
                job.program, job.rows, fmt, rng, habits=habits, rounding=rounding, bold=bold
            )
            steps, excused, state = run(faithful, job)
            holes += judge(job, steps, excused, judged_as or fmt, tallies, profile)
    return tallies, holes


def attack_free(
    name: str, fmt: Format, *, wild: bool, programs: int, width: int, seed: int,
    habits: Habits | None = None,
) -> tuple[dict[str, Tally], list[Hole]]:  # fmt: skip
    """The same against the oracle that cannot see the state: only ``p`` is compared."""
    spec = load(name)
    tallies: dict[str, Tally] = collections.defaultdict(Tally)
    holes: list[Hole] = []
    for k in range(programs):
        rng = np.random.default_rng((seed, SPECS.index(name), k, 1))
        state: dict[str, Array] = {}
        runs: list[tuple[Job, Steps, Array]] = []
        for job in jobs(spec, rng, wild, width, fmt):
            if runs:
                job = Job(job.program, job.rows, state, job.grads)
            faithful = Faithful(job.program, job.rows, fmt, rng, habits=habits)
            steps, excused, state = run(faithful, job)
            runs.append((job, steps, excused))
        line = [(job, r) for job, _, _ in runs for r in range(len(job.rows))]
        outcomes_of_p = free_running(
            [job.program for job, _ in line], [job.rows[r] for job, r in line],
            runs[0][0].start, [job.grads[r] for job, r in line], fmt=fmt, profile=Profile(),
        )  # fmt: skip
        seen = np.concatenate([s.observed["p"] for _, s, _ in runs])
        before = np.concatenate([s.start["p"] for _, s, _ in runs])
        forgiven = np.logical_or.accumulate(np.concatenate([e for _, _, e in runs]))
        for r, outcome in enumerate(outcomes_of_p):
            j = compare(outcome, seen[r : r + 1], before[r : r + 1])
            failed = tallies["p"].add(j, forgiven[r : r + 1])
            if failed.any():
                e = int(np.argmax(np.where(failed, j.ratio, 0)))
                job, row = line[r]
                begin = {n: float(x[e]) for n, x in runs[0][0].start.items()}
                given = {f"grad{q}": float(o.grads[i][e]) for q, (o, i) in enumerate(line[: r + 1])}
                holes.append(
                    Hole(
                        job,
                        row,
                        "p",
                        e,
                        float(outcome.value[0, e]),
                        float(outcome.error[0, e]),
                        float(j.ratio[0, e]),
                        float(seen[r, e]),
                        begin | given,
                    )
                )
    return tallies, holes


def report(title: str, tallies: Mapping[str, Tally]) -> str:
    lines = []
    for output, t in tallies.items():
        ratios = np.concatenate(t.ratios) if t.ratios else np.zeros(0)
        ratios = ratios[np.isfinite(ratios)]
        typical = f"{1 / np.median(ratios):6.2f}" if ratios.size else "     -"
        lines.append(
            f"{title:34s} {output:6s} checks {t.checks:9d}  holes {t.holes:5d}  "
            f"largest {t.largest:8.4f}  bound/actual {typical}  "
            f"undecided {t.undecided / t.checks:.4f}  excused {t.excused / t.checks:.4f}"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtype", choices=tuple(FORMATS), default="float32")
    parser.add_argument("--spec", choices=SPECS, action="append")
    parser.add_argument("--wild", action="store_true", help="extreme settings and values")
    parser.add_argument("--rounding", choices=ROUNDINGS, default="nearest")
    parser.add_argument("--free", action="store_true", help="attack the free-running oracle")
    parser.add_argument("--bold", action="store_true", help="multiply out terms that vanish")
    parser.add_argument("--programs", type=int, default=100, help="for each spec")
    parser.add_argument("--width", type=int, default=400, help="elements of the tensors")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=3, help="holes to print for each spec")
    args = parser.parse_args(arguments)
    began, checks, found = time.perf_counter(), 0, 0
    for name in args.spec or SPECS:
        fmt = FORMATS[args.dtype]
        size: dict[str, int] = {k: getattr(args, k) for k in ("programs", "width", "seed")}
        if args.free:
            tallies, holes = attack_free(name, fmt, wild=args.wild, **size)
        else:
            tallies, holes = attack(
                name, fmt, wild=args.wild, rounding=args.rounding, bold=args.bold, **size
            )
        kind = "wild" if args.wild else "natural"
        print(report(f"{args.dtype} {kind} {name}", tallies), flush=True)
        for hole in holes[: args.show]:
            print("  HOLE", hole, flush=True)
        checks += sum(t.checks for t in tallies.values())
        found += sum(t.holes for t in tallies.values())
    print(f"{checks} checks, {found} holes, {time.perf_counter() - began:.0f} s")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
