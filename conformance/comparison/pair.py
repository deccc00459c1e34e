"""Two sides of a comparison: specs with their variants, and what differs between them on paper."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..errors import RequestError, SpecError
from ..render import equations, symbols
from ..spec import Domain, HyperSpec, Spec, Value, states_of
from ..spec_file import load

_SIDE = re.compile(r"(?P<spec>[^\[\]]+)(?:\[(?P<variant>[^\[\]]*)\])?\Z")


@dataclass(frozen=True, slots=True)
class Side:
    """A spec with its variant; ``label`` is how a person asks for it: ``adam[eps=inside]``."""

    label: str
    spec: Spec
    variant: Mapping[str, str]

    def value(self, axis: str) -> str | None:
        """The value on an axis, or None where the spec has no such axis."""
        return self.variant.get(axis, self.spec.axes[axis].default) if self.has(axis) else None

    def has(self, axis: str) -> bool:
        return axis in self.spec.axes

    def own(self, hypers: Mapping[str, Value]) -> dict[str, Value]:
        """Those of ``hypers`` that this side has."""
        return {n: v for n, v in hypers.items() if n in self.spec.hypers}


def side(text: str) -> Side:
    """``adam``, ``adam[eps=inside,decay=none]``, ``path/to/spec.toml[axis=value]``.

    Raises RequestError for text of another shape, an unknown spec, axis or value.
    """
    match = _SIDE.match(text.strip())
    if match is None:
        raise RequestError(f"{text!r} is not SPEC or SPEC[axis=value,...]")
    wanted: dict[str, str] = {}
    for part in filter(str.strip, (match["variant"] or "").split(",")):
        axis, sign, value = (x.strip() for x in part.partition("="))
        if not (axis and sign and value):
            raise RequestError(f"{text!r}: {part.strip()!r} is not AXIS=VALUE")
        if axis in wanted:
            raise RequestError(f"{text!r} names the axis {axis} twice")
        wanted[axis] = value
    return _side(load(match["spec"].strip()), wanted)


def _side(spec: Spec, wanted: Mapping[str, str]) -> Side:
    variant = spec.variant(wanted)
    chosen = ",".join(f"{a}={v}" for a, v in variant.items())
    return Side(f"{spec.name}[{chosen}]" if chosen else spec.name, spec, variant)


@dataclass(frozen=True, slots=True)
class Pair:
    """Two sides and ``both``: a spec of the hyperparameters and requirements of either.

    ``both`` has the equations of neither; its domains are what both sides admit.
    """

    a: Side
    b: Side
    both: Spec

    @property
    def sides(self) -> tuple[Side, Side]:
        return (self.a, self.b)

    def admissible(self, hypers: Mapping[str, Value]) -> bool:
        return self.both.admissible(hypers)


def pair(a: Side, b: Side) -> Pair:
    """Raises RequestError where a name means a flag to one side and a number to the other, or no
    value of it is admitted by both."""
    hypers: dict[str, HyperSpec] = dict(a.spec.hypers)
    for name, theirs in b.spec.hypers.items():
        mine = hypers.get(name)
        if mine is None:
            hypers[name] = theirs
            continue
        if mine.domain is None or theirs.domain is None:
            if mine.domain is not theirs.domain:
                raise RequestError(
                    f"{a.label} and {b.label} cannot be compared at equal hyperparameters: "
                    f"{name} is a flag in one and a number in the other"
                )
            continue
        shared = _shared(mine.domain, theirs.domain)
        if shared is None:
            raise RequestError(
                f"{a.label} and {b.label} cannot be compared at equal hyperparameters: no value "
                f"of {name} is in both {mine.domain} and {theirs.domain}"
            )
        default = mine.default if float(mine.default) in shared else theirs.default
        hypers[name] = replace(mine, domain=shared, default=default)
    requires = tuple(dict.fromkeys([*a.spec.requires, *b.spec.requires]))
    both = replace(
        a.spec,
        name=f"{a.label} and {b.label}",
        hypers=hypers,
        states={},
        equations={},
        requires=requires,
        axes={},
    )
    return Pair(a, b, both)


def _shared(x: Domain, y: Domain) -> Domain | None:
    low, low_open = max((x.low, not x.low_closed), (y.low, not y.low_closed))
    high, high_closed = min((x.high, x.high_closed), (y.high, y.high_closed))
    if low > high or (low == high and (low_open or not high_closed)):
        return None
    return Domain(low, high, not low_open, high_closed)


# ---- what differs on paper -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DefaultDifference:
    """A hyperparameter whose default differs; None where a side does not have it."""

    name: str
    symbol: str
    a: Value | None
    b: Value | None


@dataclass(frozen=True, slots=True)
class AxisValue:
    """What one side chooses on an axis, and what the spec says of it."""

    value: str
    effect: str
    links: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AxisDifference:
    """An axis that both sides have, and on which they differ."""

    axis: str
    a: AxisValue
    b: AxisValue


@dataclass(frozen=True, slots=True)
class Line:
    """An equation, or the start of a state, as text beside the other side's; None: it has none."""

    name: str
    a: str | None
    b: str | None

    @property
    def differs(self) -> bool:
        return self.a != self.b


