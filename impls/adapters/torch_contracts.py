"""The contracts that torch-like optimizers bring: who is asked what, and the scripts.

What ``torch.optim.Optimizer`` documents is asked of every subject.  More is asked only of those
that claim more (:func:`claims`): a subject that does not validate its options, say, is not accused
of it unless it derives from a class that does.
"""

from __future__ import annotations

import functools
import inspect
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from inspect import ismodule
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import torch

from optconform.contracts.contract import NotApplicable, Script, Variation
from optconform.formats import FORMATS
from optconform.impls.adapters import (
    torch_checks,
    torch_checks_made,
    torch_checks_saved,
    torch_checks_step,
)
from optconform.impls.adapters.torch_checks import Check, NotOffered
from optconform.impls.adapters.torch_repro import prelude
from optconform.scenario import Param, Recipe
from optconform.spec import Hypers, Spec

if TYPE_CHECKING:
    from optconform.impls.adapters.torch_optim import TorchLike

CHECKS: Mapping[ModuleType, Sequence[Check]] = {
    torch_checks_step: torch_checks_step.CHECKS,
    torch_checks_made: torch_checks_made.CHECKS,
    torch_checks_saved: torch_checks_saved.CHECKS,
}

GUISES = {
    "complex": "a complex parameter moves as the pair of its real and imaginary parts",
    "sparse": "a sparse gradient moves the parameter as the same dense gradient does",
    "sparse-twice": "a sparse gradient that lists an index twice counts as the sum",
    "expanded": "a gradient that repeats one number in memory acts as if it were written out",
    "channels-last": "a parameter in channels-last memory moves as one in row-major memory",
    "lr-tensor": "an lr that is a tensor acts as the same number",
    "mixed-dtypes": "beside a parameter of another dtype in its group, each moves as alone",
}
"""Variations: the session is the same but for what :class:`TorchSession` does in this guise."""

BELOW_ONE = ("momentum", "dampening", "alpha", "rho", "beta1", "beta2")

CLAIMED_GUISES = ("complex", "sparse")

SUMMED = Param(
    (4,),
    Recipe("zeros"),
    Recipe("values", values=((1, -2, 0, 0.5), (0.5, 0, 4, -1), (-1, 1, 1, 0))),
)
"""With hyperparameters that are powers of two as well, entries can be added up one by one: what is
linear in them stays exact, and has nothing to round."""

REPEATED = [
    Param(
        shape,
        Recipe("mostly-zero", len(shape)),
        Recipe("values", values=tuple((x,) * math.prod(shape) for x in (1.5, -0.25, 3.0))),
    )
    for shape in ((16,), (3, 5))
]

TRAINED: Mapping[str, Sequence[Param]] = {
    "sparse-twice": [SUMMED],
    "expanded": REPEATED,
    "channels-last": [Param((2, 3, 2, 4), Recipe("normal"), Recipe("normal"))],
}
"""What a guise needs to train; others take the usual."""

SENTENCES = {c.name: c.sentence for some in CHECKS.values() for c in some} | GUISES

NEWER = (
    "maximize", "foreach", "capturable", "differentiable", "fused", "nesterov", "amsgrad",
    "centered", "decoupled_weight_decay",
)  # fmt: skip
"""Options that were added to torch's classes in the course of time: older checkpoints lack them."""

TORCH_REFUSES: Mapping[str, Sequence[Any]] = {
    "lr": (-1.0, torch.tensor([0.1, 0.2])),
    "eps": (-1.0,),
    "weight_decay": (-1.0,),
    "momentum": (-1.0,),
    "alpha": (-1.0,),
    "rho": (-1.0, 2.0),
    "lr_decay": (-1.0,),
    "initial_accumulator_value": (-1.0,),
    "betas": ((-1.0, 0.5), (0.5, -1.0), (1.0, 0.5), (0.5, 1.0)),
}
"""What the constructors of torch.optim call invalid."""

