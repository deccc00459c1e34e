"""The runtime of the device without a device: a driver whose launches run thread by thread.

What is tested is our side of the calls: what is built, placed and passed, in which order, and that
nothing is copied while a graph is captured.  The driver is a stand-in; tests/test_cuda_gpu.py has
the real one.
"""

from __future__ import annotations

import contextlib
import ctypes
import sys
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from optconform import caches
from optconform.impls import cuda
from optconform.impls.cuda import device, emit, nvrtc, optimizer

SHIM = Path(__file__).parent / "data" / "thread_by_thread.h"

CALLS = """
extern "C" void launch_step(int blocks, int threads, const Args* a) {
  gridDim.x = blocks;
  blockDim.x = threads;
  for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++)
    for (threadIdx.x = 0; threadIdx.x < blockDim.x; threadIdx.x++) step(*a);
}
extern "C" void launch_rows(int blocks, int threads, const double** h, Row** out, int* n) {
  gridDim.x = blocks;
  blockDim.x = threads;
  for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++)
    for (threadIdx.x = 0; threadIdx.x < blockDim.x; threadIdx.x++) rows(*h, *out, *n);
}
"""


class Status(int):
    name = "CUDA_ERROR_INVALID_VALUE"


class Driver(types.ModuleType):
    """As much of cuda.bindings.driver as is called."""

    launches: list[tuple[str, int]]

    def cuModuleLoadData(self, image: bytes) -> tuple[Status, Any]:
        return Status(0), ctypes.CDLL(image.decode())

    def cuModuleGetFunction(self, module: Any, name: bytes) -> tuple[Status, Any]:
        function = getattr(module, f"launch_{name.decode()}")
        function.label = name.decode()
        return Status(0), function

    def cuOccupancyMaxActiveBlocksPerMultiprocessor(
        self, function: Any, threads: int, memory: int
    ) -> tuple[Status, int]:
        return Status(0), 1

    def cuLaunchKernel(self, function: Any, *rest: int) -> tuple[Status]:
        x, y, z, threads, *_, pointers, extra = rest
        assert (y, z, extra) == (1, 1, 0)
        count = 1 if function.label == "step" else 3
        given = ctypes.cast(pointers, ctypes.POINTER(ctypes.c_void_p))
        function(x, threads, *(ctypes.c_void_p(given[i]) for i in range(count)))
        self.launches.append((function.label, x))
        return (Status(0),)


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Driver:
    """The stand-in, and a torch that believes it has one small GPU whose memory is the host's."""
    from subprocess import run

    def compiled(source: str, architecture: str) -> nvrtc.Compiled:
        assert architecture == "sm_90"
        source = source.replace('%0, %1;"', '%0, %1"')
        for was, now in (
            ('asm("cvt.rn.bf16.f32 %0, %1" : "=h"(u) : "f"(x));', "to_bfloat(u, x);"),
            ('asm("cvt.f32.f16 %0, %1" : "=f"(f) : "h"(x.u));', "of_half(f, x.u);"),
            ('asm("cvt.rn.f16.f32 %0, %1" : "=h"(to.u) : "f"(x));', "to_half(to.u, x);"),
        ):
            assert source.count(was) == 1
            source = source.replace(was, now)
        path = tmp_path / f"{abs(hash(source))}.cpp"
        path.write_text(f'#include "{SHIM}"\n{source}{CALLS}', encoding="utf-8")
        made = path.with_suffix(".so")
        options = ["-std=c++17", "-O0", "-ffp-contract=off", "-march=native", "-fPIC", "-shared"]
        run(["g++", *options, "-Wl,-Bsymbolic", str(path), "-o", str(made)], check=True)
        return nvrtc.Compiled(str(made).encode(), "", "")

    stand_in = Driver("cuda.bindings.driver")
    stand_in.launches = []
    bindings = types.ModuleType("cuda.bindings")
    bindings.driver = stand_in  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "cuda.bindings", bindings)
    monkeypatch.setenv("OPTCONFORM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(nvrtc, "compiled", compiled)
    monkeypatch.setattr(nvrtc, "version", lambda: "13.5")
    stream = types.SimpleNamespace(cuda_stream=0, synchronize=lambda: None)
    for name, value in {
        "is_available": lambda: True,
        "device": lambda d: contextlib.nullcontext(),
        "current_stream": lambda *d: stream,
        "get_device_capability": lambda d: (9, 0),
        "get_device_properties": lambda d: types.SimpleNamespace(multi_processor_count=2),
        "is_current_stream_capturing": lambda: False,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    device.program.cache_clear()
    # the parameters are on the CPU and the class was told so; its programs are the device's
    monkeypatch.setattr(optimizer, "built", lambda kernel, device: programs(kernel, device))
    return stand_in


def programs(kernel: emit.Kernel, where: torch.device) -> device.DeviceProgram:
    return device.program(kernel, where)


def tensors() -> list[Tensor]:
    torch.manual_seed(4)
    shapes = [(3,), (2100,), (5, 4), (0,)]
    made = [torch.randn(s).requires_grad_() for s in shapes]
    return [*made, torch.randn(1500, dtype=torch.bfloat16).requires_grad_()]


def train(o: Any, params: Sequence[Tensor], first: int, last: int) -> None:
    for t in range(first, last + 1):
        for k, p in enumerate(params):
            torch.manual_seed(10 * t + k)
            p.grad = torch.randn(p.shape).to(p.dtype)
        o.step()


@pytest.mark.parametrize(
    ("name", "options"),
    [("AdamW", {}), ("SGD", {"momentum": 0.9}), ("Adam", {"capturable": True, "amsgrad": True})],
)
def test_the_device_runtime_gives_the_bits_of_the_host(
    driver: Driver, monkeypatch: pytest.MonkeyPatch, name: str, options: dict[str, Any]
) -> None:
    p = tensors()
    ours = getattr(cuda, name)(p, device="cpu", **options)
    train(ours, p, 1, 4)
    assert driver.launches
    steps = [blocks for label, blocks in driver.launches if label == "step"]
    assert len(steps) == 2 * 4  # a launch for each dtype
    assert max(steps) <= 2  # the grid stays on the device: 2 multiprocessors of 1 block
    labels = [label for label, _ in driver.launches]
    assert labels.count("rows") == (8 if "capturable" in options else 0)
    assert len(list(caches.folder().glob("*.cubin"))) == len(
        {launch.kernel for launch in ours._plan.launches}
    ) * (2 if name == "SGD" else 1)
    monkeypatch.undo()
    q = tensors()
    train(getattr(cuda, name)(q, device="cpu", **options), q, 1, 4)
    assert all(torch.equal(a, b) for a, b in zip(p, q, strict=True))


def test_a_graph_is_not_captured_over_a_changed_plan(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    p = tensors()
    ours = cuda.AdamW(p, device="cpu", capturable=True)
    train(ours, p, 1, 1)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    ours.step()  # the same tensors
    p[0].grad = None
    with pytest.raises(RuntimeError, match="a CUDA graph is being captured"):
        ours.step()


def test_an_error_of_the_driver_is_told(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Driver, "cuLaunchKernel", lambda self, *rest: (Status(1),), raising=True)
    p = tensors()[:1]
    p[0].grad = torch.ones(3)
    with pytest.raises(RuntimeError, match="cuLaunchKernel on cpu: CUDA_ERROR_INVALID_VALUE"):
        cuda.AdamW(p, device="cpu").step()
