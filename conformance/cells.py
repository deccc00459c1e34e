"""Cells of a report that are judged inside a test run: each of them once, whoever asks for it.

Under pytest-xdist the processes of a run share a folder: who comes first judges, and the others
wait for it and read.
"""

import contextlib
import hashlib
import json
import random
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from .contracts.contract import BringsContracts
from .draws import keeping
from .errors import RequestError, one_line
from .examine import CHECKS, Examination, Settings, describe
from .implementation import Implementation, lacks, traceback_of
from .known import Divergence, admit, for_cell, replays, settle
from .options import output_files
from .record import dumps, plain, write
from .scenario import SetHyper, from_json, to_json
from .spec import Spec, Value
from .spec_file import load
from .surroundings import default_device, set_default_device
from .without import without
from .worker import NO_CHECKS

Result = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Cell:
    """An implementation, the spec it claims, a dtype, and how much is drawn.

    ``spec`` is a name or a path; ``claimed`` the whole variant; a ``seed`` of None leaves it to the
    run; ``known`` are the divergences that the test class knows; ``reads`` the files that it was
    made from.
    """

    implementation: Implementation
    spec: str
    claimed: Mapping[str, str]
    dtype: str
    hyper: Mapping[str, Value]
    dtypes: Sequence[str]
    examples: int
    steps: int
    seed: int | None
    known: tuple[Divergence, ...]
    reads: tuple[str, ...] = ()

    def in_dtype(self, dtype: str) -> "Cell":
        return replace(self, dtype=dtype)

    @property
    def label(self) -> str:
        return f"{self.implementation.name} {self.dtype}"

    @property
    def key(self) -> str:
        """The same in every process of a run."""
        said = (
            self.label, self.spec, sorted(self.claimed.items()), sorted(self.hyper.items()),
            list(self.dtypes), self.examples, self.steps, self.seed, [d.id for d in self.known],
        )  # fmt: skip
        return hashlib.sha256(repr(said).encode()).hexdigest()[:24]

    @property
    def described(self) -> dict[str, Any]:
        return describe(self.implementation, load(self.spec), self.dtype)


@dataclass
class Judge:
    """Judges cells, and remembers.

    ``examples`` and ``seed`` override what a cell says or leaves open; ``once`` says that the seed
    was drawn at random, so that no other run has it; ``known`` are divergences that hold for all
    cells; ``shared`` is the folder of the run; ``database`` an example database
    of Hypothesis, in which scenarios that failed are kept for the next run; ``outputs`` are the
    files that are written at the end.
    """

    examples: int | None = None
    seed: int = 0
    once: bool = False
    known: tuple[Divergence, ...] = ()
    shared: Path | None = None
    database: Any = None
    outputs: Sequence[str] = ()
    found: dict[str, Result] = field(default_factory=dict)
    met: dict[str, Implementation] = field(default_factory=dict)

    def overwritten(self, cell: Cell) -> str:
        """A sentence when an output would be written over what ``cell`` was made from."""
        try:
            output_files(*self.outputs, reads=cell.reads)
        except RequestError as e:
            return str(e)
        return ""

    def taken(self, cell: Cell) -> str:
        """A sentence when the name of ``cell`` is that of another implementation, met before: the
        verdict on one would be told of both."""
        if self.met.setdefault(cell.key, cell.implementation) == cell.implementation:
            return ""
        name = cell.implementation.name
        return f"two different implementations are called {name!r}; give each a name of its own"

    def result(self, cell: Cell) -> Result:
        """The settled result of a cell: known findings are marked, stale entries are findings."""
        if told := self.overwritten(cell) or self.taken(cell):
            raise RequestError(told)
        if cell.key not in self.found:
            self.found[cell.key] = self._shared(cell) if self.shared else self._judged(cell)
        result: Result = self.found[cell.key]["result"]
        return result

    def _shared(self, cell: Cell) -> Result:
        assert self.shared is not None
        path = self.shared / f"{cell.key}.json"
        with _lock(self.shared / f"{cell.key}.lock"):
            if not path.exists():
                write(path, dumps(self._judged(cell)))
            made: Result = json.loads(path.read_text(encoding="utf-8"))
            return made

    def _judged(self, cell: Cell) -> Result:
        spec = load(cell.spec)
        checks = _checks(cell.implementation)
        entries = for_cell((*cell.known, *self.known), cell.described, spec, checks)
        saved = self._saved(cell)
        settings = Settings(
            examples=self.examples or cell.examples,
            steps=cell.steps,
            seed=self.seed if cell.seed is None else cell.seed,
            hyper=cell.hyper,
            dtypes=cell.dtypes,
            replay=[*(_json(d) for d in replays(entries)), *saved.values()],
        )
        with undisturbed(), keeping(not self.once or cell.seed is not None):
            result = plain(_examined(cell, spec, settings))
        self._save(cell, result, saved, skip=len(replays(entries)))
        return {"spec": cell.spec, "seed": settings.seed, "result": settle(result, entries)}

    # ---- the example database ----------------------------------------------------------------

    def _saved(self, cell: Cell) -> dict[bytes, dict[str, Any]]:
        """Scenarios that failed in an earlier run, as they are kept and as the cell takes them now:
        those that do not fit it any more are left out."""
        spec, kept = load(cell.spec), {}
        fixed = {**cell.implementation.fixed(spec), **cell.hyper}
        free = set(cell.implementation.changeable(spec)) - set(fixed)
        for value in self._fetched(cell):
            try:
                scenario = without(from_json(json.loads(value)), lacks(cell.implementation))
                admit(scenario, spec)
            except (ValueError, RecursionError):  # of another version, or damaged
                continue
            changed = {n for e in scenario.events if isinstance(e, SetHyper) for n in e.hyper}
            if (
                scenario.dtype == cell.dtype
                and changed <= free
                and all(fixed.items() <= g.hyper.items() for g in scenario.all_groups)
            ):
                kept[value] = to_json(scenario)
        return kept

    def _fetched(self, cell: Cell) -> list[bytes]:
        return sorted(self.database.fetch(_key(cell))) if self.database is not None else []

    def _save(self, cell: Cell, result: Result, saved: Iterable[bytes], *, skip: int) -> None:
        if self.database is None:
            return
        for value, amiss in zip(saved, result.get("replayed", [])[skip:], strict=False):
            if not amiss:
                self.database.delete(_key(cell), value)
        for finding in result["findings"]:
            scenario = finding.get("scenario")
            if isinstance(scenario, dict) and "groups" in scenario:
                self.database.save(_key(cell), _bytes(scenario))


