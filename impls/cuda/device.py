"""The build for the device: NVRTC, and launches on torch's current stream."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
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
            module = self._call("cuModuleLoadData", path.read_bytes())
            self.functions = {
                name: self._call("cuModuleGetFunction", module, name.encode())
                for name in ("step", "rows")
            }
            blocks = self._call(
                "cuOccupancyMaxActiveBlocksPerMultiprocessor", self.functions["step"], THREADS, 0
            )
        properties = torch.cuda.get_device_properties(device)
        self.most_blocks = max(1, blocks) * properties.multi_processor_count

    def place(self, array: NDArray[Any]) -> tuple[int, object]:
        """A copy of an array on the device.

        Raises:
            RuntimeError: a CUDA graph is being captured.
        """
        refuse_capture()
        copy = torch.from_numpy(array.reshape(-1).view(np.uint8).copy()).to(self.device)
        return copy.data_ptr(), copy

    def launch(self, args: NDArray[np.void]) -> Callable[[], None]:
        """What runs the work list of ``Args``, with the rest of them as it is then: a persistent
        grid, a chunk for each warp in turn."""
        blocks = min(self.most_blocks, -(-int(args["n_work"][0]) // (THREADS // 32)))
        return self._launcher("step", blocks, args, args.ctypes.data)

    def rows(self, hypers: Tensor, out: Tensor) -> None:
        """The constants of each row of ``hypers``, on the device."""
        values = np.array([hypers.data_ptr(), out.data_ptr(), len(hypers)], np.uint64)
        at = values.ctypes.data
        self._launcher("rows", -(-len(hypers) // THREADS), values, at, at + 8, at + 16)()

    def _launcher(
        self, name: str, blocks: int, owner: NDArray[Any], *arguments: int
    ) -> Callable[[], None]:
        """What launches a function on torch's current stream.  ``arguments`` point into ``owner``,
        which lives as long."""
        pointers = np.array(arguments, np.uint64)
        function, at = self.functions[name], pointers.ctypes.data

        def run(kept: Sequence[NDArray[Any]] = (owner, pointers)) -> None:
            if blocks:
                with torch.cuda.device(self.device):
                    stream = torch.cuda.current_stream().cuda_stream
                    self._call(
                        "cuLaunchKernel", function, blocks, 1, 1, THREADS, 1, 1, 0, stream, at, 0
                    )

        return run

    def _call(self, name: str, *arguments: Any) -> Any:
        status, *rest = getattr(self.driver, name)(*arguments)
        if int(status) != 0:
            raise RuntimeError(f"{name} on {self.device}: {status.name}")
        return rest[0] if rest else None


def refuse_capture() -> None:
    """Raise RuntimeError where a CUDA graph is being captured: a copy would not be repeated."""
    if torch.cuda.is_current_stream_capturing():
        raise RuntimeError(
            "the tensors of this step differ from those of the last one, and a CUDA graph is "
            "being captured: take a step with the same tensors before the capture"
        )


@functools.cache
def program(kernel: Kernel, device: torch.device) -> DeviceProgram:
    return DeviceProgram(kernel, device)
