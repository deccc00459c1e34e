"""Two processes that run one driver side by side, as the ranks of a gloo group.

A pair is started once and then serves one scenario after another: every command goes to both ranks,
and both answer, in JSON.  A rank that raises, dies or waits in vain for the other is told as an
exception here, and the pair is ended; ranks end by themselves when their parent is gone.
"""

import atexit
import base64
import contextlib
import importlib
import json
import os
import secrets
import selectors
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist

from optconform.impls.adapters.driven import Arrays, Floats, Keywords

RANKS = 2

TIMEOUT = 60.0  # seconds until a collective operation, or the start of the processes, fails

DEAD = "a rank has died"

GRACE = 5.0  # seconds that a rank may take after the other has raised


class Pair:
    """A driver's methods, carried out on every rank; see ``driven.Driver``.

    ``driver`` is ``module:class``.  Raises RuntimeError with what the first rank to fail has said,
    or where the ranks do not answer alike: each of them shows the whole of every tensor.
    """

    def __init__(
        self,
        driver: str,
        make: Any,
        dtype: str,
        groups: Sequence[tuple[Keywords, Sequence[Floats]]],
    ) -> None:
        _started.append(self)
        self._ask("start", driver, f"{make.__module__}.{make.__qualname__}", dtype, groups)

    def step(self, gradients: Arrays) -> None:
        self._ask("step", gradients)

    def parameters(self) -> list[list[Floats]]:
        found: list[list[Floats]] = self._ask("parameters")
        return found

    def state(self) -> list[list[dict[str, Floats]]]:
        found: list[list[dict[str, Floats]]] = self._ask("state")
        return found

    def set(self, group: int, keywords: Keywords) -> None:
        self._ask("set", group, keywords)

    def reload(self) -> None:
        self._ask("reload")

    def _ask(self, command: str, *arguments: Any) -> Any:
        if _started[-1] is not self:
            raise RuntimeError("the ranks run another scenario by now")
        del _started[:-1]
        return _processes().ask([command, *arguments])


class _Processes:
    """The ranks and the pipes to them."""

    def __init__(self) -> None:
        self.store = Path(tempfile.gettempdir()) / f"optconform-ranks-{secrets.token_hex(8)}"
        self.ranks = [
            subprocess.Popen(
                [sys.executable, "-m", __name__, str(rank), str(self.store)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
            for rank in range(RANKS)
        ]
        self.ask(["ready"])

    def ask(self, message: list[Any]) -> Any:
        try:
            answers = self._answers(json.dumps(message, default=_packed).encode() + b"\n")
        except BaseException:
            self.stop()
            raise
        failed = [a["raised"] for a in answers if "raised" in a]
        if failed:
            if DEAD in failed or len(failed) < len(answers):
                self.stop()  # no longer in the same place, or dying: `alive` sees only who is gone
            raise RuntimeError(DEAD if DEAD in failed else failed[0])
        if any(a != answers[0] for a in answers):
            raise RuntimeError(f"after {message[0]} the ranks hold different values")
        return _unpacked(answers[0]["value"])

    def _answers(self, line: bytes) -> list[dict[str, Any]]:
        """An answer of each rank; of fewer, if one raised and the others went on waiting."""
        for rank in self.ranks:
            assert rank.stdin is not None
            with contextlib.suppress(OSError):  # reading says how it died
                rank.stdin.write(line)
                rank.stdin.flush()
        answers: list[dict[str, Any]] = []
        deadline = time.monotonic() + 2 * TIMEOUT
        with selectors.DefaultSelector() as waiting:
            for rank in self.ranks:
                assert rank.stdout is not None
                waiting.register(rank.stdout, selectors.EVENT_READ)
            while waiting.get_map():
                ready = waiting.select(max(deadline - time.monotonic(), 0.0))
                if not ready:
                    break
                for key, _ in ready:
                    said = key.fileobj.readline()  # type: ignore[union-attr]
                    waiting.unregister(key.fileobj)
                    answers.append(json.loads(said) if said else {"raised": DEAD})
                    if "raised" in answers[-1]:
                        deadline = min(deadline, time.monotonic() + GRACE)
        if not any("raised" in a for a in answers) and len(answers) < RANKS:
            raise RuntimeError("a rank gives no answer")
        return answers if len(answers) == RANKS else [*answers, {"value": None}]

    @property
    def alive(self) -> bool:
        return all(rank.poll() is None for rank in self.ranks)

    def stop(self) -> None:
        for rank in self.ranks:
            rank.kill()
            rank.wait()
        self.store.unlink(missing_ok=True)


_running: list[_Processes] = []

_started: list[Pair] = []  # the last one is whose scenario the ranks run


def _processes() -> _Processes:
    if _running and not _running[-1].alive:
        _running.pop().stop()
    if not _running:
        _running.append(_Processes())
    return _running[-1]


@atexit.register
def _stop() -> None:
    for processes in _running:
        processes.stop()


# ---- on the wire: the bytes of an array, so that every NaN and zero arrives as it was ---------


def _packed(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        data = base64.b64encode(np.ascontiguousarray(x, np.float64).tobytes()).decode()
        return {"shape": x.shape, "float64": data}
    raise TypeError(type(x).__name__)


def _unpacked(x: Any) -> Any:
    if isinstance(x, list):
        return [_unpacked(y) for y in x]
    if isinstance(x, dict) and set(x) == {"shape", "float64"}:
        return np.frombuffer(base64.b64decode(x["float64"]), np.float64).reshape(x["shape"]).copy()
    if isinstance(x, dict):
        return {k: _unpacked(y) for k, y in x.items()}
    return x


# ---- inside a rank ---------------------------------------------------------------------------


def _serve(rank: int, store: str) -> None:
    """Answer commands until the parent hangs up.  Whatever is printed goes nowhere."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    watching = (os.getppid(), Path(store))
    threading.Thread(target=_watch, args=watching, daemon=True).start()
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo",
        init_method=f"file://{store}",
        rank=rank,
        world_size=RANKS,
        timeout=timedelta(seconds=TIMEOUT),
    )
    run: Any = None
    for line in sys.stdin:
        command, *arguments = _unpacked(json.loads(line))
        value = None
        try:
            if command == "start":
                driver, make, *rest = arguments
                run = _named(*driver.split(":"))(_named(*make.rsplit(".", 1)), *rest)
            elif command != "ready":
                value = getattr(run, command)(*arguments)
            said = json.dumps({"value": value}, default=_packed)
        except Exception as e:  # told to the parent, where it is the subject's
            said = json.dumps({"raised": f"{type(e).__name__}: {e}"})
        print(said, file=answers, flush=True)


def _watch(parent: int, store: Path) -> None:
    """A rank may wait for the other one for a long time: it ends as soon as nobody is there."""
    while os.getppid() == parent:
        time.sleep(1.0)
    store.unlink(missing_ok=True)
    os._exit(1)


def _named(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


if __name__ == "__main__":
    _serve(int(sys.argv[1]), sys.argv[2])
