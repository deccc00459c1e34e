"""Polynomials in opaque factors, seen through the sum of their |monomials|, and their algebra.

What :mod:`bound` builds from the equations; the rules by which it does stand there.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[Any]  # float64, or long double for float64 subjects
Mask = NDArray[np.bool_] | None  # None: nowhere


@dataclass(slots=True)
class Majorant:
    """A polynomial in opaque factors, seen through the sum of its |monomials|."""

    value: Floats  # the exact value
    size: Floats  # sum of |monomials|
    error: Floats  # what roundings of products, casts and opaque factors can add to the value
    reach: Floats  # sum over monomials of the largest product of a subset of the factors
    terms: int  # number of monomials: terms - 1 additions are to be paid; 0: zero by a scalar
    steps: int  # most product roundings in one monomial; each may also underflow
    nonneg: bool  # every computed version is >= 0: shown of one form, which vouches (``widest``)
    unsafe: Mask = None  # an intermediate may overflow, divide by zero or leave a root's domain
    nan: Mask = None  # NaN in every member of the class
    zero: Mask = None  # exactly zero in every member of the class
    root: bool = False
    swell: Floats | float = 1.0  # by how much rule 4 may magnify an underflow
    names: frozenset[str] = frozenset()  # inputs that are explicit factors somewhere
    bare: dict[str, Floats] = field(default_factory=dict)  # inputs as monomials: times what


def either(a: Mask, b: Mask) -> Mask:
    return b if a is None else a if b is None else a | b


def both(a: Mask, b: Mask) -> Mask:
    return None if a is None or b is None else a & b


def several(count: int, u: Any) -> Any:
    """(1 + u)**count - 1 from above, for count * u < 1."""
    return count * u * (1 + count * u)


def somewhere(mask: NDArray[np.bool_]) -> Mask:
    return mask if mask.any() else None


@dataclass(slots=True)
class Reciprocal(Majorant):
    """One over a denominator."""

    pole: Mask = None  # the denominator is exactly zero in every member of the class


def times(x: Majorant, y: Majorant, relative: Any = 0) -> Majorant:
    """A product of two factors, with ``relative`` for its roundings."""
    # (s + e)(s' + e')(1 + r) - s s', written so that no product of infinities appears, and so
    # that what belongs to ``y``, often a scalar, comes together before it meets ``x``
    of_error = (y.size + y.error) * (1 + relative)
    of_size = y.error * (1 + relative) + y.size * relative
    error = x.size * of_size
    if x.error.size > 1 or x.error.any():
        error = error + x.error * of_error
    value = x.value * y.value
    same = x.size is x.value and y.size is y.value
    return Majorant(
        value,
        value if same else x.size * y.size,
        error,
        x.reach * y.reach,
        x.terms * y.terms,
        x.steps + y.steps,
        x.nonneg and y.nonneg,
        either(x.unsafe, y.unsafe),
        either(x.nan, y.nan),
        either(x.zero, y.zero),
        swell=x.swell * y.swell,
        names=x.names | y.names,
    )


def widest(versions: list[Majorant]) -> Majorant:
    """Several forms of one tensor: the value of the first, the worst of every bound.

    Of their sign the best: where one form shows that nothing falls below zero, none does.  The
    lerp m + (1 - b)*(x - m) beside an ema of m, x >= 0 does not look like it, but rounding is
    monotone: x - m rounds to no less than -m, a weight of at most 1 leaves it there, and adding m
    gives no less than 0.  Forms that a spec writes side by side are held to the same.
    """
    if len(versions) == 1:
        return versions[0]
    first, *others = versions
    size, error, reach = first.size, first.error, first.reach
    unsafe, nan, zero = first.unsafe, first.nan, first.zero
    for x in others:
        size, error = np.maximum(size, x.size), np.maximum(error, x.error)
        reach, unsafe = np.maximum(reach, x.reach), either(unsafe, x.unsafe)
        nan, zero = both(nan, x.nan), both(zero, x.zero)
    bare: dict[str, Floats] = {}
    for x in versions:
        for name, times in x.bare.items():
            bare[name] = np.maximum(bare[name], times) if name in bare else times
    return Majorant(
        first.value,
        size,
        error,
        reach,
        max(x.terms for x in versions),
        max(x.steps for x in versions),
        any(x.nonneg for x in versions),
        unsafe,
        nan,
        zero,
        swell=largest_swell(versions),
        names=frozenset().union(*(x.names for x in versions)),
        bare=bare,
    )


def largest_swell(xs: Iterable[Majorant]) -> Floats | float:
    swell: Floats | float = 1.0
    for x in xs:
        if x.swell is not swell:
            swell = np.maximum(swell, x.swell)
    return swell


def added(terms: Sequence[tuple[int, Majorant]], amounts: Mapping[str, Floats], u: Any) -> Majorant:
    """Errors and sizes add; a term that is zero by its scalar adds nothing (rule 7)."""
    unsafe: Mask = None
    nan: Mask = None
    kept: list[tuple[int, Majorant]] = []
    for sign, x in terms:
        unsafe = either(unsafe, x.unsafe)
        if x.terms == 0:
            unsafe = either(unsafe, x.nan)  # 0 * NaN, or left out
        else:
            nan = either(nan, x.nan)
            kept.append((sign, x))
    if not kept:
        x = terms[0][1]
        return Majorant(
            x.value, x.size, x.error, np.ones_like(x.value), 0, 0, True, unsafe, None, x.zero
        )
    if len(kept) == 1:
        sign, x = kept[0]
        return Majorant(
            sign * x.value,
            x.size,
            x.error,
            x.reach,
            x.terms,
            x.steps,
            sign > 0 and x.nonneg,
            unsafe,
            nan,
            x.zero,
            False,
            x.swell,
            x.names,
            dict(x.bare),
        )
    sign, x = kept[0]
    value = x.value if sign > 0 else -x.value
    size, error, reach, zero = x.size, x.error, x.reach, x.zero
    for sign, x in kept[1:]:
        value = value + x.value if sign > 0 else value - x.value
        size, error, reach = size + x.size, error + x.error, reach + x.reach
        zero = both(zero, x.zero)
    bare: dict[str, Floats] = {}
    for _, x in kept:
        for name, share in x.bare.items():
            if any(name in y.names for _, y in kept if y is not x):
                error = error + u * share * amounts[name]  # x + x*y as x*(1 + y)
            else:
                bare[name] = share
    return Majorant(
        value,
        size,
        error,
        reach,
        sum(x.terms for _, x in kept),
        max(x.steps for _, x in kept),
        all(s > 0 and x.nonneg for s, x in kept),
        unsafe,
        nan,
        zero,
        swell=largest_swell(x for _, x in kept),
        names=frozenset().union(*(x.names for _, x in kept)),
        bare=bare,
    )


def larger(x: Majorant, y: Majorant, roots: bool) -> Majorant:
    """The maximum of two closed polynomials, of ``roots`` perhaps: no rounding; which operand wins
    may be open, and whether NaN does is."""
    value = np.maximum(x.value, y.value)
    high = np.maximum(x.value + x.error, y.value + y.error)
    low = np.maximum(x.value - x.error, y.value - y.error)
    error = np.maximum(high - value, value - low)
    size = np.abs(value)
    nan = both(x.nan, y.nan)
    unsafe = either(either(x.unsafe, y.unsafe), either(x.nan, y.nan))
    return Majorant(
        value,
        size,
        error,
        np.maximum(x.reach, y.reach),
        1,
        0,
        x.nonneg or y.nonneg,
        unsafe,
        nan,
        both(x.zero, y.zero),
        roots,
    )
