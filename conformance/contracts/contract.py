"""What a contract is, for the judge and for the adapters that bring contracts of their framework.

A contract has a name and one sentence.  ``dtypes`` are those in which it is tried; without any it
does not depend on the dtype, and is tried in the first that the request names.  Three kinds:

- a :class:`Relation` compares runs through the ``Session`` protocol, so it fits any implementation;
- a :class:`Script` is a function of the framework alone, and its own repro;
- a :class:`Variation` is the implementation once more under other circumstances (complex
  parameters, sparse gradients), which must be as right as it is without them.
"""

import dis
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ..implementation import Implementation
from ..scenario import Param
from ..spec import Hypers, Spec

if TYPE_CHECKING:
    from .bench import Bench, Breach


class NotApplicable(Exception):
    """The optimizer does not offer, or does not promise, what the contract is about."""


REFUSALS = (ValueError, TypeError, RuntimeError, NotImplementedError, ArithmeticError)
"""How an input is refused clearly."""


def is_refusal(error: BaseException | None) -> bool:
    """Whether Python code says no, and not an operation that came upon something unfit."""
    if not isinstance(error, REFUSALS):
        return False
    at = error.__traceback__
    while at is not None and at.tb_next is not None:
        at = at.tb_next
    return at is not None and dis.opname[at.tb_frame.f_code.co_code[at.tb_lasti]] == "RAISE_VARARGS"


@dataclass(frozen=True, slots=True)
class Relation:
    """Runs that must agree; ``check`` gives what is broken, or None."""

    name: str
    sentence: str
    check: "Callable[[Bench], Breach | None]"
    dtypes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Script:
    """A check in the framework's own terms: ``run`` raises AssertionError when it is broken.

    ``repro`` gives a script of the framework alone that raises the same; ``source`` is the file of
    ``run``, which tells its assertions from the subject's own.
    """

    name: str
    sentence: str
    run: Callable[[], None]
    repro: Callable[[], str]
    source: str
    kind: str = "contract"  # or refusal
    dtypes: Sequence[str] = ()
    exact: bool = False  # compares runs bit for bit
    why_not: str = ""  # the reason why it is not asked of this implementation


@dataclass(frozen=True, slots=True)
class Variation:
    """The implementation under other circumstances.

    It may refuse them.  ``hyper`` is what the scenarios set, ``params`` what they train if that
    matters; with ``flags`` each flag is tried.
    """

    name: str
    sentence: str
    implementation: Implementation
    hyper: Hypers
    params: Sequence[Param] = ()
    flags: bool = False
    any_profile: bool = False  # the precision of the scalars is part of the circumstances
    claimed: bool = False  # then it may refuse only clearly: see REFUSALS
    dtypes: Sequence[str] = ()
    why_not: str = ""


Contract = Relation | Script | Variation


@runtime_checkable
class BringsContracts(Protocol):
    """An implementation may bring contracts of its framework."""

    def contracts(self, spec: Spec, hyper: Hypers, dtype: str) -> Sequence[Script | Variation]:
        """Its contracts; ``hyper`` is a setting in which every hyperparameter has an effect."""
