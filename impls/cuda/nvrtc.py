"""CUDA C++ to a binary for one architecture, by NVRTC.  It needs no GPU."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

OPTIONS = ("--std=c++17", "--fmad=false", "--ftz=false", "--prec-div=true", "--prec-sqrt=true")
"""The body says where a multiply-add is fused; never --use_fast_math."""


@dataclass(frozen=True, slots=True)
class Compiled:
    """A program for one architecture: its machine code, its PTX, and what the compiler said."""

    cubin: bytes
    ptx: str
    log: str


def version() -> str:
    """The version of NVRTC, such as ``13.0``."""
    nvrtc = _nvrtc()
    major, minor = _done(nvrtc.nvrtcVersion())
    return f"{major}.{minor}"


def compiled(source: str, architecture: str) -> Compiled:
    """Build ``source`` for an architecture such as ``sm_90``.

    Raises:
        RuntimeError: NVRTC is not installed, or refuses the source.
    """
    nvrtc = _nvrtc()
    program = _done(nvrtc.nvrtcCreateProgram(source.encode(), b"kernel.cu", 0, [], []))
    try:
        options = [f"--gpu-architecture={architecture}", "--ptxas-options=-v", *OPTIONS]
        encoded = [o.encode() for o in options]
        (status,) = nvrtc.nvrtcCompileProgram(program, len(encoded), encoded)
        log = _text(nvrtc.nvrtcGetProgramLogSize, nvrtc.nvrtcGetProgramLog, program).decode()
        if status != nvrtc.nvrtcResult.NVRTC_SUCCESS:
            raise RuntimeError(f"NVRTC cannot build the kernel for {architecture}: {log}")
        cubin = _text(nvrtc.nvrtcGetCUBINSize, nvrtc.nvrtcGetCUBIN, program)
        ptx = _text(nvrtc.nvrtcGetPTXSize, nvrtc.nvrtcGetPTX, program).decode()
        return Compiled(cubin, ptx.rstrip("\0"), log.rstrip("\0"))
    finally:
        nvrtc.nvrtcDestroyProgram(program)


def _nvrtc() -> Any:
    try:
        from cuda.bindings import nvrtc
    except ImportError:
        raise RuntimeError(
            "kernels are built with cuda.bindings, which is not installed; "
            "pip install 'optconform[cuda]'"
        ) from None
    return nvrtc


def _text(size: Any, get: Any, program: Any) -> bytes:
    out = bytes(_done(size(program)))
    _done(get(program, out))
    return out


def _done(answer: tuple[Any, ...]) -> Any:
    """What a call of cuda.bindings returned beside its status."""
    status, *rest = answer
    if int(status) != 0:
        raise RuntimeError(f"CUDA: {status.name}")
    return rest[0] if len(rest) == 1 else tuple(rest)
