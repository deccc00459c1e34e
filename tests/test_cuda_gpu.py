"""The generated optimizers on a GPU: `make gpu`.  Nothing here runs without one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from optconform.draws import drawn
from optconform.impls import cuda
from optconform.impls.adapters import cuda_optim
from optconform.lockstep import failing, judge
from optconform.oracle.scalars import PROFILES
from optconform.spec_file import load
from optconform.trace import run

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]

OPTIONS: Sequence[tuple[str, dict[str, Any]]] = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "dampening": 0.25, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "maximize": True}),
    ("Adagrad", {"lr_decay": 0.1, "initial_accumulator_value": 0.5}),
    ("RMSprop", {}),
    ("RMSprop", {"momentum": 0.9, "centered": True, "weight_decay": 0.1}),
    ("Adadelta", {"weight_decay": 0.1}),
    ("Adam", {"amsgrad": True, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"amsgrad": True, "maximize": True}),
]

DTYPES = (torch.float32, torch.float64, torch.bfloat16, torch.float16)


def tensors(dtype: torch.dtype, device: str) -> list[Tensor]:
    torch.manual_seed(0)
    shapes = [(), (0,), (7,), (1023,), (1024,), (100_003,), (33, 65), (2, 3, 4, 5)]
    made = [torch.randn(s) for s in shapes]
    made += [torch.randn(40, 30).t(), torch.randn(64)[::2]]
    placed = []
    for x in made:
        y = torch.empty_strided(x.shape, x.stride(), dtype=dtype, device=device)
        placed.append(y.copy_(x).requires_grad_())
    odd = torch.empty(5001, dtype=dtype, device=device)[1:]  # not aligned to 128 bits
    return [*placed, odd.copy_(torch.randn(5000)).requires_grad_()]


def train(optimizer: Any, params: Sequence[Tensor], first: int, last: int) -> None:
    for t in range(first, last + 1):
        for k, p in enumerate(params):
            made = torch.Generator().manual_seed(100 * t + k)
            g = torch.randn(p.shape, generator=made) * 10.0 ** ((t * k) % 7 - 3)
            p.grad = None if (t + k) % 6 == 0 else g.to(p.device, p.dtype)
        optimizer.step()


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_the_device_is_the_host_bit_for_bit(
    name: str, options: dict[str, Any], dtype: torch.dtype
) -> None:
    extra: list[dict[str, Any]] = [{}]
    if dtype == torch.bfloat16:
        extra += [{"stochastic_rounding": True}, {"state_dtype": torch.float32}]
    for more in extra:
        p, q = tensors(dtype, "cuda"), tensors(dtype, "cpu")
        ours = getattr(cuda, name)(p, **options, **more)
        host = getattr(cuda, name)(q, device="cpu", **options, **more)
        train(ours, p, 1, 6)
        train(host, q, 1, 6)
        for a, b in zip(p, q, strict=True):
            assert torch.equal(a.detach().cpu(), b.detach())
            there, here = ours.state.get(a, {}), host.state.get(b, {})
            assert list(there) == list(here)
            assert all(torch.equal(there[n].cpu(), here[n]) for n in here)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("name", cuda_optim.CLASSES)
def test_ours_conform(name: str, dtype: str) -> None:
    """So do they under `make gpu-check`, which judges torch's paths as well and keeps a record."""
    subject = cuda_optim.OnDevice(
        getattr(cuda, name), f"{name}[cuda]", cuda_optim.MODULE, name.lower()
    )
    spec = load(subject.spec)
    rest = subject.changeable(spec)
    for scenario in drawn(spec, dtype=dtype, examples=5, seed=1, changeable=rest):
        trace = run(subject, scenario, spec)
        assert trace.crash is None, trace.crash
        assert any(
            not failing(judge(trace, spec, {}, profile=profile))
            for profile in PROFILES
            if profile.harmless(dtype) and profile.rounding == "nearest"
        )


@pytest.mark.parametrize("name", ["RMSprop", "Adadelta", "Adam", "AdamW"])
def test_a_captured_step_replays(name: str) -> None:
    """A CUDA graph of one step, replayed with other gradients and another lr, against plain steps;
    constants are computed on the device, where pow may differ in the last place of a double."""
    p, q = tensors(torch.float32, "cuda"), tensors(torch.float32, "cuda")
    rate = torch.tensor(0.01, device="cuda")
    captured = getattr(cuda, name)(p, lr=rate, capturable=True)
    plain = getattr(cuda, name)(q, lr=0.01)
    for x in (*p, *q):
        x.grad = torch.ones_like(x)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        captured.step()
    torch.cuda.current_stream().wait_stream(stream)
    plain.step()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured.step()
    for t in range(2, 6):
        rate.fill_(0.01 * t)
        plain.param_groups[0]["lr"] = float(rate)
        for a, b in zip(p, q, strict=True):
            a.grad.copy_(torch.full_like(a, 1.0 / t))
            b.grad.copy_(a.grad)
        graph.replay()
        plain.step()
    torch.testing.assert_close(p, q)
    assert {float(s["step"]) for s in captured.state.values()} == {5.0}


