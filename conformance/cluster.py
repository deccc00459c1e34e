"""Jobs on a cluster: dask.distributed hands them out, and again when a worker is lost.

Dask is chosen for what long campaigns need and nothing more: it is Python alone, a scheduler and
workers are two commands, and a lost task is run again without a word from us.  Each job runs in a
process of its own beside the dask worker, isolated as on one machine, so that a subject that ends
its process takes no dask worker with it; requests and results cross as JSON.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from .errors import RequestError, one_line
from .serve import Message
from .worker import Job, lost, run_jobs

RETRIES = 3  # times that a job is run again because the worker that had it was lost


def run_on_cluster(
    jobs: Sequence[Job],
    *,
    address: str,
    timeout: float,
    memory: float | None,
    progress: Callable[[Job, Message], None] = lambda job, message: None,
) -> Iterator[tuple[Job, Message]]:
    """Judge ``jobs`` on the workers of the scheduler at ``address``; like ``worker.run_jobs``, but
    ``progress`` is told of a job no more than how many checks it has had in the end.

    What the jobs name must be there on every worker: the library, or the file at the same path.
    Raises RequestError when there is no such scheduler.
    """
    try:
        import dask
        from distributed import Client, as_completed
    except ImportError:
        raise RequestError(
            "--cluster needs dask.distributed; pip install 'optconform[cluster]'"
        ) from None
    dask.config.set({"distributed.scheduler.allowed-failures": RETRIES})
    try:
        client = Client(address, timeout=30)
    except (OSError, TimeoutError, ValueError) as e:
        raise RequestError(f"there is no scheduler at {address}: {one_line(e)}") from None
    with client:
        waiting = {
            client.submit(
                judge_apart, json.dumps(asdict(job)), timeout, memory, pure=False, retries=RETRIES
            ): job
            for job in jobs
        }
        for future in as_completed(list(waiting)):
            job = waiting[future]
            result = _result(job, future)
            progress(job, {"event": "progress", "counts": result["checks"]})
            yield job, result


def _result(job: Job, future: Any) -> Message:
    """What came back, or that nothing did: a worker that was lost too often, or whose judge failed,
    takes the results of no other job with it."""
    try:
        result: Message = json.loads(future.result())
    except Exception as e:  # whatever was raised over there is raised here again
        return lost(job, f"was lost on the cluster: {one_line(e)}")
    return result


def judge_apart(job: str, timeout: float, memory: float | None) -> str:
    """The result of a job, judged in a process of its own: a dask worker may have no children."""
    request = json.dumps({"job": json.loads(job), "timeout": timeout, "memory": memory})
    done = subprocess.run(
        [sys.executable, "-m", "optconform.cluster"],
        input=request, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise RuntimeError(f"the judge ended with status {done.returncode}: {last}")
    return done.stdout


def _main() -> None:
    request: dict[str, Any] = json.load(sys.stdin)
    job = Job(**request["job"])
    ((_, result),) = run_jobs(
        [job], processes=1, timeout=request["timeout"], memory=request["memory"]
    )
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    _main()
