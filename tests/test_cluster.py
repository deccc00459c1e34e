"""A cluster of two workers on this machine, one of which is killed while it works."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from optconform import cluster as cluster_module
from optconform.worker import Job

pytest.importorskip("distributed")

ROOT = Path(__file__).parent.parent


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """The address of a scheduler, and its two workers."""
    file = tmp_path / "scheduler.json"

    def start(*arguments: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "distributed.cli.dask_" + str(arguments[0]),
             *map(str, arguments[1:]), "--no-dashboard"],
            cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip

    started = [start("scheduler", "--port", 0, "--scheduler-file", file, "--host", "127.0.0.1")]
    deadline = time.monotonic() + 60
    while not file.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    worker = ("worker", "--scheduler-file", file, "--nthreads", 1, "--no-nanny")
    started += [start(*worker, "--local-directory", tmp_path / f"w{k}") for k in range(2)]
    yield json.loads(file.read_text())["address"], started[1:]
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_nothing_is_lost_with_a_worker(
    cluster: tuple[str, list[subprocess.Popen[bytes]]], tmp_path: Path
) -> None:
    address, workers = cluster
    out = tmp_path / "record.json"
    targets = [f"tests/subjects/{t}" for t in ("faithful.py:SGD", "hostile.py:KillsItself")]
    check = [sys.executable, "-m", "optconform.cli", "check", *targets, "--examples", "8",
             "--dtype", "float32", "--dtype", "bfloat16", "--json", str(out)]  # fmt: skip
    running = subprocess.Popen(
        [*check, "--cluster", address], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    journal, deadline = tmp_path / "record.json.journal", time.monotonic() + 300
    while not (journal.exists() and journal.read_bytes().count(b"\n") >= 2):
        assert running.poll() is None and time.monotonic() < deadline, running.communicate()
        time.sleep(0.05)
    os.killpg(workers[0].pid, signal.SIGKILL)  # its judge as well
    said, _ = running.communicate(timeout=600)
    assert running.returncode == 1, said.decode()
    verdicts = [(r["dtype"], r["verdict"]) for r in json.loads(out.read_text())["results"]]
    assert verdicts == [
        ("float32", "conforms"), ("bfloat16", "conforms"), ("float32", "error"),
        ("bfloat16", "error"),
    ]  # fmt: skip


def test_a_job_that_fails_takes_no_other_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As one does whose judge was killed, or whose worker was lost time and again."""
    from distributed import LocalCluster

    def judged(job: str, timeout: float, memory: float | None) -> str:
        if json.loads(job)["dtype"] == "float64":
            raise RuntimeError("the judge ended with status -9: no reason given")
        return json.dumps({"verdict": "conforms", "checks": {"total": 7}})

    def job(dtype: str) -> Job:
        return Job("lib", "sgd", "lib:SGD", "sgd", "sgd", dtype, {}, {}, library="lib")

    monkeypatch.setattr(cluster_module, "judge_apart", judged)
    told: dict[str, int] = {}

    def progress(job: Job, message: dict[str, Any]) -> None:
        told[job.dtype] = message["counts"]["total"]

    here = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    with LocalCluster(**here) as c:
        run = cluster_module.run_on_cluster(
            [job("float64"), job("float32")], address=c.scheduler_address, timeout=60, memory=None,
            progress=progress,
        )  # fmt: skip
        found = {job.dtype: result for job, result in run}
    assert found["float32"]["verdict"] == "conforms"
    lost = found["float64"]
    assert (lost["verdict"], lost["implementation"], lost["library"]) == ("error", "lib:SGD", "lib")
    assert "optconform was lost on the cluster: RuntimeError: the judge" in lost["message"]
    assert [f["summary"] for f in lost["findings"]] == [lost["message"]]
    assert set(lost) >= {"claimed", "profile", "checks", "seconds"} and "process_ended" not in lost
    assert told == {"float32": 7, "float64": 0}


def test_no_scheduler_is_one_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "optconform.cli", "check", "tests/subjects/faithful.py:SGD",
         "--dtype", "float32", "--cluster", "nowhere://at-all"],
        cwd=ROOT, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "no scheduler at nowhere://at-all" in done.stderr
