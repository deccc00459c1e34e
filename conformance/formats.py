"""Floating-point formats, as a rounding-error analysis sees them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .errors import RequestError


@dataclass(frozen=True, slots=True)
class Format:
    """A binary floating-point format.

    ``unit`` is the unit roundoff u (half an ulp of 1), ``eta`` half the smallest subnormal as a
    (base, exponent) pair, since it does not fit a double for float64, ``largest`` the largest
    finite number, ``tiny`` the smallest normal one.
    """

    name: str
    digits: int  # bits of significand, the hidden one included
    emin: int  # exponent of the smallest normal number
    largest: float

    @property
    def unit(self) -> float:
        return 2.0**-self.digits

    @property
    def tiny(self) -> float:
        return 2.0**self.emin

    @property
    def eta(self) -> tuple[int, int]:
        return (2, self.emin - self.digits)

    def round(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """Round doubles to this format (to nearest, ties to even), returned as doubles.

        Overflow gives an infinity, as IEEE arithmetic does.
        """
        if self.name == "float64":
            return np.asarray(x, np.float64)
        with np.errstate(all="ignore"):
            if self.name == "float32":
                return np.asarray(x).astype(np.float32).astype(np.float64)
            if self.name == "float16":
                return np.asarray(x).astype(np.float16).astype(np.float64)
            x = np.asarray(x, np.float64)
            exponent = np.maximum(np.frexp(x)[1] - 1, self.emin)
            ulp = np.ldexp(1.0, exponent - self.digits + 1)
            rounded = np.rint(x / ulp) * ulp
            rounded = np.where(np.isfinite(x), rounded, x)
            return np.where(np.abs(rounded) > self.largest, np.copysign(np.inf, x), rounded)


FORMATS = {
    f.name: f
    for f in (
        Format("float32", 24, -126, 3.4028234663852886e38),
        Format("float64", 53, -1022, 1.7976931348623157e308),
        Format("bfloat16", 8, -126, 3.3895313892515355e38),
        Format("float16", 11, -14, 65504.0),
    )
}

EXTENDED = np.finfo(np.longdouble).nmant >= 63
"""Whether this platform's long double is wide enough to judge float64 subjects."""


def format_named(name: str) -> Format:
    """The format called ``name``; RequestError when there is none."""
    try:
        return FORMATS[name]
    except KeyError:
        raise RequestError(f"unknown dtype {name!r}; choose from {', '.join(FORMATS)}") from None
