"""The other side of the recording worker: starts it in an environment, and survives its end."""

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import RequestError

Message = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python in whose environment things are recorded; ``path`` comes first on its sys.path."""

    executable: str = sys.executable
    path: str = ""
    folder: str = ""  # the working folder; "" is this process's own

    def environment(self) -> dict[str, str]:
        kept = dict(os.environ)
        if self.path:
            kept |= {"PYTHONPATH": self.path, "PYTHONNOUSERSITE": "1"}
        return kept


class Ended(Exception):
    """The worker's process is gone, or silent; the message says how."""


class Worker:
    """A worker process; asked for one thing after the other."""

    def __init__(self, interpreter: Interpreter) -> None:
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115
        self.process = subprocess.Popen(
            [interpreter.executable, "-m", "optconform.recording.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env=interpreter.environment(),
            cwd=interpreter.folder or None,
        )
        self.rest = b""

    def ask(self, request: Mapping[str, Any], timeout: float) -> Message:
        """Its answer.  Raises RequestError where it refuses, Ended where there is none."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise Ended(self._how()) from None
        answer: Message = json.loads(self._line(time.monotonic() + timeout, timeout))
        if "refused" in answer:
            raise RequestError(answer["refused"])
        return answer

    def _line(self, deadline: float, timeout: float) -> bytes:
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self.rest:
                if not selector.select(max(deadline - time.monotonic(), 0)):
                    self.stop()
                    raise Ended(f"gave no answer within {timeout:g} seconds")
                got = os.read(self.process.stdout.fileno(), 1 << 20)
                if not got:
                    raise Ended(self._how())
                self.rest += got
        line, _, self.rest = self.rest.partition(b"\n")
        return line

    def _how(self) -> str:
        try:
            code = self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return "closed its pipe"
        self.errors.seek(0)
        last = self.errors.read().decode(errors="replace").strip().splitlines()[-1:]
        said = f": {last[0][:300]}" if last and code > 0 else ""
        return f"ended its process (status {code}){said}"

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        self.errors.close()


class Team:
    """Workers of an interpreter, one for each world; a dead one is replaced."""

    def __init__(self, interpreter: Interpreter) -> None:
        self.interpreter = interpreter
        self.workers: dict[str, Worker] = {}

    def ask(self, world: str, request: Mapping[str, Any], timeout: float) -> Message:
        worker = self.workers.get(world)
        if worker is None or not worker.alive:
            self.workers[world] = worker = Worker(self.interpreter)
        try:
            return worker.ask(request, timeout)
        except Ended:
            self.workers.pop(world).stop()
            raise

    def stop(self) -> None:
        for worker in self.workers.values():
            worker.stop()


def merged(sides: Sequence[Sequence[Message]]) -> list[list[Message | None]]:
    """Implementations of several environments side by side, by name, in the order of the first."""
    names = list(dict.fromkeys(i["implementation"] for side in sides for i in side))
    tables = [{i["implementation"]: i for i in side} for side in sides]
    return [[t.get(n) for t in tables] for n in names]
