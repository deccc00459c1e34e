"""What the contract checks of torch-like optimizers share.

A check is a function of ``make`` that uses torch alone and raises AssertionError with one sentence
when the contract is broken; so its source, with ``make`` above it, is the script of the finding.
``make(params, **options)`` builds the optimizer; ``make.requires_grad`` tells whether its
parameters require a gradient, ``make.dtype`` of which dtype they are.

Helpers assert as well, with sentences that must stay what they are: PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch


class NotOffered(Exception):
    """The optimizer does not offer what the check is about."""


def parameters(make: Any, *shapes: tuple[int, ...]) -> list[Any]:
    """Fresh parameters, with the same values every time."""
    values = torch.Generator().manual_seed(0)
    made = [torch.randn(shape, generator=values) for shape in shapes or ((3,), (2, 2))]
    return [p.to(make.dtype).requires_grad_(make.requires_grad) for p in made]


def gradient(p: Any, step: int, k: int = 0) -> Any:
    """The gradient of parameter ``k`` in a step."""
    values = torch.Generator().manual_seed(100 * step + k)
    return torch.randn(p.shape, generator=values).to(p.dtype)


def train(optimizer: Any, params: list[Any], first: int, last: int) -> None:
    """Steps ``first`` to ``last``, each with its own gradients, and its own random numbers."""
    for step in range(first, last + 1):
        for k, p in enumerate(params):
            p.grad = gradient(p, step, k)
        torch.default_generator.manual_seed(step)
        optimizer.step()


def rate(optimizer: Any) -> str:
    """The option of its groups that the checks change: lr, or the first number above 0."""
    group = optimizer.param_groups[0]
    numbers = [k for k, x in group.items() if isinstance(x, float) and x > 0]
    if "lr" in group or numbers:
        return "lr" if "lr" in group else str(numbers[0])
    raise NotOffered("its groups hold no number that could be changed")


def values(params: list[Any]) -> list[Any]:
    return [p.detach().clone() for p in params]


def same(xs: list[Any], ys: list[Any]) -> bool:
    """Whether tensors hold the same numbers, NaN being NaN."""
    pairs = zip(xs, ys, strict=True)
    return all(
        x.shape == y.shape and bool(((x == y) | (x.isnan() & y.isnan())).all()) for x, y in pairs
    )


def unlike(value: Any) -> Any:
    """Another value of an option: half the number, the opposite flag; what is no number stays."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, tuple | list):
        return type(value)(map(unlike, value))
    if isinstance(value, float) or (torch.is_tensor(value) and value.is_floating_point()):
        return value / 2 if value else value + 0.5
    return value


def options_of(optimizer: Any) -> list[dict[str, Any]]:
    """The options of each group, lists and tensors as plain numbers to compare them by."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple | list):
            return tuple(map(plain, value))
        return value.tolist() if torch.is_tensor(value) else value

    names = {*getattr(optimizer, "defaults", {}), rate(optimizer)}
    return [{k: plain(x) for k, x in g.items() if k in names} for g in optimizer.param_groups]


def set_apart(make: Any, params: list[Any]) -> Any:
    """An optimizer whose group has other options than the usual, as far as they can be others."""
    usual = make(parameters(make))
    known = getattr(usual, "defaults", {})
    given = {k: known[k] for k in make.options if isinstance(known.get(k), float | tuple)}
    try:  # others by default as well: the defaults may be what a class goes back to
        made = make(params, **{k: unlike(x) for k, x in given.items()})
    except (ValueError, TypeError, RuntimeError):
        made = make(params)
    options = usual.param_groups[0]
    made.param_groups[0].update({k: unlike(x) for k, x in options.items() if k in known})
    made.param_groups[0][rate(usual)] = 8 * options[rate(usual)]
    return made


def loaded_all(optimizer: Any, due: list[dict[str, Any]]) -> None:
    """Assert that after loading each group has the options of the one that was saved."""
    for group, options in zip(options_of(optimizer), due, strict=True):
        for name, was in options.items():
            now = group.get(name, "nothing")
            assert now == was or (now != now and was != was), (
                f"the checkpoint has {name} = {was!r}, after loading the group has {now!r}"
            )


def numbers(optimizer: Any) -> dict[str, Any]:
    """Copies of the numbers, and tuples of numbers, in its group."""

    def numeric(x: Any) -> bool:
        if isinstance(x, tuple):
            return all(isinstance(y, int | float) for y in x)
        return isinstance(x, int | float) or (torch.is_tensor(x) and x.numel() == 1)

    return copy.deepcopy({k: x for k, x in optimizer.param_groups[0].items() if numeric(x)})


HELPERS = (
    NotOffered, parameters, gradient, train, rate, values, same, unlike, options_of, set_apart,
    loaded_all, numbers,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Check:
    """A check by name.  The first line of its function's docstring is its sentence.

    ``claim`` is what an implementation must claim to be asked (see ``torch_contracts.claims``);
    ``exact`` ones compare runs bit for bit, and so presuppose that a rerun gives the same.
    """

    name: str
    function: Callable[[Any], None]
    claim: str = ""
    kind: str = "contract"
    every_dtype: bool = False
    exact: bool = False

    @property
    def sentence(self) -> str:
        return (self.function.__doc__ or "").strip().partition("\n")[0]
