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
import weakref
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
extern "C" void launch_fill(int blocks, int threads, u32** to, int* n, const Block* from) {
  blockIdx.x = 0;
  blockDim.x = threads;
  for (threadIdx.x = 0; threadIdx.x < blockDim.x; threadIdx.x++) fill(*to, *n, *from);
}
"""


class Status(int):
    name = "CUDA_ERROR_INVALID_VALUE"


class Driver(types.ModuleType):
    """As much of cuda.bindings.driver as is called."""

    launches: list[tuple[str, int]]

    def cuCtxGetCurrent(self) -> tuple[Status, Any]:
        return Status(0), "context"

    def cuCtxSetCurrent(self, context: Any) -> tuple[Status]:
        assert context == "context"
        return (Status(0),)

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
    monkeypatch.setattr(Tensor, "pin_memory", Tensor.clone)
    monkeypatch.setattr(optimizer.Build, "gpu", True)
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


def table(optimizer: Any, name: str = "entries") -> Tensor:
    """What the first launch reads."""
    return optimizer._plan.launches[0].arguments.placed[name]


def test_a_graph_is_not_captured_over_a_changed_plan(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    p = tensors()
    ours = cuda.AdamW(p, device="cpu", capturable=True)
    train(ours, p, 1, 1)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    ours.step()  # the same tensors
    ours.state[p[0]]["exp_avg"] = ours.state[p[0]]["exp_avg"].clone()
    with pytest.raises(RuntimeError, match="a CUDA graph is being captured"):
        ours.step()


def test_a_capture_takes_gradients_that_moved_and_keeps_what_it_reads(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backward pass of a captured iteration puts its gradients elsewhere.  Tables go into the
    graph with its launches, and stay as they are when later steps have others."""
    p, q = tensors(), tensors()
    ours, other = (cuda.AdamW(x, device="cpu", capturable=True) for x in (p, q))
    for o, params in ((ours, p), (other, q)):
        train(o, params, 1, 1)
    count = ours.state[p[1]]["step"]
    with monkeypatch.context() as capture:
        capture.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
        capture.setattr(Tensor, "pin_memory", None)  # no copy that waits, or that is not repeated
        train(ours, p, 2, 2)
    assert [label for label, _ in driver.launches].count("fill") == 2  # one for each dtype
    held = weakref.ref(table(ours))
    bits = table(ours).clone()
    train(ours, p, 3, 3)
    assert held() is not None and torch.equal(held(), bits) and held() is not table(ours)
    eager = weakref.ref(table(ours))
    train(ours, p, 4, 4)
    assert eager() is None  # which no graph reads
    ours._plan = None
    train(ours, p, 5, 5)
    assert held() is not None and torch.equal(held(), bits)
    assert ours.state[p[1]]["step"]._base is count._base and float(count) == 5.0
    train(other, q, 2, 5)
    assert all(torch.equal(a, b) for a, b in zip(p, q, strict=True))


def test_a_step_that_cannot_be_repeated_is_not_captured(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its number would be that of the first; SGD has none."""
    p, q = tensors(), tensors()
    counted, plain = cuda.Adagrad(p, device="cpu"), cuda.SGD(q, device="cpu", momentum=0.9)
    for o, params in ((counted, p), (plain, q)):
        train(o, params, 1, 2)
    before = [x.detach().clone() for x in p]
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    train(plain, q, 3, 3)
    with pytest.raises(RuntimeError, match="would repeat this step of Adagrad with its number"):
        train(counted, p, 3, 3)
    assert all(torch.equal(a, b) for a, b in zip(p, before, strict=True))
    assert {float(s["step"]) for s in counted.state.values()} == {2.0}


def test_memory_that_another_stream_reads_is_not_given_away(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[Tensor, Any]] = []
    monkeypatch.setattr(Tensor, "record_stream", lambda x, stream: told.append((x, stream)))
    p = tensors()[:2]
    ours = cuda.AdamW(p, device="cpu")
    train(ours, p, 1, 2)
    assert not told
    other = types.SimpleNamespace(cuda_stream=7)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda *d: other)
    train(ours, p, 3, 3)
    assert {id(x) for x, _ in told} == {id(table(ours, n)) for n in ("work", "entries")}
    assert all(stream is other for _, stream in told)


def test_one_transposed_tensor_does_not_place_everything_anew(
    driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    p = [*tensors()[:2], torch.randn(4, 3).t().requires_grad_()]
    ours = cuda.AdamW(p, device="cpu")
    train(ours, p, 1, 1)
    first = table(ours)
    for _ in range(2):
        ours.step()
    assert table(ours) is first


def test_an_error_of_the_driver_is_told(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Driver, "cuLaunchKernel", lambda self, *rest: (Status(1),), raising=True)
    p = tensors()[:1]
    p[0].grad = torch.ones(3)
    with pytest.raises(RuntimeError, match="cuLaunchKernel on cpu: CUDA_ERROR_INVALID_VALUE"):
        cuda.AdamW(p, device="cpu").step()
