"""What a worker process does: answers requests, one after another, until the parent hangs up.

The judge is imported when it is first asked for: the parent, which never runs it, stays small.
"""

import gc
import json
import os
import signal
import sys
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from .errors import RequestError, one_line

Message = dict[str, Any]


def serve(pipe: Connection) -> None:
    """Answer requests until the parent hangs up.  Whatever the subject prints goes nowhere."""
    silence = os.open(os.devnull, os.O_RDWR)
    os.dup2(silence, 0)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.freeze()  # what the server has imported; to look through it takes a fifth of a second

    def emit(message: Message) -> None:
        pipe.send_bytes(json.dumps(message, allow_nan=False).encode())

    while True:
        try:
            request = json.loads(pipe.recv_bytes())
        except (EOFError, OSError):
            return
        try:
            emit(_answer(request, emit))
        except RequestError as e:
            emit({"event": "refused", "message": str(e)})
        except Exception as e:  # the judge's own fault, and told as such
            emit({"event": "failed", "message": f"itself failed: {one_line(e)}"})


def _answer(request: Message, emit: Callable[[Message], None]) -> Message:
    from .contracts.bench import Bench
    from .contracts.phase import script_of
    from .examine import CHECKS, Examination, Settings
    from .implementation import resolve, world
    from .oracle.scalars import Profile
    from .record import plain
    from .signature import defaults_of, distinct, own_names
    from .spec_file import load

    if request["do"] == "checks":
        return {"event": "checks", "checks": CHECKS}
    found = resolve(
        request["target"],
        request["spec"] if request["do"] in ("list", "defaults") else request["spec_option"],
    )
    _one_thread()
    if request["do"] == "list":
        return {
            "event": "listed",
            "implementations": [
                {
                    "implementation": i.name,
                    "library": i.library,
                    "version": i.version,
                    "spec": i.spec,
                    "variant": dict(i.variant),
                    "slow": i.slow,
                    "world": world(i),
                    "keywords": own_names(i, load(i.spec)),
                    "fixed": plain(i.fixed(load(i.spec))),
                }
                for i in found
            ],
        }
    if request["do"] == "defaults":
        rows = [defaults_of(i, load(i.spec)) for i in found]
        return {"event": "defaults", "rows": plain(distinct([r for r in rows if r is not None]))}
    own = request.get("own") or request["implementation"]
    implementation = next((i for i in found if i.name == own), None)
    if implementation is None:
        raise RequestError(f"{request['target']} has no {own} any more")
    spec = load(request["spec"])
    if request["do"] == "repro":
        fixed = {**implementation.fixed(spec), **request["settings"]["hyper"]}
        bench = Bench(implementation, spec, {}, Profile(), request["dtype"], fixed, emit)
        return {
            "event": "repro",
            "script": script_of(bench, request["check"], request["scenario"]),
        }
    if request["do"] == "identify":
        from .investigate import investigate

        answer = investigate(
            implementation, spec, Settings(**request["settings"]), lambda m: emit(plain(m))
        )
        return {"event": "identified", "answer": plain(answer)}
    examination = Examination(
        implementation,
        spec,
        request["variant"],
        request["dtype"],
        Settings(**request["settings"]),
        lambda m: emit(plain(m)),
    )
    result = {**examination.result(), "implementation": request["implementation"]}
    return {"event": "result", "result": plain(result)}


def _one_thread() -> None:
    """Judged tensors are small, and processes run side by side: one thread each is fastest."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