def test_a_captured_iteration_replays() -> None:
    """Forward, backward and step in one graph, whose gradients lie in its own memory; then eager
    steps, and the graph again."""
    ends = []
    for graphed in (True, False):
        torch.manual_seed(3)
        model = torch.nn.Sequential(*(torch.nn.Linear(33, 33, device="cuda") for _ in range(3)))
        x = torch.randn(17, 33, device="cuda")
        optimizer = cuda.AdamW(model.parameters(), capturable=True)

        def iterate(model: Any = model, x: Tensor = x, optimizer: Any = optimizer) -> None:
            optimizer.zero_grad(set_to_none=True)
            model(x).square().mean().backward()
            optimizer.step()

        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(3):
                iterate()
        torch.cuda.current_stream().wait_stream(side)
        if graphed:
            graph = torch.cuda.CUDAGraph()
            optimizer.zero_grad(set_to_none=True)
            with torch.cuda.graph(graph):
                iterate()
            for repeat in (graph.replay, iterate, iterate, graph.replay):
                repeat()
        else:
            for _ in range(4):
                iterate()
        assert {float(s["step"]) for s in optimizer.state.values()} == {7.0}
        ends.append([p.detach().clone() for p in model.parameters()])
    torch.testing.assert_close(*ends)


def test_a_step_in_a_thread_of_its_own() -> None:
    p, q = tensors(torch.float32, "cuda"), tensors(torch.float32, "cuda")
    ours, other = cuda.AdamW(p), cuda.AdamW(q)
    train(ours, p, 1, 1)
    train(other, q, 1, 2)
    raised: list[BaseException] = []

    def step() -> None:
        try:
            train(ours, p, 2, 2)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=step)
    thread.start()
    thread.join()
    assert not raised
    assert all(torch.equal(a, b) for a, b in zip(p, q, strict=True))


def test_a_step_whose_gradients_moved_does_not_wait_for_the_device() -> None:
    p = tensors(torch.float32, "cuda")
    optimizer = cuda.AdamW(p)
    train(optimizer, p, 1, 3)
    for x in p:
        x.grad = torch.ones_like(x)
    torch.cuda.synchronize()
    torch.cuda._sleep(2_000_000_000)  # a second or so
    asleep = torch.cuda.Event()
    asleep.record()
    optimizer.step()
    assert not asleep.query()


def test_a_plan_is_refused_in_a_capture() -> None:
    p = tensors(torch.float32, "cuda")[2:3]
    p[0].grad = torch.ones_like(p[0])
    optimizer = cuda.AdamW(p, capturable=True)
    with (
        pytest.raises(RuntimeError, match="a CUDA graph is being captured"),
        torch.cuda.graph(torch.cuda.CUDAGraph()),
    ):
        optimizer.step()


def test_amp_on_the_device() -> None:
    for capturable in (False, True):
        p, q = tensors(torch.float32, "cuda"), tensors(torch.float32, "cuda")
        scaled, plain = cuda.AdamW(p, capturable=capturable), cuda.AdamW(q, capturable=capturable)
        scaler = torch.amp.GradScaler("cuda", init_scale=2.0**12)
        for t in range(1, 5):
            for a, b in zip(p, q, strict=True):
                b.grad = torch.full_like(b, float(t))
                a.grad = scaler.scale(b.grad.clone()) if t != 2 else torch.full_like(a, torch.inf)
            scaler.step(scaled)
            scaler.update()
            if t != 2:
                plain.step()
        assert all(torch.equal(a, b) for a, b in zip(p, q, strict=True))
        assert {float(s["step"]) for s in scaled.state.values()} == {3.0}


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there is one device")
def test_two_devices_in_one_optimizer() -> None:
    p = [torch.ones(2000, device=f"cuda:{k}", requires_grad=True) for k in (0, 1)]
    optimizer = cuda.AdamW(p)
    train(optimizer, p, 1, 3)
    assert len(optimizer._plan.launches) == 2  # type: ignore[union-attr]


def test_more_than_two_to_the_31_elements() -> None:
    n = 2**31 + 5
    if torch.cuda.mem_get_info()[0] < 5 * n:
        pytest.skip("the device has too little free memory")
    p = torch.zeros(n, dtype=torch.bfloat16, device="cuda", requires_grad=True)
    p.grad = torch.ones(n, dtype=torch.bfloat16, device="cuda")
    cuda.SGD([p], lr=0.5).step()
    assert bool((p[-1024:] == -0.5).all()) and bool((p[:1024] == -0.5).all())


def test_compute_sanitizer_is_silent() -> None:
    tool = shutil.which("compute-sanitizer")
    if tool is None:
        pytest.skip("compute-sanitizer is not installed")
    code = (
        "import torch\n"
        "from optconform.impls import cuda\n"
        "p = [torch.randn(n, device='cuda', requires_grad=True) for n in (1, 1023, 5000)]\n"
        "for x in p: x.grad = torch.ones_like(x)\n"
        "cuda.AdamW(p).step(); torch.cuda.synchronize()\n"
    )
    done = subprocess.run(
        [tool, "--error-exitcode=1", "--report-api-errors=no", sys.executable, "-c", code],
        env={**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"},  # or it sees no end of a tensor
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stdout