def _checks(implementation: Implementation) -> Collection[str] | None:
    """The names of all checks; None for what brings some of its own, made elsewhere."""
    ours = type(implementation).__module__.startswith("optconform.")
    return CHECKS if ours or not isinstance(implementation, BringsContracts) else None


def _key(cell: Cell) -> bytes:
    return f"optconform {cell.label} {load(cell.spec).name}".encode()


def _bytes(scenario: Mapping[str, Any]) -> bytes:
    return json.dumps(scenario, sort_keys=True).encode()


def _json(known: Divergence) -> dict[str, Any]:
    assert known.scenario is not None
    return to_json(known.scenario)


def _examined(cell: Cell, spec: Spec, settings: Settings) -> Result:
    """The result; a fault of optconform itself is told as such, and no verdict."""
    try:
        return Examination(
            cell.implementation, spec, cell.claimed, cell.dtype, settings, lambda _: None
        ).result()
    except RequestError:
        raise
    except Exception as e:
        message = f"optconform itself failed: {one_line(e)}"
        finding = {
            "kind": "crash", "check": "run", "summary": message, "scenario": None, "repro": "",
            "traceback": traceback_of(e),
        }  # fmt: skip
        return {
            **cell.described,
            "claimed": dict(cell.claimed), "variant": None, "profile": {}, "verdict": "error",
            "mode": "lockstep", "message": message, "checks": {**NO_CHECKS, "contracts": {}},
            "regimes": {}, "neighbours": {"apart": [], "same": [], "open": []}, "seconds": 0.0,
            "findings": [finding],
        }  # fmt: skip


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """Judge on the CPU, which is where tensors are made that are to be looked at; give the process
    back its random states, default device and dtype, threads and grad mode afterwards."""
    python, old = random.getstate(), np.random.get_state()
    torch = sys.modules.get("torch")
    if torch is None:
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(old)
        return
    threads, dtype = torch.get_num_threads(), torch.get_default_dtype()
    generator, grad = torch.get_rng_state(), torch.is_grad_enabled()
    device = default_device(torch)
    set_default_device(torch, "cpu")
    torch.set_num_threads(1)  # judged tensors are small
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_default_dtype(dtype)
        set_default_device(torch, device)
        torch.set_rng_state(generator)
        torch.set_grad_enabled(grad)
        random.setstate(python)
        np.random.set_state(old)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """Exclusive among processes, and free again when its holder dies; none where there is no
    fcntl: then a cell may be judged twice."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    with path.open("w") as f:
        fcntl.flock(f, fcntl.LOCK_EX)
        yield
