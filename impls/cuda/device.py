"""The build for the device: NVRTC, and launches on torch's current stream."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from optconform.caches import cached
from optconform.impls.cuda import emit, nvrtc
from optconform.impls.cuda.emit import Kernel

THREADS = 256


class DeviceProgram:
    """A kernel on one GPU.  The context is the one that torch uses."""

    def __init__(self, kernel: Kernel, device: torch.device) -> None:
        from cuda.bindings import driver

        self.driver, self.device = driver, device
        source = emit.cuda(kernel)
        major, minor = torch.cuda.get_device_capability(device)
        architecture = f"sm_{major}{minor}"
        key = (source, architecture, *nvrtc.OPTIONS, nvrtc.version())
        path = cached(key, ".cubin", lambda: nvrtc.compiled(source, architecture).cubin)
        with torch.cuda.device(device):
            torch.cuda.current_stream().synchronize()  # the context exists
            self.context = self._call("cuCtxGetCurrent")
            module = self._call("cuModuleLoadData", path.read_bytes())
            self.functions = {
                name: self._call("cuModuleGetFunction", module, name.encode())
                for name in ("step", "rows", "fill")
            }
            blocks = self._call(
                "cuOccupancyMaxActiveBlocksPerMultiprocessor", self.functions["step"], THREADS, 0
            )
        properties = torch.cuda.get_device_properties(device)
        self.most_blocks = max(1, blocks) * properties.multi_processor_count

    def place(self, array: NDArray[Any]) -> tuple[int, Tensor]:
        """A copy of an array on the device."""
        there = torch.empty(array.nbytes, dtype=torch.uint8, device=self.device)
        self.fill(there, array)
        return there.data_ptr(), there

    def fill(self, tensor: Tensor, array: NDArray[Any]) -> None:
        """Copy an array, of as many bytes, into a tensor on the device; the host goes on meanwhile.

        A CUDA graph that is being captured takes the bytes with it, in the arguments of launches.
        """
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        if not len(data):
            return
        if not torch.cuda.is_current_stream_capturing():
            pinned = torch.from_numpy(data).pin_memory()
            tensor.view(-1).view(torch.uint8).copy_(pinned, non_blocking=True)
            return
        for start in range(0, len(data), 4 * emit.WORDS):
            block = np.zeros(1, [("to", "u8"), ("n", "u8"), ("words", "u4", emit.WORDS)])
            part = data[start : start + 4 * emit.WORDS].view(np.uint32)
            block["to"], block["n"] = tensor.data_ptr() + start, len(part)
            block["words"][0, : len(part)] = part
            at = block.ctypes.data
            self._launcher("fill", 1, block, at, at + 8, at + 16)(())

    def launch(self, args: NDArray[np.void]) -> Callable[[Collection[Tensor]], None]:
        """What runs the work list of ``Args``, with the rest of them as it is then: a persistent
        grid, a chunk for each warp in turn."""
        blocks = min(self.most_blocks, -(-int(args["n_work"][0]) // (THREADS // 32)))
        return self._launcher("step", blocks, args, args.ctypes.data)

    def rows(self, hypers: Tensor, out: Tensor) -> None:
        """The constants of each row of ``hypers``, on the device."""
        values = np.array([hypers.data_ptr(), out.data_ptr(), len(hypers)], np.uint64)
        at = values.ctypes.data
        self._launcher("rows", -(-len(hypers) // THREADS), values, at, at + 8, at + 16)(())

    def _launcher(
        self, name: str, blocks: int, owner: NDArray[Any], *arguments: int
    ) -> Callable[[Collection[Tensor]], None]:
        """What launches a function on torch's current stream.  ``arguments`` point into ``owner``,
        which lives as long."""
        pointers = np.array(arguments, np.uint64)
        function, at = self.functions[name], pointers.ctypes.data
        streams: set[int] = set()

        def run(
            placed: Collection[Tensor], kept: Sequence[NDArray[Any]] = (owner, pointers)
        ) -> None:
            if not blocks:
                return
            with torch.cuda.device(self.device):
                stream = torch.cuda.current_stream()
                streams.add(stream.cuda_stream)
                if len(streams) > 1:  # memory goes back to the stream that it was taken on
                    for x in placed:
                        x.record_stream(stream)
                self._call("cuCtxSetCurrent", self.context)  # a new thread has none
                self._call(
                    "cuLaunchKernel", function, blocks, 1, 1, THREADS, 1, 1, 0,
                    stream.cuda_stream, at, 0,
                )  # fmt: skip

        return run

    def _call(self, name: str, *arguments: Any) -> Any:
        status, *rest = getattr(self.driver, name)(*arguments)
        if int(status) != 0:
            raise RuntimeError(f"{name} on {self.device}: {status.name}")
        return rest[0] if rest else None


def refuse_capture() -> None:
    """Raise RuntimeError where a CUDA graph is being captured, which would start the state anew in
    each replay."""
    if torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            "parameters or state of this step are others than those of the last one, and a CUDA "
            "graph is being captured: take a step with the same ones before the capture"
        )


@functools.cache
def program(kernel: Kernel, device: torch.device) -> DeviceProgram:
    return DeviceProgram(kernel, device)