def default_differences(p: Pair) -> tuple[DefaultDifference, ...]:
    """The hyperparameters, in order, that one side lacks or gives another default."""
    found = []
    for name, hyper in p.both.hypers.items():
        a, b = (s.spec.defaults.get(name) for s in p.sides)
        if a != b:
            found.append(DefaultDifference(name, hyper.symbol, a, b))
    return tuple(found)


def axis_differences(p: Pair) -> tuple[AxisDifference, ...]:
    """The axes on which the sides have different values, with the sentences of their specs."""
    found = []
    for axis in (x for x in p.a.spec.axes if p.b.has(x)):
        a, b = (_axis_value(s, axis) for s in p.sides)
        if a.value != b.value:
            found.append(AxisDifference(axis, a, b))
    return tuple(found)


def _axis_value(s: Side, axis: str) -> AxisValue:
    value = s.variant.get(axis, s.spec.axes[axis].default)
    choice = s.spec.choice(axis, value)
    return AxisValue(value, choice.effect, choice.links)


def lines(p: Pair) -> tuple[Line, ...]:
    """Initial states, then equations, of both sides in an order that suits both."""
    starts = [_starts(s) for s in p.sides]
    steps = [equations(s.spec, s.variant) for s in p.sides]
    return tuple(
        Line(name, a.get(name), b.get(name))
        for a, b in (starts, steps)
        for name in _merged(list(a), list(b))
    )


def _starts(s: Side) -> dict[str, str]:
    """The states at t = 0, as text."""
    names = symbols(s.spec, s.variant)
    found = {}
    for state in states_of(s.spec, s.variant).values():
        init = names.get(state.init, state.init.removesuffix(".0"))
        found[f"{state.name} at t = 0"] = f"{state.symbol} ← {init} at t = 0"
    return found


def _merged(a: list[str], b: list[str]) -> list[str]:
    """Both lists in one: a's order, and each name of b alone before what follows it there."""
    out: list[str] = list(a)
    for k, name in enumerate(b):
        if name not in out:
            after = [out.index(n) for n in b[:k] if n in out]
            out.insert(max(after) + 1 if after else 0, name)
    return out


def single_deviations(p: Pair) -> list[tuple[Side, Side]]:
    """For each axis that differs, a pair of sides that differ in it alone, where one is admissible;
    and the two sides themselves."""
    found = [(p.a, p.b)]
    differing = axis_differences(p)
    if len(differing) < 2:
        return found
    for d in differing:
        for here, value in ((p.a, d.b.value), (p.b, d.a.value)):
            try:
                found.append((here, _side(here.spec, {**here.variant, d.axis: value})))
                break
            except SpecError:
                continue
    return found