WORSE: Mapping[str, Sequence[Any]] = {
    **{n: (math.nan, math.inf, "0.1", None) for n in TORCH_REFUSES if n != "betas"},
    "dampening": (-1.0, 2.0, math.nan),
    "rho": (2.0, math.nan),
    "betas": ((math.nan, 0.5), (0.5, math.nan), 0.5, (0.5, 0.5, 0.5)),
}
"""What the reference refuses as well."""


def claims(subject: Any) -> frozenset[str]:
    """What a class claims beyond the interface of torch.optim.Optimizer.

    torch documents sparse gradients and that complex parameters are pairs of reals; its classes
    check their options, and read checkpoints of older versions.  The reference says as much, and
    that a loaded checkpoint is copied.  A class inherits what its parent claims as long as it
    inherits the method that keeps the promise.
    """
    found: set[str] = set()
    for method, promised in PROMISES.items():
        if _whose(getattr(subject, method, None)):
            found |= promised
    if _whose(getattr(subject, "__init__", None)) == "reference":
        found |= {"more refusals", "copies"}
    if subject is torch.optim.Adagrad:  # its lr falls with every step; no limit is documented
        found.add("counts for ever")
    return frozenset(found)


PROMISES = {
    "__init__": {"refusals"},
    "step": {"complex", "sparse"},
    "__setstate__": {"old checkpoints"},
}


def _whose(method: Any) -> str:
    """``torch`` or ``reference`` for a method of one of their optimizers, else nothing."""
    module = getattr(method, "__module__", None) or ""
    if module.startswith("optconform.impls.reference."):
        return "reference"
    return "torch" if module.startswith("torch.optim.") and module != BASE else ""


BASE = torch.optim.Optimizer.__module__


class Make:
    """``make`` of the checks; :func:`_prelude` writes the same into scripts."""

    def __init__(self, impl: TorchLike, hyper: Hypers, dtype: str) -> None:
        accepted = inspect_names(impl.subject)
        said = claims(impl.subject)
        refused = [(n, bad) for n, some in TORCH_REFUSES.items() for bad in some]
        if "more refusals" in said:
            refused += [(n, bad) for n, some in WORSE.items() for bad in some]
        self.subject = impl.subject
        self.usual: dict[str, Any] = {**impl.keywords(hyper), **impl.options}
        self.requires_grad = not impl.options.get("differentiable")
        self.dtype: torch.dtype = getattr(torch, dtype)
        self.options = sorted(set(impl.keywords(hyper)))
        self.paths = _paths(accepted)
        self.newer = list(NEWER)
        self.promises_old = "old checkpoints" in said
        self.refuses = [(n, bad) for n, bad in refused if n in accepted]
        self.large_steps = [255, 2047, 100_001]
        if "counts for ever" in said:
            self.large_steps.append(2**24 - 2)

    def __call__(self, params: Any, **options: Any) -> Any:
        return self.subject(params, **{**self.usual, **options})

    def attributes(self, source: str) -> list[str]:
        """The lines that give a script's ``make`` what its check reads."""
        names = [n for n in vars(self) if n != "usual" and f"make.{n}" in source]
        return [
            f"make.{n} = {'subject_class' if n == 'subject' else _literal(getattr(self, n))}"
            for n in names
        ]


def _literal(value: Any) -> str:
    """A value as source; NaN and infinities have no literal."""
    text = repr(value).replace("tensor(", "torch.tensor(")
    return text if not {"nan", "inf"} & set(_words(text)) else _spelled(text)


def _words(text: str) -> list[str]:
    return "".join(c if c.isalnum() else " " for c in text).split()


def _spelled(text: str) -> str:
    return text.replace("nan", "float('nan')").replace("inf", "float('inf')")


