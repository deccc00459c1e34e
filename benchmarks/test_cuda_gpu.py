"""The generated optimizers on a GPU beside torch's and other libraries', turn by turn: `make gpu`.

Each line has the bytes that a step must move at the least, over the time, and that as a share of a
copy from device to device, which is the roofline; and what the host does for each tensor.
"""

from __future__ import annotations

import gc
import importlib
import importlib.util
import inspect
import itertools
import statistics
import time
from functools import partial

import pytest
import torch

from optconform.impls import cuda

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

GPT2 = [
    (50257, 768), (1024, 768), (768,), (768,),
    *[(768,), (768,), (2304, 768), (2304,), (768, 768), (768,), (768,), (768,),
      (3072, 768), (3072,), (768, 3072), (768,)] * 12,
]  # fmt: skip
"""GPT-2 with 124 million parameters: Radford et al. 2019; one embedding, 12 layers."""

LLAMA = [(4096, 4096)] * 4 + [(11008, 4096)] * 2 + [(4096, 11008), (4096,), (4096,)]
"""A layer of Llama with 7 billion parameters: Touvron et al. 2023, arXiv:2302.13971."""

SHAPES = {
    "1 x 1e9": [(1_000_000_000,)],
    "1 x 1024": [(1024,)],
    "200 x 1 Mi": [(1 << 20,)] * 200,
    "1000 x 1024": [(1024,)] * 1000,
    "10000 x 64": [(64,)] * 10_000,
    "GPT-2": GPT2,
    "Llama layer": LLAMA,
}

TOUCHED = {"SGD": 5, "Adagrad": 5, "RMSprop": 5, "Adadelta": 7, "Adam": 7, "AdamW": 7}
"""Reads and writes of an element: p, the gradient, and each state tensor both ways."""

OPTIONS = {"SGD": {"momentum": 0.9}}


def event_seconds(f):
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    f()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3


def host_seconds(f):
    torch.cuda.synchronize()
    start = time.perf_counter()
    f()
    taken = time.perf_counter() - start
    torch.cuda.synchronize()
    return taken


