"""The host build of the generated optimizers beside torch's, one thread each, turn by turn.

`make bench` prints the lines; a ratio below 1 is ours.  What torch does not fuse on the CPU is
compared with its foreach path.
"""

from __future__ import annotations

import gc
import itertools
import statistics
import time

import pytest
import torch

from optconform.impls import cuda

FUSED = ("SGD", "Adagrad", "Adam", "AdamW")

OPTIONS = {"SGD": {"momentum": 0.9}}


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def pair(name, dtype, count, size):
    """Ours and torch's, on the same tensors: where they lie in memory makes more of a difference
    than who steps."""
    torch.manual_seed(0)
    params = [torch.randn(size, dtype=dtype).requires_grad_() for _ in range(count)]
    for p in params:
        p.grad = torch.randn(size, dtype=dtype)
    options = OPTIONS.get(name, {})
    path = {"fused": True} if name in FUSED else {"foreach": True}
    ours = getattr(cuda, name)(params, device="cpu", **options)
    torchs = getattr(torch.optim, name)(params, **path, **options)
    ours.step()
    torchs.step()
    for p in params:
        torchs.state[p].update({k: x for k, x in ours.state[p].items() if k != "step"})
    return ours, torchs


def seconds(f):
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


def turn_by_turn(one, other, rounds, block=1, before=lambda: None):
    """The median times of two functions, and the median of their ratios; blocks of ``block`` calls
    take turns.  The time of ``before``, which runs before each, does not count."""

    def best(f):
        times = []
        for _ in range(block):
            before()
            times.append(seconds(f))
        return min(times)

    gc.collect()
    gc.disable()
    try:
        times = [[best(one), best(other)] for _ in range(rounds + 3)][3:]
    finally:
        gc.enable()
    first, second = (statistics.median(t) for t in zip(*times, strict=True))
    return first, second, statistics.median(a / b for a, b in times)


@pytest.mark.parametrize(
    ("dtype", "count", "size"),
    [("float32", 1, 10**7), ("bfloat16", 1, 10**7), ("float32", 1, 4), ("float32", 10, 4)],
)
@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RMSprop", "Adadelta", "Adam", "AdamW"])
def test_step(benchmark, keep, name, dtype, count, size):
    """What a large step costs, and one however small it is."""
    large = size == 10**7
    shapes = f"{count} x {'1e7' if large else size}"
    benchmark.group = f"host build, {shapes}, {dtype}"
    ours, torchs = pair(name, getattr(torch, dtype), count, size)
    rounds, block, unit, scale = (15, 1, "ms", 1e3) if large else (30, 20, "us", 1e6)
    one, other, ratio = turn_by_turn(ours.step, torchs.step, rounds, block)
    benchmark.pedantic(ours.step, rounds=5)
    benchmark.extra_info["times torch"] = ratio
    path = "fused" if name in FUSED else "foreach"
    keep(
        f"{name} {dtype} {shapes} elements: host build {one * scale:.1f} {unit}, "
        f"torch {path} {other * scale:.1f} {unit}, {ratio:.2f} times torch's",
        algorithm=name, dtype=dtype, shapes=shapes, path=path,
        seconds=one, rival_seconds=other, ratio=ratio,
    )  # fmt: skip


@pytest.mark.parametrize("moved", [False, True], ids=["kept", "moved"])
@pytest.mark.parametrize("name", ["SGD", "Adagrad", "RMSprop", "Adadelta", "Adam", "AdamW"])
def test_host_time_for_a_thousand_tensors(benchmark, keep, name, moved):
    """What a step does beside the arithmetic, whose launch is left out; the whole of torch's step,
    which cannot be taken apart so, on tensors of four elements.  The best of ten steps in a row,
    whose gradients are the same tensors, or lie elsewhere than in the step before."""
    benchmark.group = "host time for each of 1000 tensors"
    ours, torchs = pair(name, torch.float32, 1000, 4)
    params = ours.param_groups[0]["params"]
    lists = itertools.cycle([[torch.randn(4) for _ in params] for _ in range(2)])

    def move():
        for p, grad in zip(params, next(lists), strict=True):
            p.grad = grad

    before = move if moved else lambda: None
    for _ in range(3):
        ours.step()  # the plan is made
    for launch in ours._plan.launches:
        launch.start = lambda placed: None
    one, other, ratio = turn_by_turn(ours.step, torchs.step, 15, block=10, before=before)
    benchmark.pedantic(ours.step, setup=before, rounds=50)
    benchmark.extra_info["microseconds for each tensor"] = one * 1e3
    what = "new gradients" if moved else "the same gradients"
    keep(
        f"{name} 1000 tensors, {what}: planning {one * 1e3:.2f} us for each, "
        f"torch's whole step {other * 1e3:.2f} us, {ratio:.2f} times torch's",
        algorithm=name, dtype="float32", shapes=f"1000 x 4, {what}", path="planning",
        seconds=one, rival_seconds=other, ratio=ratio,
    )  # fmt: skip


@pytest.mark.parametrize("count", [10, 1000])
def test_step_with_another_gradient_missing_each_time(benchmark, keep, count):
    """The worst case of a plan that is kept: who moves is settled anew in each step."""
    benchmark.group = "another gradient missing in each step"
    ours, torchs = pair("AdamW", torch.float32, count, 4)
    params = ours.param_groups[0]["params"]
    turn = itertools.cycle(params)

    def step(optimizer):
        p = next(turn)
        grad, p.grad = p.grad, None
        optimizer.step()
        p.grad = grad

    one, other, ratio = turn_by_turn(lambda: step(ours), lambda: step(torchs), 15, block=10)
    benchmark.pedantic(lambda: step(ours), rounds=20)
    benchmark.extra_info["times torch"] = ratio
    keep(
        f"AdamW float32 {count} x 4 elements, another gradient missing in each step: "
        f"host build {one * 1e6:.0f} us, torch fused {other * 1e6:.0f} us, "
        f"{ratio:.2f} times torch's",
        algorithm="AdamW", dtype="float32", shapes=f"{count} x 4, one missing", path="planning",
        seconds=one, rival_seconds=other, ratio=ratio,
    )  # fmt: skip
