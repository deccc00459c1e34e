"""Isolation: subjects are judged in processes apart, a fresh one for every target.

The subject may crash, hang, print or kill its process.  The worker says which scenario it is about
to run before it runs it, so that whatever happens can be told and replayed; the parent waits for
word no longer than the timeout, then ends the process and goes on with the next job.
Messages are JSON over a pipe: nothing that the subject could forge is ever unpickled.
"""

import collections
import contextlib
import functools
import json
import math
import multiprocessing
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from .counts import Counts
from .errors import RequestError
from .memory import installed, resident
from .serve import Message, serve

START_TIMEOUT = 300.0  # seconds until a process has imported the framework and the target

OWN_TIMEOUT = 900.0  # seconds that judging and explaining may take between two scenarios

WATCH = 0.2  # seconds between two looks at a silent process's memory


Place = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Job:
    """A cell to judge: an implementation of a target, by a spec, in a dtype.

    ``own`` is what its target calls the implementation, where a report calls it otherwise.
    """

    target: str
    spec_option: str | None
    implementation: str
    spec: str  # what to load: a name or a path
    spec_name: str
    dtype: str
    variant: Mapping[str, str]
    settings: Mapping[str, Any]
    slow: bool = False
    library: str = ""
    version: str = ""
    world: str = ""
    own: str = ""

    @property
    def place(self) -> Place:
        """What may share a process."""
        return self.target, self.world


