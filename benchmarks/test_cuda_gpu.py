"""The generated optimizers on a GPU beside torch's and other libraries', turn by turn: `make gpu`.

Each line has the bytes that a step must move at the least, over the time, and that as a share of a
copy from device to device, which is the roofline; and what the host does for each tensor.
"""

from __future__ import annotations

import importlib
import importlib.util
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
    found = {"torch foreach": partial(theirs, foreach=True, **options)}
    if name not in ("RMSprop", "Adadelta", "Adagrad"):
        found["torch fused"] = partial(theirs, fused=True, **options)
    for library, (module, classes, more) in OTHERS.items():
        if name in classes and importlib.util.find_spec(module.partition(".")[0]):
            made = getattr(importlib.import_module(module), classes[name])
            found[library] = partial(made, lr=1e-3, **options, **more)
    return found


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("shapes", SHAPES)
@pytest.mark.parametrize("name", list(TOUCHED))
def test_step(name, shapes, dtype, copy_rate, keep):
    elements = sum(torch.Size(s).numel() for s in SHAPES[shapes])
    size = torch.empty((), dtype=dtype).element_size()
    if (TOUCHED[name] + 2) * elements * size > 0.8 * torch.cuda.mem_get_info()[0]:
        pytest.skip("the device has too little free memory")
    params = [torch.randn(s, dtype=dtype, device="cuda").requires_grad_() for s in SHAPES[shapes]]
    for p in params:
        p.grad = torch.randn_like(p)
    ours = getattr(cuda, name)(params, **OPTIONS.get(name, {}))
    ours.step()
    steps = {"ours": ours.step}
    for path, build in paths(name).items():
        theirs = build(params)
        theirs.step()
        if path.startswith("torch"):
            for p in params:  # the same tensors
                theirs.state[p].update({k: x for k, x in ours.state[p].items() if k != "step"})
        steps[path] = theirs.step
    if elements < 1e8:
        steps["torch compiled"] = torch.compile(steps["torch foreach"])
    times = {k: [] for k in steps}
    hosts = {k: [] for k in steps}
    for _ in range(25):
        for k, f in steps.items():
            times[k].append(event_seconds(f))
            hosts[k].append(host_seconds(f))
    moved = TOUCHED[name] * elements * size
    for k in steps:
        t, h = statistics.median(times[k][5:]), statistics.median(hosts[k][5:])
        ratio = statistics.median(
            a / b for a, b in zip(times["ours"][5:], times[k][5:], strict=True)
        )
        keep(
            f"{name} {str(dtype)[6:]} {shapes}, {k}: {t * 1e6:.0f} us, "
            f"{moved / t / 1e9:.0f} GB/s, {moved / t / copy_rate:.0%} of a copy, "
            f"ours takes {ratio:.2f} times it, host {h * 1e6 / len(params):.2f} us a tensor",
            algorithm=name, dtype=str(dtype)[6:], shapes=shapes, path=k, seconds=t, ratio=ratio,
            share_of_copy=moved / t / copy_rate, host_seconds=h,
        )  # fmt: skip
