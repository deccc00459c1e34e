"""What a step has no business to change: the state that everything in a process shares.

It is looked at before and after each run of a subject, and given back at once: neither the judge
nor the next scenario works under settings that a subject left behind.
"""

import sys
from collections.abc import Mapping
from typing import Any

import numpy as np

_HALF = np.array([0.5])
_TINY = np.array([np.finfo(np.float64).tiny])

MISSING = "one that is not there"

WORDS = {
    "flushes": "whether subnormal numbers are flushed to zero",
    "errors": "numpy's handling of floating-point errors",
    "dtype": "torch's default dtype",
    "threads": "torch's number of threads",
    "grad": "whether torch records gradients",
    "deterministic": "whether torch insists on deterministic algorithms",
    "device": "torch's default device",
}


def look() -> dict[str, Any]:
    """The shared state as it is now."""
    with np.errstate(all="ignore"):
        flushes = bool((_TINY * _HALF)[0] == 0)
    found: dict[str, Any] = {"flushes": flushes, "errors": np.geterr()}
    torch = sys.modules.get("torch")
    if torch is not None:
        found |= {
            "dtype": torch.get_default_dtype(),
            "threads": torch.get_num_threads(),
            "grad": torch.is_grad_enabled(),
            "deterministic": torch.are_deterministic_algorithms_enabled(),
            "device": default_device(torch),
        }
    return found


def default_device(torch: Any) -> str:
    """torch's default device, by its name."""
    try:
        return str(torch.get_default_device())
    except Exception:  # torch tries it; one that this machine lacks can be set all the same
        return MISSING


def set_default_device(torch: Any, device: str) -> None:
    """Set it to ``device``; to nothing where that is what it is then, since a default that is set
    slows down every call of torch."""
    if default_device(torch) == device:
        return
    torch.set_default_device(None)
    if device not in (MISSING, default_device(torch)):
        torch.set_default_device(device)


def give_back(before: Mapping[str, Any]) -> str:
    """Set back what differs from ``before``; one sentence about it, or nothing."""
    now = look()
    changed = [n for n, x in before.items() if now[n] != x]
    if not changed:
        return ""
    np.seterr(**before["errors"])
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_flush_denormal(before["flushes"])
        if "dtype" in before:
            torch.set_default_dtype(before["dtype"])
            torch.set_num_threads(before["threads"])
            torch.set_grad_enabled(before["grad"])
            torch.use_deterministic_algorithms(before["deterministic"])
            set_default_device(torch, before["device"])
    told = (f"{WORDS[n]} ({_plain(before[n])} before, {_plain(now[n])} after)" for n in changed)
    return f"it changed {' and '.join(told)} for the whole process"


def _plain(x: Any) -> str:
    return {True: "yes", False: "no"}.get(x, str(x)) if isinstance(x, bool) else str(x)
