"""The hypotheses of an identification: every admissible combination of axis values."""

import itertools
from collections.abc import Iterable

from .errors import SpecError
from .spec import Spec

Variant = tuple[tuple[str, str], ...]
"""The axes that differ from the spec's default, and their values."""

NUMBERS = ("0.1",)
"""Values tried on axes that take any number (0.1 is the accumulator of TensorFlow's Adagrad)."""


def lattice(spec: Spec, numbers: Iterable[str] = ()) -> list[Variant]:
    """Every admissible combination of axis values, fewest and first-listed deviations first.

    ``numbers`` are tried, beside the usual ones, on axes that take any number.
    """
    axes = []
    for axis in spec.axes.values():
        values = list(axis.choices)
        if axis.number is not None:
            values += dict.fromkeys((*NUMBERS, *numbers))
        values.sort(key=lambda v: v != axis.default)
        axes.append([(axis.name, v) for v in values])
    found: dict[Variant, None] = {}
    for combination in itertools.product(*axes):
        try:
            found[tuple(spec.variant(dict(combination)).items())] = None
        except SpecError:
            continue
    return sorted(found, key=len)


def deviations(spec: Spec) -> list[dict[str, str]]:
    """The default and every single deviation from it, with what each needs."""
    found: list[dict[str, str]] = [{}]
    for axis in spec.axes.values():
        values = [v for v in axis.choices if v != axis.default]
        if axis.number is not None:
            values += NUMBERS
        for value in values:
            wanted = {axis.name: value}
            for other, allowed in spec.choice(axis.name, value).needs.items():
                if spec.axes[other].default not in allowed:
                    wanted[other] = allowed[0]
            try:
                found.append(spec.variant(wanted))
            except SpecError:
                continue
    return found