def _paths(accepted: Sequence[str]) -> list[dict[str, Any]]:
    """The options that choose each code path of torch's classes, those of the others off."""
    if "foreach" not in accepted:
        return []
    off = {n: v for n, v in {"foreach": False, "fused": None}.items() if n in accepted}
    off |= {"differentiable": False} if "differentiable" in accepted else {}
    on: list[dict[str, Any]] = [{}, {"foreach": True}]
    if "fused" in accepted:
        on.append({"foreach": None, "fused": True})
    return [{**off, **path} for path in on]


def inspect_names(subject: Any) -> list[str]:
    try:
        return list(inspect.signature(subject).parameters)
    except (TypeError, ValueError):
        return []


# ---- the contracts ---------------------------------------------------------------------------


def contracts(impl: TorchLike, spec: Spec, hyper: Hypers, dtype: str) -> list[Script | Variation]:
    """Every check as a script, then the guises."""
    said = claims(impl.subject)
    make = Make(impl, hyper, dtype)
    made: list[Script | Variation] = []
    for module, checks in CHECKS.items():
        for check in checks:
            made.append(
                Script(
                    check.name,
                    check.sentence,
                    _runner(check, make),
                    functools.partial(_script, impl, check, make),
                    str(Path(module.__file__ or "")),
                    kind=check.kind,
                    dtypes=tuple(FORMATS) if check.every_dtype else (),
                    exact=check.exact,
                    why_not=_why_not(check.claim, said),
                )
            )
    rate = {"lr": 0.125} if "lr" in spec.hypers else {}
    for guise, sentence in GUISES.items():
        claim = guise if guise in CLAIMED_GUISES else ""
        off: dict[str, Any] = {}
        if guise in ("sparse", "sparse-twice"):
            # decay and sparse gradients do not go together, as documented
            off = {n: 0.0 for n in ("weight_decay",) if n in spec.hypers}
        if guise == "sparse-twice":
            off |= {n: 0.5 for n in BELOW_ONE if n in spec.hypers} | rate
        if guise == "lr-tensor":  # no rounding of the tensor itself
            if not rate:
                continue
            off = rate
        made.append(
            Variation(
                guise,
                sentence,
                replace(impl, guise=guise),
                off,
                params=TRAINED.get(guise, ()),
                flags=bool(claim),
                any_profile=guise == "lr-tensor",
                claimed=bool(claim),
                dtypes=tuple(FORMATS) if guise == "mixed-dtypes" else (),
                why_not=_why_not(claim, said),
            )
        )
    return made


def _why_not(claim: str, said: frozenset[str]) -> str:
    return "" if not claim or claim in said else f"it claims nothing of {claim}"


def _runner(check: Check, make: Make) -> Any:
    def run() -> None:
        try:
            check.function(make)
        except NotOffered as e:
            raise NotApplicable(str(e)) from None

    return run


def _script(impl: TorchLike, check: Check, make: Make) -> str:
    """The check as a script of its own: what it needs, ``make``, its source, its call."""
    source = inspect.getsource(check.function)
    helpers: list[str] = []
    wanted = source
    of_all = [h for module in (torch_checks, *CHECKS) for h in module.HELPERS]
    for helper in reversed(of_all):
        if f"{helper.__name__}(" in wanted:
            helpers.insert(0, inspect.getsource(helper))
            wanted += helpers[0]
    known = {n for m in (torch_checks, *CHECKS) for n, x in vars(m).items() if ismodule(x)}
    modules = [m for m in sorted(known - {"torch"}) if f"{m}." in wanted]
    usual = _literal(make.usual)
    parts = [
        "from __future__ import annotations\n",
        "\n".join([*(f"import {m}" for m in modules), *prelude(impl, "subject_class")]),
        textwrap.dedent(f"""\

            def make(params, **options):
                return subject_class(params, **{{**{usual}, **options}})
        """),
        "\n".join(make.attributes(wanted)),
        *helpers,
        source,
        f"{check.function.__name__}(make)",
    ]
    return "\n\n".join(p.strip("\n") for p in parts if p.strip()) + "\n"
