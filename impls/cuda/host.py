"""The host build: the emitted program compiled with g++ and called through ctypes."""

from __future__ import annotations

import ctypes
import functools
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from optconform.errors import RequestError
from optconform.impls.cuda import emit
from optconform.impls.cuda.cache import cached
from optconform.impls.cuda.emit import Kernel

OPTIONS = (
    "-std=c++17", "-O3", "-march=native", "-fopenmp", "-fPIC", "-shared",
    "-ffp-contract=off",  # a fused multiply-add is where the body says so
    "-fno-math-errno", "-fno-trapping-math",  # flags and errno are not looked at; values stay
)  # fmt: skip


class HostProgram:
    """A kernel for tensors in the memory of this machine.  Arrays of arguments are kept alive by
    the caller."""

    def __init__(self, kernel: Kernel) -> None:
        library = ctypes.CDLL(str(_built(emit.host(kernel))))
        self._step, self._rows = library.step, library.rows
        self._step.argtypes = (ctypes.c_void_p, ctypes.c_int)
        self._rows.argtypes = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int)
        self._step.restype = self._rows.restype = None

    def step(self, args: int, threads: int) -> None:
        """Run the work list of the ``Args`` at this address."""
        self._step(args, threads)

    def rows(self, hypers: NDArray[np.float64], out: NDArray[np.void]) -> None:
        """Constants of every row from hyperparameters, as the device computes them."""
        self._rows(hypers.ctypes.data, out.ctypes.data, len(out))


@functools.cache
def program(kernel: Kernel) -> HostProgram:
    return HostProgram(kernel)


def _built(source: str) -> Path:
    compiler = os.environ.get("CXX") or "g++"
    found = shutil.which(compiler)
    if found is None:
        raise RequestError(f"the host build needs a C++ compiler: there is no {compiler}")

    def build() -> bytes:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "kernel.cpp").write_text(source, encoding="utf-8")
            done = subprocess.run(
                [found, *OPTIONS, "kernel.cpp", "-o", "kernel.so"],
                cwd=folder,
                capture_output=True,
                text=True,
            )
            if done.returncode:
                raise RuntimeError(f"{compiler} cannot build the host program: {done.stderr}")
            return (Path(folder) / "kernel.so").read_bytes()

    return cached((source, *OPTIONS, *_machine(found)), ".so", build)


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
