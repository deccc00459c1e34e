"""The corpus: the scenarios that recordings are made of, the same ones for ever.

Nothing is drawn by a library whose next release might draw otherwise: every choice is a digest of
its own name, so that one hyperparameter more in a spec leaves all other choices as they are.
"""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from ..scenario import (
    AddGroup,
    Event,
    Group,
    Param,
    Recipe,
    Reload,
    Scenario,
    SetHyper,
    Step,
    to_json,
)
from ..spec import Hypers, Spec, Value
from ..strategies import changes, usual
from ..without import without

VERSION = 1
SIZE = 16  # scenarios for each spec and dtype

T = TypeVar("T")

_SHAPES: Sequence[tuple[int, ...]] = (
    (16,), (1,), (7,), (8,), (9,), (15,), (17,), (33,), (64,), (65,), (3, 5), (4, 8), (2, 3, 5), (),
)  # fmt: skip
_INITS = ("mostly-zero", "mostly-zero", "zeros", "normal", "wide", "ones")
_GRADS = ("mixture", "mixture", "mixture", "normal", "spike", "late", "flip", "constant", "zeros",
          "subnormal", "huge")  # fmt: skip
_LAYOUTS = ("contiguous", "contiguous", "contiguous", "transposed", "strided")


class _Dice:
    """Choices by name; the same ones everywhere."""

    def __init__(self, name: str) -> None:
        self.name = name

    def number(self, what: str, below: int) -> int:
        digest = hashlib.sha256(f"{self.name} {what}".encode()).digest()
        return int.from_bytes(digest[:8], "big") % below

    def pick(self, what: str, options: Sequence[T]) -> T:
        return options[self.number(what, len(options))]


def corpus(
    spec: Spec,
    dtype: str,
    *,
    base: Hypers | None = None,
    fixed: Hypers | None = None,
    changeable: Collection[str] = (),
    lacks: Collection[str] = (),
    only: Collection[str] | None = None,
) -> list[Scenario]:
    """The scenarios for a spec in a dtype.

    The first runs plainly at the defaults (those of the spec, or ``base``), the second at the
    defaults on hard gradients; the others turn every hyperparameter but the ``fixed`` ones.
    ``changeable`` may change between steps; what an implementation ``lacks`` is left out.
    With ``only``, no other hyperparameters are set: the optimizer's own defaults hold.
    """
    fixed = dict(fixed or {})
    usually = {**spec.defaults, **(base or {}), **fixed}
    plain = (
        Param((16,), Recipe("normal", 1), Recipe("normal", 2)),
        Param((3, 5), Recipe("normal", 3), Recipe("normal", 4)),
    )
    hard = (
        Param((33,), Recipe("mostly-zero", 5), Recipe("mixture", 6)),
        Param((5, 3), Recipe("zeros", 7), Recipe("mixture", 8)),
    )
    found = [
        Scenario(spec.name, dtype, (Group(usually, plain),), (Step(),) * 10),
        Scenario(spec.name, dtype, (Group(usually, hard),), (Step(),) * 5),
    ]
    for k in range(len(found), SIZE):
        dice = _Dice(f"corpus {VERSION}, {spec.name}, {dtype}, {k}")
        made = _scenario(dice, spec, dtype, usually, fixed, changeable)
        found.append(made)
    if only is not None:
        found = [_only(s, only) for s in found]
    return [without(s, lacks) for s in found]


def _only(scenario: Scenario, names: Collection[str]) -> Scenario:
    def kept(group: Group) -> Group:
        return Group({n: v for n, v in group.hyper.items() if n in names}, group.params)

    events = tuple(AddGroup(kept(e.group)) if isinstance(e, AddGroup) else e
                   for e in scenario.events
                   if not (isinstance(e, SetHyper) and set(e.hyper) - set(names)))  # fmt: skip
    return replace(scenario, groups=tuple(map(kept, scenario.groups)), events=events)


def _scenario(
    dice: _Dice,
    spec: Spec,
    dtype: str,
    usually: Hypers,
    fixed: Hypers,
    changeable: Collection[str],
) -> Scenario:
    groups = [
        Group(_hypers(dice, f"group {g}", spec, usually, fixed), _params(dice, f"group {g}"))
        for g in range(1 + (dice.number("groups", 3) == 0))
    ]
    now: list[dict[str, Value]] = [dict(g.hyper) for g in groups]
    events: list[Event] = []
    for step in range(3 + dice.number("steps", 4)):
        what = dice.number(f"event {step}", 12) if step else 0
        some = [n for n in changeable if n in spec.hypers and n not in fixed]
        if what in (8, 9) and some:
            g = dice.number(f"event {step} group", len(groups))
            # lr is what changes in practice
            name = dice.pick(f"event {step} name", [some[0]] * len(some) + some)
            if others := changes(spec, name, now[g]):
                now[g][name] = dice.pick(f"event {step} value", others)
                events.append(SetHyper(g, {name: now[g][name]}))
        elif what == 10:
            events.append(Reload())
        elif what == 11 and len(now) == len(groups):
            where = f"event {step} joins"
            group = Group(_hypers(dice, where, spec, usually, fixed), _params(dice, where))
            events.append(AddGroup(group))
            now.append(dict(group.hyper))
        skipped: tuple[tuple[int, int], ...] = ()
        if dice.number(f"step {step} skips", 5) == 0 and len(groups[0].params) > 1:
            skipped = ((0, dice.number(f"step {step} skipped", len(groups[0].params))),)
        events.append(Step(skipped))
    return Scenario(spec.name, dtype, tuple(groups), tuple(events))


def _hypers(
    dice: _Dice, where: str, spec: Spec, usually: Hypers, fixed: Hypers
) -> dict[str, Value]:
    """Half of the hyperparameters at their usual value, the others anywhere; admissible."""
    made = dict(usually)
    turned = []
    for name, hyper in spec.hypers.items():
        if name in fixed or dice.number(f"{where} turns {name}", 2):
            continue
        options: Sequence[Value] = [False, False, True] if hyper.is_flag else usual(hyper)
        made[name] = dice.pick(f"{where} {name}", options)
        turned.append(name)
    while turned and not spec.admissible(made):
        name = turned.pop()
        made[name] = usually[name]
    return made


def _params(dice: _Dice, where: str) -> tuple[Param, ...]:
    return tuple(
        Param(
            dice.pick(f"{where} shape {k}", _SHAPES),
            Recipe(dice.pick(f"{where} init {k}", _INITS), dice.number(f"{where} seed {k}", 10000)),
            Recipe(dice.pick(f"{where} grad {k}", _GRADS), dice.number(f"{where} more {k}", 10000)),
            dice.pick(f"{where} layout {k}", _LAYOUTS),
        )
        for k in range(1 + dice.number(f"{where} params", 3))
    )


def name_of(scenario: Mapping[str, object] | Scenario) -> str:
    """A scenario's digest: scenarios of two recordings are the same one if it is."""
    data = to_json(scenario) if isinstance(scenario, Scenario) else scenario
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()[:16]