class Waiting:
    """Jobs that nobody has taken.  A process is given the next of its own place, which it has
    imported already, then of a place where nobody is, then of the one that has most to do."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._left: dict[Place, collections.deque[Job]] = {}
        self._visited: set[Place] = set()  # nobody leaves a place before it is done
        self._lock = threading.Lock()
        for job in jobs:
            self._left.setdefault(job.place, collections.deque()).append(job)

    def take(self, here: Place | None) -> Job | None:
        with self._lock:
            left = {place: jobs for place, jobs in self._left.items() if jobs}
            if not left:
                return None
            if here not in left:
                alone = (place for place in left if place not in self._visited)
                here = next(alone, None) or max(left, key=lambda place: len(left[place]))
                self._visited.add(here)
            return left[here].popleft()


def list_target(target: str, spec: str | None) -> list[Message]:
    """Name, library, version and spec of each implementation of a target, found in a process of
    its own.  Raises RequestError."""
    reply = ask({"do": "list", "target": target, "spec": spec}, START_TIMEOUT)
    found: list[Message] = reply["implementations"]
    return found


def known_checks() -> dict[str, str]:
    """What each check says, in a sentence; told by a process that has imported the frameworks,
    which the parent does without."""
    told: dict[str, str] = ask({"do": "checks", "target": "optconform"}, START_TIMEOUT)["checks"]
    return told


class Lost(RequestError):
    """A process that did not live to answer, or gave no answer in time."""


def ask(request: Message, timeout: float, *, scenario: float | None = None) -> Message:
    """One request to a fresh process; its answer, within ``timeout`` seconds.  Raises RequestError
    when there is none.

    With ``scenario``, these are the seconds until it runs a scenario, and each may take so many as
    ``scenario`` says.
    """
    worker = _Process()
    target = request["target"]
    try:
        worker.send(request)
        limit, what = timeout, "gave no answer within"
        deadline = time.monotonic() + limit
        while True:
            reply = worker.receive(max(deadline - time.monotonic(), 0.01))
            if reply is None:
                raise Lost(f"{target} {what} {limit:g} seconds")
            if reply["event"] == "died":
                raise Lost(f"{target} ended its process ({reply['how']})")
            if reply["event"] == "failed":
                raise Lost(f"optconform {reply['message']}")
            if reply["event"] == "refused":
                raise RequestError(reply["message"])
            if reply["event"] not in ("scenario", "progress", "phase"):
                return reply
            if scenario is not None:
                running = reply["event"] == "scenario"  # the subject is, and not the judge
                limit = scenario if running else OWN_TIMEOUT
                what = "took in one scenario longer than" if running else "gave no answer within"
                deadline = time.monotonic() + limit
    finally:
        worker.stop()


def run_jobs(
    jobs: Sequence[Job],
    *,
    processes: int,
    timeout: float,
    memory: float | None = None,
    progress: Callable[[Job, Message], None] = lambda job, message: None,
) -> Iterator[tuple[Job, Message]]:
    """Judge ``jobs`` on ``processes`` processes; yields each job with its result as it is ready.

    ``timeout`` is how many seconds a subject may stay silent, that is in one scenario; ``memory``
    how many GiB a process may take (by default three quarters of the machine's, shared by all).
    """
    # the slowest first, so that nobody waits for them alone at the end
    waiting = Waiting(sorted(jobs, key=lambda j: not j.slow))
    done: queue.SimpleQueue[tuple[Job, Message] | BaseException] = queue.SimpleQueue()
    stopping = threading.Event()
    running: set[_Process] = set()
    limit = 2**30 * memory if memory is not None else 0.75 * installed() / max(processes, 1)

    def work() -> None:
        worker: _Process | None = None
        place: Place | None = None
        try:
            while not stopping.is_set():
                job = waiting.take(place)
                if job is None:
                    return
                if worker is not None and (job.place != place or not worker.alive):
                    worker.stop()  # what one target did to its process, no other shall see
                    running.discard(worker)
                    worker = None
                worker, place = worker or _Process(), job.place
                running.add(worker)
                result = _run_job(worker, job, timeout, limit, progress)
                if result.pop("process_ended", False):
                    worker.stop()
                    running.discard(worker)
                    worker = None
                done.put((job, result))
        except BaseException as e:
            done.put(e)
        finally:
            if worker is not None:
                worker.stop()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(min(processes, len(jobs)))]
    for thread in threads:
        thread.start()
    try:
        for _ in jobs:
            item = done.get()
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopping.set()
        for worker in list(running):  # or a subject that hangs would be waited for
            worker.process.kill()
        for thread in threads:
            thread.join(timeout=10)


def _run_job(
    worker: "_Process",
    job: Job,
    timeout: float,
    memory: float,
    progress: Callable[[Job, Message], None],
) -> Message:
    begin = time.monotonic()
    worker.send({"do": "judge", **asdict(job)})
    seen = _Seen()
    running = holding = False  # the subject is, and not the judge; and what it takes is its own
    while True:
        message = worker.receive(timeout if running else OWN_TIMEOUT, memory)
        if message is None:
            how = (
                f"took longer than {timeout:g} seconds in {seen.place}"
                if running
                else f"came to no judgement within {OWN_TIMEOUT:g} seconds"
            )
            return _lost(job, how, seen, begin, subject=running)
        if message["event"] == "too large":
            how = f"took more than {memory / 2**30:.3g} GiB of memory in {seen.place}"
            return _lost(job, how, seen, begin, subject=holding)
        running = message["event"] == "scenario"
        holding = running or message.get("phase") == "judging"  # it may keep what it took
        match message["event"]:
            case "result":
                return dict(message["result"])
            case "refused" | "failed":
                return _lost(job, message["message"], seen, begin, subject=False)
            case "died":
                return _lost(job, f"ended its process ({message['how']})", seen, begin)
            case "scenario":
                seen.scenario = message
            case "progress":
                seen.progress = message
            case "so far":
                seen.result = message["result"]
            case "contract":
                seen.contracts.append(message)
        progress(job, message)


@dataclass(slots=True)
class _Seen:
    """What a worker has told of a cell, should there be no more."""

    scenario: Message = field(default_factory=dict)  # the last one that was begun
    progress: Message = field(default_factory=dict)
    result: Message = field(default_factory=dict)  # before the contracts
    contracts: list[Message] = field(default_factory=list)

    @property
    def check(self) -> str:
        """The contract that was being tried, or run."""
        return str(self.scenario.get("check") or "run")

    @property
    def place(self) -> str:
        return "one scenario" if self.check == "run" else f"the contract {self.check}"


NO_CHECKS: Message = {
    **Counts().as_dict(), "passed": 0, "scenarios": 0, "steps": 0, "tensors": {},
}  # fmt: skip


def lost(job: Job, how: str) -> Message:
    """The result of a cell of which nothing came back, through no fault of its subject."""
    result = _lost(job, how, _Seen(), time.monotonic(), subject=False)
    return {k: v for k, v in result.items() if k != "process_ended"}


def _lost(job: Job, how: str, seen: _Seen, begin: float, *, subject: bool = True) -> Message:
    """The result of a cell whose subject did not live to give one, with all that was found."""
    who = "the subject" if subject else "optconform"
    finding = {
        "kind": "crash",
        "check": seen.check,
        "summary": f"{who} {how}",
        "scenario": seen.scenario.get("scenario"),
        "repro": _repro(job, seen) if seen.scenario else "",
    }
    result = seen.result or {
        "implementation": job.implementation,
        "library": job.library,
        "version": job.version,
        "spec": job.spec_name,
        "dtype": job.dtype,
        "claimed": dict(job.variant),
        "variant": None,
        "profile": {},
        "verdict": "error",
        "mode": "lockstep",
        "checks": seen.progress.get("counts", NO_CHECKS),
        "regimes": {},
        "neighbours": {"apart": [], "same": [], "open": []},
        "findings": [],
    }
    statuses = {m["name"]: m["status"] for m in seen.contracts}
    if seen.check != "run":
        statuses[seen.check] = "broken"
    broken = [m["finding"] for m in seen.contracts if m["finding"]]
    return {
        **result,
        "implementation": job.implementation,
        "verdict": "diverges" if result["verdict"] == "diverges" else "error",
        "message": f"{who} {how}",
        "checks": {**result["checks"], "contracts": statuses},
        "seconds": round(time.monotonic() - begin, 3),
        "findings": [*result["findings"], *broken, finding],
        "process_ended": True,
    }


def _repro(job: Job, seen: _Seen) -> str:
    """The script for what took the process with it, written by another process."""
    request = {
        "do": "repro", **asdict(job), "scenario": seen.scenario["scenario"], "check": seen.check,
    }  # fmt: skip
    try:
        return str(ask(request, 60)["script"])
    except RequestError as e:
        return f"# no script: {e}"


@functools.cache
def _context() -> Any:
    """Where processes come from: forked off a server that has imported the frameworks and nothing
    of any subject, so that a fresh one costs milliseconds; spawned where there is no fork."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "optconform.examine"])
    return context


class _Process:
    """A worker process and the pipe to it."""

    def __init__(self) -> None:
        context = _context()
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    @property
    def alive(self) -> bool:
        return bool(self.process.is_alive())

    def send(self, message: Message) -> None:
        with contextlib.suppress(OSError):  # the next receive says how it died
            self.pipe.send_bytes(json.dumps(message).encode())

    def receive(self, timeout: float, memory: float = math.inf) -> Message | None:
        """The next message; None on timeout; an event ``died`` when the process is gone, and
        ``too large`` when it takes more than so many bytes of memory."""
        deadline = time.monotonic() + timeout
        try:
            while not self.pipe.poll(min(max(deadline - time.monotonic(), 0), WATCH)):
                if resident(self.process.pid) > memory:  # first: memory that is short costs time
                    return {"event": "too large"}
                if time.monotonic() >= deadline:
                    return None
            message: Message = json.loads(self.pipe.recv_bytes())
            return message
        except (EOFError, OSError, ValueError):
            self.process.join(timeout=5)
            return {"event": "died", "how": _how(self.process.exitcode)}

    def stop(self) -> None:
        self.pipe.close()
        if self.process.is_alive():
            self.process.kill()
        self.process.join(timeout=5)


def _how(exit_code: int | None) -> str:
    if exit_code is None:
        return "its pipe is closed"
    if exit_code < 0:
        try:
            return f"signal {signal.Signals(-exit_code).name}"
        except ValueError:
            return f"signal {-exit_code}"
    return f"exit status {exit_code}"
