"""Optimizers on two ranks: the pair of processes, and what is driven on it."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from optconform.implementation import Unsupported, resolve
from optconform.impls.adapters import torch_ranks
from optconform.impls.adapters.torch_ranks import Pair
from optconform.lockstep import blocks
from optconform.scenario import Group, Param, Recipe, Scenario, Step
from optconform.spec_file import load
from optconform.trace import run

ZERO = "torch.distributed.optim:ZeroRedundancyOptimizer"
SHARD = "torch.distributed.fsdp:fully_shard"
TARGETS = (f"{ZERO}[AdamW]", f"{SHARD}[SGD,foreach]")


def _probe() -> Any:
    path = Path(__file__).with_name("probe.py")
    found = importlib.util.spec_from_file_location("optconform_probe", path)
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


probe = _probe()


@pytest.mark.parametrize("target", TARGETS)
def test_it_follows_its_spec_and_its_script_shows_the_same(target: str, tmp_path: Path) -> None:
    (implementation,) = resolve(target, None)
    spec = load(implementation.spec)
    scenario = probe.scenario(implementation)
    trace = run(implementation, scenario, spec)
    assert trace.crash is None
    assert blocks(trace, spec, spec.variant(implementation.variant)) is not None
    assert not trace.broken
    assert probe.follows(trace, implementation)
    assert any(np.any(r.start["p"] != r.observed["p"]) for r in trace.rows[0, 0])
    if target != TARGETS[-1]:
        return
    script = tmp_path / "repro.py"
    script.write_text(implementation.repro(scenario, spec))
    assert "optconform" not in script.read_text()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", script], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    lines = [x for x in done.stdout.splitlines() if x.startswith("  p1 param:")]
    seen = [row.observed["p"].tolist() for row in trace.rows[0, 1]]
    assert [json.loads(x.partition(": ")[2]) for x in lines] == seen


def test_fully_shard_takes_no_scalars() -> None:
    (implementation,) = resolve(f"{SHARD}[SGD,foreach]", None)
    spec = load("sgd")
    params = (Param((), Recipe("normal"), Recipe("normal")),)
    scenario = Scenario("sgd", "float32", (Group(dict(spec.defaults), params),), (Step(),))
    with pytest.raises(Unsupported, match="scalars"):
        run(implementation, scenario, spec)


DRIVERS = """
import os
import time
import torch
import torch.distributed as dist


class Driver:
    def __init__(self, make, dtype, groups):
        self.what = groups[0][0]["what"]

    def step(self, gradients):
        rank = dist.get_rank()
        if self.what == "both raise" or (self.what == "one raises" and rank == 1):
            raise ValueError(f"rank {rank} will not")
        if self.what == "one dies" and rank == 1:
            os._exit(3)
        if self.what == "one dies slowly" and rank == 1:
            os.closerange(3, 256)  # the parent and the other rank hear of it before it is gone
            time.sleep(2.0)
            os._exit(3)
        dist.barrier()

    def parameters(self):
        return dist.get_rank() if self.what == "differ" else 7
"""


@pytest.fixture
def drivers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "optconform_rank_drivers.py").write_text(DRIVERS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return "optconform_rank_drivers:Driver"


def _stopped() -> None:
    while torch_ranks._running:
        torch_ranks._running.pop().stop()


def test_a_failing_rank_is_told_and_the_next_scenario_runs(drivers: str) -> None:
    def pair(what: str) -> Pair:
        return Pair(drivers, torch.optim.SGD, "float32", [({"what": what}, [])])

    _stopped()  # ranks that know where the drivers are
    with pytest.raises(RuntimeError, match=r"ValueError: rank \d will not"):
        pair("both raise").step([])
    differ = pair("differ")
    differ.step([])
    with pytest.raises(RuntimeError, match="after parameters the ranks hold different values"):
        differ.parameters()
    with pytest.raises(RuntimeError, match=r"ValueError: rank \d will not"):
        pair("one raises").step([])
    for death in ("one dies", "one dies slowly"):
        with pytest.raises(RuntimeError, match="a rank has died"):
            pair(death).step([])
    fine = pair("fine")
    fine.step([])
    assert fine.parameters() == 7
    with pytest.raises(RuntimeError, match="another scenario"):
        differ.step([])
    _stopped()


def test_a_rank_does_not_outlive_a_parent_that_was_killed(tmp_path: Path) -> None:
    store = tmp_path / "store"
    rank = f"{sys.executable} -m {torch_ranks.__name__} 0 {store}"  # the other never comes
    parent = subprocess.Popen(
        ["sh", "-c", f"{rank} & echo $!; wait"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    deadline = time.monotonic() + 60
    while not store.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert _lives(pid)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 20
    while _lives(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _lives(pid)
    assert not store.exists()


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
