"""A body evaluated in numpy, one rounding for each operation: what every other target must equal.

Slow in float64, where numpy has nothing wider to round a fused multiply-add from.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optconform.formats import FORMATS
from optconform.impls.cuda.emit import Kernel

Array = NDArray[Any]


def step(
    kernel: Kernel,
    tensors: Mapping[str, Array],
    hypers: Mapping[str, float],
    *,
    number: int = 0,
    seed: int = 0,
) -> dict[str, Array]:
    """The new value of every tensor that the body writes.

    ``tensors`` holds flat arrays of ``kernel.wide`` by the body's names, with values of the format
    they are stored in; so does the result.  ``hypers`` holds ``t`` among the hyperparameters.
    ``number`` and ``seed`` choose the random words of a stochastic kernel.
    """
    wide = np.dtype(kernel.wide)
    values: dict[str, Array] = {name: tensors[name].astype(wide) for name in kernel.body.reads}
    shape = tensors["p"].shape
    with np.errstate(all="ignore"):
        for k, x in enumerate(kernel.body.constants.values(hypers)):
            values[f"k{k}"] = np.full(shape, x, wide)
        for op in kernel.body.ops:
            values[op.out] = _operate(op.kind, [values[a] for a in op.args])
        words = philox(np.arange(shape[0], dtype=np.uint64), int(hypers["t"]), number, seed)
        out = {}
        for j, (name, operand) in enumerate(kernel.body.writes.items()):
            fmt = kernel.stored[kernel.body.arrays.index(name)]
            if kernel.stochastic and fmt == "bfloat16":
                out[name] = _stochastic(values[operand], words[j])
            else:
                out[name] = FORMATS[fmt].round(values[operand].astype(np.float64)).astype(wide)
    return out


def _operate(kind: str, x: list[Array]) -> Array:
    match kind:
        case "add":
            return np.asarray(x[0] + x[1])
        case "sub":
            return np.asarray(x[0] - x[1])
        case "mul":
            return np.asarray(x[0] * x[1])
        case "div":
            return np.asarray(x[0] / x[1])
        case "fma":
            return (fma32 if x[0].dtype == np.float32 else fma64)(*x)
        case "sqrt":
            return np.sqrt(x[0])
        case "max":
            return np.where((x[0] >= x[1]) | np.isnan(x[0]), x[0], x[1])
        case "neg":
            return -x[0]
        case "abs":
            return np.abs(x[0])
        case "sign":
            return np.where(x[0] > 0, 1, np.where(x[0] < 0, -1, x[0])).astype(x[0].dtype)
    raise ValueError(f"unknown operation {kind!r}")


def fma32(a: Array, b: Array, c: Array) -> Array:
    """a*b + c of float32 arrays, rounded once.

    The product is exact in double; the sum is rounded to odd, after which rounding to float32 is
    as good as rounding the exact sum.  Source: S. Boldo and G. Melquiond, "Emulation of FMA and
    correctly rounded sums: proved algorithms using rounding to odd", IEEE Transactions on
    Computers 57, 2008.
    """
    product, c = a.astype(np.float64) * b.astype(np.float64), c.astype(np.float64)
    total = product + c
    part = total - product  # Knuth's two-sum: what the addition lost
    lost = (product - (total - part)) + (c - part)
    even = (total.view(np.int64) & 1) == 0
    inexact = np.isfinite(total) & (lost != 0) & even
    towards = np.where(lost > 0, np.inf, -np.inf)
    return np.where(inexact, np.nextafter(total, towards), total).astype(np.float32)


def fma64(a: Array, b: Array, c: Array) -> Array:
    """a*b + c of float64 arrays, rounded once, in rational arithmetic."""
    plain = a * b + c  # right where a zero, an infinity or a NaN is the result or an argument
    exact = np.isfinite(a) & np.isfinite(b) & np.isfinite(c) & (a != 0) & (b != 0)
    out = plain.copy()
    for i in np.flatnonzero(exact):
        total = Fraction(float(a[i])) * Fraction(float(b[i])) + Fraction(float(c[i]))
        if total == 0:
            out[i] = 0.0 if c[i] != 0 else plain[i]
            continue
        try:
            out[i] = total.numerator / total.denominator  # correctly rounded for integers
        except OverflowError:
            out[i] = np.inf if total > 0 else -np.inf
        if out[i] == 0 and total < 0:
            out[i] = -0.0
    return out


def philox(element: NDArray[np.uint64], step: int, tensor: int, seed: int) -> list[Array]:
    """Four random words of 32 bits for each element; see ``philox.h``."""
    low = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    a, b = element & low, element >> half
    c, d = np.full_like(a, step), np.full_like(a, tensor)
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(7):
        x, y = np.uint64(0xD2511F53) * a, np.uint64(0xCD9E8D57) * c
        a, b = (y >> half) ^ b ^ np.uint64(k0), y & low
        c, d = (x >> half) ^ d ^ np.uint64(k1), x & low
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return [w.astype(np.uint32) for w in (a, b, c, d)]


def _stochastic(x: Array, words: Array) -> Array:
    bits = x.view(np.uint32)
    up = bits + (words & np.uint32(0xFFFF))
    finite = np.where(np.isfinite(x), up & np.uint32(0xFFFF0000), bits)
    return np.asarray(finite.view(np.float32))
