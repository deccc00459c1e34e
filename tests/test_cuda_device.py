"""The device programs: what NVRTC makes of them, and what their threads do, without a GPU."""

from __future__ import annotations

import ctypes
import importlib.metadata
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from optconform.expr import holds
from optconform.impls.cuda import emit, host, nvrtc
from optconform.impls.cuda.body import conditions, lowered, zeros
from optconform.impls.cuda.emit import BYTES, Kernel
from optconform.impls.cuda.launch import work_list
from optconform.spec_file import load

ARCHITECTURES = ("sm_80", "sm_90", "sm_100", "sm_120")

SETTINGS: dict[str, list[dict[str, Any]]] = {
    "sgd": [{"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}],
    "adagrad": [{}],
    "rmsprop": [{}, {"momentum": 0.9, "centered": True, "weight_decay": 0.1}],
    "adadelta": [{}],
    "adam": [{"weight_decay": 0.1}],
    "adamw": [{"amsgrad": True, "maximize": True}],
}


def kernel_for(
    spec: str, setting: dict[str, Any], param: str = "float32", state: str = "float32", **rest: Any
) -> Kernel:
    hypers = {**load(spec).defaults, **setting}
    truths = {c for c in conditions(spec) if holds(c, {**hypers, "t": 2})}
    return Kernel(lowered(spec, frozenset(truths), zero=zeros(hypers)), param, state, **rest)


def kernels() -> Iterator[tuple[str, Kernel]]:
    for spec, settings in SETTINGS.items():
        for k, setting in enumerate(settings):
            yield f"{spec}-{k}", kernel_for(spec, setting)
    yield "adamw-f64", kernel_for("adamw", {}, "float64", "float64")
    yield "adamw-bf16", kernel_for("adamw", {}, "bfloat16", "bfloat16", stochastic=True)
    yield "adamw-f16-f32", kernel_for("adamw", {}, "float16", "float32")


KERNELS = dict(kernels())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("name", KERNELS)
def test_what_nvrtc_makes(name: str, architecture: str, tmp_path: Path) -> None:
    """No spills, 128 bits at a time, no flush to zero, and each rounding where the body has it."""
    pytest.importorskip("cuda.bindings.nvrtc", reason="cuda-bindings is not installed")
    kernel = KERNELS[name]
    made = nvrtc.compiled(emit.cuda(kernel), architecture)
    assert "warning" not in made.log
    told = [int(n) for n in re.findall(r"(\d+) bytes (?:stack frame|spill \w+)", made.log)]
    assert told and not any(told), made.log

    step = made.ptx[made.ptx.index(".entry step(") :]
    step = step[: step.index("\n}")]
    assert ".ftz" not in step
    assert not re.search(r"\.approx|\.local", step)
    ops = kernel.body.ops
    suffix = "f64" if kernel.wide == "float64" else "f32"
    names = {"div": "(?:div|rcp)", "sqrt": "sqrt"}  # one division more is that by the AMP scale
    for kind in names:  # a copy for each element that a thread holds, more for the tail
        count = sum(op.kind == kind for op in ops)
        found = len(re.findall(rf"\b{names[kind]}\.rn\.{suffix}", step)) - (kind == "div")
        assert found >= count * (lanes(kernel) + 1), (kind, found)
        assert found == 0 if count == 0 else found % count == 0, (kind, found)

    sass = disassembled(made.cubin, tmp_path)
    for instruction, touched in (("LDG", kernel.body.reads), ("STG", kernel.body.writes)):
        some = [BYTES[f] for n, f in zip(kernel.body.arrays, kernel.stored, strict=True)
                if n in touched]  # fmt: skip
        found = len(re.findall(rf"\b{instruction}\.E\.128", sass))
        wanted = sum(some) * lanes(kernel) // 16
        assert found and found % wanted == 0, f"{found} {instruction}.128, not {wanted} a round"
    assert not re.search(r"\b(LDL|STL)\b", sass)


def lanes(kernel: Kernel) -> int:
    """Elements that one thread holds at a time."""
    return kernel.lanes * max(1, 8 // kernel.lanes)


def disassembled(cubin: bytes, folder: Path) -> str:
    """The machine code of ``step``, by nvdisasm."""
    try:
        files = importlib.metadata.files("nvidia-cuda-nvdisasm") or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("nvidia-cuda-nvdisasm is not installed")
    tool = next(f.locate() for f in files if f.name == "nvdisasm")
    (folder / "kernel.cubin").write_bytes(cubin)
    done = subprocess.run(
        [str(tool), "-c", str(folder / "kernel.cubin")], capture_output=True, text=True, check=True
    )
    return done.stdout[done.stdout.index(".text.step") :]


def test_a_wrong_program_is_refused() -> None:
    pytest.importorskip("cuda.bindings.nvrtc", reason="cuda-bindings is not installed")
    with pytest.raises(RuntimeError, match=r"NVRTC cannot build the kernel for sm_90: .*error"):
        nvrtc.compiled("__global__ void broken( {", "sm_90")


# ---- thread by thread ------------------------------------------------------------------------

CALL = """
extern "C" void grid(const Args* a, int blocks) {
  gridDim.x = blocks;
  blockDim.x = 256;
  for (blockIdx.x = 0; blockIdx.x < gridDim.x; blockIdx.x++)
    for (threadIdx.x = 0; threadIdx.x < blockDim.x; threadIdx.x++) step(*a);
}
"""

CONVERSIONS = {
    r'asm\("cvt\.rn\.bf16\.f32[^;]*;': "to_bfloat(u, x);",
    r'asm\("cvt\.f32\.f16[^;]*;': "of_half(f, x.u);",
    r'asm\("cvt\.rn\.f16\.f32[^;]*;': "to_half(to.u, x);",
}


def on_the_host(source: str, folder: Path) -> Any:
    """A device program whose threads run one after the other on the host."""
    for pattern, call in CONVERSIONS.items():
        source, count = re.subn(pattern, call, source.replace('%0, %1;"', '%0, %1"'))
        assert count == 1, pattern
    shim = Path(__file__).parent / "data" / "thread_by_thread.h"
    (folder / "grid.cpp").write_text(f'#include "{shim}"\n{source}{CALL}', encoding="utf-8")
    done = subprocess.run(
        ["g++", "-std=c++17", "-O0", "-ffp-contract=off", "-fPIC", "-shared", "-march=native",
         "-fsanitize=undefined", "-fno-sanitize-recover=all", "-Wl,-Bsymbolic",
         "grid.cpp", "-o", "grid.so"],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return ctypes.CDLL(str(folder / "grid.so"))


@pytest.mark.parametrize("name", ["sgd-0", "rmsprop-1", "adamw-0", "adamw-f64", "adamw-bf16",
                                  "adamw-f16-f32"])  # fmt: skip
def test_threads_do_what_the_host_does(name: str, tmp_path: Path) -> None:
    """Tensors of many sizes, aligned and not, through the work list of a small grid; nothing is
    written beside them."""
    kernel = KERNELS[name]
    sizes = np.array([0, 1, 31, 1023, 1024, 1025, 5000, 2048, 3], np.int64)
    shift = [0, 0, 1, 0, 0, 0, 0, 1, 0]  # elements off the alignment
    rng = np.random.default_rng(3)

    def tensors() -> list[list[torch.Tensor]]:
        return [
            [
                torch.from_numpy(values[k][i].copy()).to(getattr(torch, fmt))
                for k, fmt in enumerate(kernel.stored)
            ]
            for i in range(len(sizes))
        ]

    guard = 16
    values = [
        [np.abs(rng.normal(size=int(n) + guard + s)) for n, s in zip(sizes, shift, strict=True)]
        for _ in kernel.stored
    ]
    body, results = kernel.body, []
    every = (load(spec).defaults for spec in SETTINGS)
    hypers = {**dict(x for some in every for x in some.items()), "t": 3.0, "lr0": 0.0}
    for run in ("host", "grid"):
        made = tensors()
        entries = np.zeros(len(sizes), kernel.entry)
        for i, arrays in enumerate(made):
            entries["array"][i] = [x[shift[i] :].data_ptr() for x in arrays]
        entries["n"], entries["number"] = sizes, np.arange(len(sizes))
        entries["row"] = np.arange(len(sizes)) % 2
        entries["aligned"] = (np.bitwise_or.reduce(entries["array"], axis=1) & 15) == 0
        work = work_list(sizes)
        args = np.zeros(1, kernel.args)
        args["entries"], args["work"] = entries.ctypes.data, work.ctypes.data
        args["n_work"], args["seed"] = len(work), 11
        for r in (0, 1):
            k = body.constants.values({**hypers, "lr": 0.1 * (r + 1)})
            args["few"][0]["k"][r, : len(k)], args["few"][0]["t"][r] = k, 3
        if run == "host":
            host.program(kernel).launch(args)(())
        else:
            on_the_host(emit.cuda(kernel), tmp_path).grid(ctypes.c_void_p(args.ctypes.data), 2)
        results.append(made)
    before = tensors()
    for i, (one, other, was) in enumerate(zip(*results, before, strict=True)):
        for k, array in enumerate(body.arrays):
            assert torch.equal(one[k].view(torch.uint8), other[k].view(torch.uint8)), (i, array)
            inside = slice(shift[i], shift[i] + int(sizes[i]))
            changed = ~torch.eq(one[k], was[k])
            if array in body.writes and sizes[i] > 30:
                assert changed[inside].any()
            changed[inside] = False
            assert not changed.any(), f"{array} of tensor {i} was written beside"