@pytest.fixture(scope="module")
def copy_rate():
    """Bytes a second that a copy from device to device reads and writes."""
    n = min(1 << 30, torch.cuda.mem_get_info()[0] // 4)
    a, b = (torch.empty(n, dtype=torch.uint8, device="cuda") for _ in range(2))
    times = [event_seconds(lambda: b.copy_(a)) for _ in range(20)]
    return 2 * n / statistics.median(times[5:])


OTHERS = {
    "bitsandbytes": ("bitsandbytes.optim", {n: n for n in TOUCHED if n != "Adadelta"}, {}),
    "apex": (
        "apex.optimizers",
        {"SGD": "FusedSGD", "Adagrad": "FusedAdagrad", "AdamW": "FusedAdam"},
        {},
    ),
    "optimi": ("optimi", {n: n for n in ("SGD", "Adam", "AdamW")}, {"triton": True}),
}
"""Libraries with kernels of their own: module, classes by the name of torch's, options."""


def paths(name):
    """How each rival makes its optimizer of some parameters; those that are installed."""
    theirs, options = getattr(torch.optim, name), OPTIONS.get(name, {})
    accepted = inspect.signature(theirs).parameters
    found = {"torch foreach": partial(theirs, foreach=True, **options)}
    if "fused" in accepted:
        found["torch fused"] = partial(theirs, fused=True, **options)
    # without it a compiled step would fetch its counters from the device, one by one
    counted = {"capturable": True} if "capturable" in accepted else {}
    found["torch compiled"] = partial(theirs, foreach=True, **counted, **options)
    for library, (module, classes, more) in OTHERS.items():
        if name in classes and importlib.util.find_spec(module.partition(".")[0]):
            made = getattr(importlib.import_module(module), classes[name])
            found[library] = partial(made, lr=1e-3, **options, **more)
    return found


MOST_COMPILED = 200
"""Tensors: to compile a step takes a fifth of a second for each and more."""


@pytest.fixture(autouse=True)
def room():
    """All of the memory, and a compiler that remembers nothing."""
    gc.collect()
    torch.cuda.empty_cache()
    torch._dynamo.reset()
    torch._dynamo.config.fail_on_recompile_limit_hit = True  # it would run uncompiled


def tensors(shapes, dtype):
    params = [torch.randn(s, dtype=dtype, device="cuda").requires_grad_() for s in shapes]
    for p in params:
        p.grad = torch.randn_like(p)
    return params


def started(name, params, **options):
    """Ours after a step, and each rival's step on the same tensors."""
    ours = getattr(cuda, name)(params, **OPTIONS.get(name, {}), **options)
    ours.step()
    steps = {"ours": ours.step}
    for path, build in paths(name).items():
        if path == "torch compiled" and len(params) > MOST_COMPILED:
            continue
        theirs = build(params)
        theirs.step()
        if path.startswith("torch"):
            for p in params:  # the same tensors
                theirs.state[p].update({k: x for k, x in ours.state[p].items() if k != "step"})
        compiled = path == "torch compiled"
        steps[path] = torch.compile(lambda o=theirs: o.step()) if compiled else theirs.step
    return steps


def taken(steps, rounds=25):
    """Seconds on the device and on the host, of each step in each round; the first five warm up."""
    times, hosts = {k: [] for k in steps}, {k: [] for k in steps}
    for _ in range(rounds):
        for k, f in steps.items():
            times[k].append(event_seconds(f))
            hosts[k].append(host_seconds(f))
    return {k: t[5:] for k, t in times.items()}, {k: t[5:] for k, t in hosts.items()}


def ratio(one, other):
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("name", list(TOUCHED))
def test_step(name, shapes, dtype, copy_rate, keep):
    elements = sum(torch.Size(s).numel() for s in SHAPES[shapes])
    size = torch.empty((), dtype=dtype).element_size()
    if (TOUCHED[name] + 2) * elements * size > 0.8 * torch.cuda.mem_get_info()[0]:
        pytest.skip("the device has too little free memory")
    params = tensors(SHAPES[shapes], dtype)
    times, hosts = taken(started(name, params))
    moved = TOUCHED[name] * elements * size
    for k, some in times.items():
        t, h = statistics.median(some), statistics.median(hosts[k])
        r = ratio(times["ours"], some)
        keep(
            f"{name} {str(dtype)[6:]} {shapes}, {k}: {t * 1e6:.0f} us, "
            f"{moved / t / 1e9:.0f} GB/s, {moved / t / copy_rate:.0%} of a copy, "
            f"ours takes {r:.2f} times it, host {h * 1e6 / len(params):.2f} us a tensor",
            algorithm=name, dtype=str(dtype)[6:], shapes=shapes, path=k, seconds=t, ratio=r,
            share_of_copy=moved / t / copy_rate, host_seconds=h,
        )  # fmt: skip


@pytest.mark.parametrize("shapes", ["1 x 1024", "1000 x 1024", "GPT-2"])
def test_gradients_that_lie_elsewhere_in_each_step(shapes, keep):
    """As after zero_grad(set_to_none=True): what the host does then, which must not wait."""
    params = tensors(SHAPES[shapes], torch.float32)
    one = [p.grad for p in params]
    turn = itertools.cycle([[g.clone() for g in one], one])
    steps = started("AdamW", params)

    def moving(step):
        for p, g in zip(params, next(turn), strict=True):
            p.grad = g
        start = time.perf_counter()
        step()
        return time.perf_counter() - start

    hosts = {k: [] for k in steps}
    for _ in range(25):
        for k, f in steps.items():
            torch.cuda._sleep(10_000_000)  # the backward pass, which is still under way
            hosts[k].append(moving(f))
            torch.cuda.synchronize()
    for k, some in hosts.items():
        h, r = statistics.median(some[5:]), ratio(hosts["ours"][5:], some[5:])
        keep(
            f"AdamW float32 {shapes} with gradients elsewhere, {k}: host {h * 1e6:.0f} us, "
            f"ours takes {r:.2f} times it",
            algorithm="AdamW", dtype="float32", shapes=f"{shapes}, moving", path=k,
            host_seconds=h, ratio=r,
        )  # fmt: skip


@pytest.mark.parametrize("shapes", ["1 x 1024", "1000 x 1024", "GPT-2"])
def test_a_replayed_graph(shapes, keep):
    params = tensors(SHAPES[shapes], torch.float32)
    steps = {}
    for k, build in {
        "ours": partial(cuda.AdamW, capturable=True),
        "torch fused": partial(torch.optim.AdamW, fused=True, capturable=True),
    }.items():
        optimizer = build(params)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            optimizer.step()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            optimizer.step()
        steps[k] = graph.replay
        steps[k, "lives"] = optimizer
    alive = [steps.pop(k) for k in list(steps) if isinstance(k, tuple)]
    times, _ = taken(steps)
    for k, some in times.items():
        t, r = statistics.median(some), ratio(times["ours"], some)
        keep(
            f"AdamW float32 {shapes} replayed from a graph, {k}: {t * 1e6:.0f} us, "
            f"ours takes {r:.2f} times it",
            algorithm="AdamW", dtype="float32", shapes=f"{shapes}, graph", path=k,
            seconds=t, ratio=r,
        )  # fmt: skip
    del alive
