"""The host build: the emitted program compiled with g++ and called through ctypes."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optconform.caches import cached
from optconform.errors import RequestError
from optconform.impls.cuda import emit
from optconform.impls.cuda.emit import CHUNK, Kernel

OPTIONS = (
    "-std=c++17", "-O3", "-march=native", "-fopenmp", "-fPIC", "-shared",
    "-ffp-contract=off",  # a fused multiply-add is where the body says so
    "-fno-math-errno", "-fno-trapping-math",  # flags and errno are not looked at; values stay
)  # fmt: skip


GRAIN = 32768
"""Elements that are worth a thread, as in torch's own loops: on a busy machine one that is woken
for less is waited for longer than it works."""


class HostProgram:
    """A kernel for tensors in the memory of this machine, on as many threads as torch uses."""

    def __init__(self, kernel: Kernel) -> None:
        library = ctypes.CDLL(str(_built(emit.host(kernel), emit.paired(kernel))))
        self._step, self._rows = library.step, library.rows
        self._step.argtypes = (ctypes.c_void_p, ctypes.c_int)
        self._rows.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
        self._step.restype = self._rows.restype = None

    def place(self, array: NDArray[Any]) -> tuple[int, object]:
        """The address of an array; the program reads it where it is."""
        return array.ctypes.data, array

    def fill(self, tensor: Tensor, array: NDArray[Any]) -> None:
        """Give a tensor the values of an array."""
        tensor.copy_(torch.from_numpy(array))

    def launch(self, args: NDArray[np.void]) -> Callable[[Collection[Any]], None]:
        """What runs the work list of ``Args``, with the rest of them as it is then."""
        step, at = self._step, ctypes.c_void_p(args.ctypes.data)
        most = max(1, int(args["n_work"][0]) * CHUNK // GRAIN)

        def run(
            placed: Collection[Any],
            args: NDArray[np.void] = args,  # which must live as long
        ) -> None:
            step(at, min(most, torch.get_num_threads()))

        return run

    def rows(self, hypers: Tensor, out: Tensor) -> None:
        """The constants of each row of ``hypers``, as the device computes them."""
        self._rows(hypers.data_ptr(), out.data_ptr(), len(hypers))


@functools.cache
def program(kernel: Kernel) -> HostProgram:
    return HostProgram(kernel)


def _built(source: str, wide: bool) -> Path:
    compiler = os.environ.get("CXX") or "g++"
    found = shutil.which(compiler)
    if found is None:
        raise RequestError(f"the host build needs a C++ compiler: there is no {compiler}")

    options: tuple[str, ...] = OPTIONS
    if not wide and platform.machine() in ("x86_64", "AMD64"):
        # where memory is the limit, vectors of half a cache line get through a little faster
        options = (*OPTIONS, "-mprefer-vector-width=256")

    def build() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "kernel.cpp").write_text(source, encoding="utf-8")
            done = subprocess.run(
                [found, *options, "kernel.cpp", "-o", "kernel.so"],
                cwd=folder,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                raise RuntimeError(f"{compiler} cannot build the host program: {done.stderr}")
            return (Path(folder) / "kernel.so").read_bytes()

    return cached((source, *options, *_machine(found)), ".so", build)


@functools.cache
def _machine(compiler: str) -> tuple[str, ...]:
    """What -march=native stands for: the compiler and the processor with its abilities."""
    version = subprocess.run([compiler, "--version"], capture_output=True, text=True).stdout
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    told = {x for x in lines if x.startswith(("flags", "Features", "model name", "CPU part"))}
    return (version, platform.machine(), *sorted(told))
