"""Contracts of making a torch-like optimizer.  See :mod:`.torch_checks` for the rules.

The messages of the asserts are the findings' sentences, also under pytest: PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import ast
import inspect
import re
import warnings
from typing import Any

import torch

from optconform.impls.adapters.torch_checks import (
    Check,
    NotOffered,
    parameters,
    same,
    train,
    values,
)


def duplicates_are_noticed(make: Any) -> None:
    """a parameter given twice is refused, or warned of within one group"""
    p, q = parameters(make, (2,), (2,))
    optimizer = make([p])
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise NotOffered("it is no torch.optim.Optimizer")
    try:
        optimizer.add_param_group({"params": [q, p]})
    except ValueError:
        pass
    else:
        raise AssertionError("add_param_group took a parameter that another group already has")
    assert len(optimizer.param_groups) == 1, "a refused parameter group was added all the same"
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            make([q, q])
        except ValueError:
            return
    assert warned, "a parameter twice in one group was taken without a word"


def iterables_are_taken(make: Any) -> None:
    """a generator, as model.parameters() is one, is as good as a list; a group's set is refused"""
    listed, generated = parameters(make), parameters(make)
    optimizer = make(listed)
    if not isinstance(optimizer, torch.optim.Optimizer):
        raise NotOffered("it is no torch.optim.Optimizer")
    train(optimizer, listed, 1, 2)
    try:
        optimizer = make(p for p in generated)
    except Exception as e:
        raise AssertionError(
            f"parameters given as a generator, as by model.parameters(): {type(e).__name__}: {e}"
        ) from None
    train(optimizer, generated, 1, 2)
    assert same(values(generated), values(listed)), (
        "given as a generator, as by model.parameters(), the parameters end at "
        f"{[x.tolist() for x in values(generated)]}, as a list at "
        f"{[x.tolist() for x in values(listed)]}"
    )
    try:
        make([{"params": set(parameters(make))}])
    except (TypeError, ValueError):
        return
    raise AssertionError("a set of parameters, which has no order to save them by, is taken")


def taken_by_default(make: Any) -> dict[str, Any]:
    """The defaults of an optimizer that is made with what its constructor requires alone."""
    known = make(parameters(make)).defaults
    asked = inspect.signature(make.subject).parameters.values()
    required = {x.name: known[x.name] for x in asked if x.default is x.empty and x.name in known}
    return dict(make.subject(parameters(make), **required).defaults)


def documented_defaults_are_true(make: Any) -> None:
    """an option's default is the one that the docstring gives"""
    subject = make.subject
    said = " ".join([subject.__doc__ or "", getattr(subject.__init__, "__doc__", None) or ""])
    actual = inspect.signature(subject).parameters
    for name, text in re.findall(
        r"(\w+)\s*\([^()]*\):[^:]*?\(default: ([^()]+|\([^()]+\))\)", said
    ):
        try:
            documented = ast.literal_eval(text.strip().strip("`"))
        except (SyntaxError, ValueError):
            continue
        if name in make.options and name in actual:
            default = actual[name].default
            if default is None:  # what the constructor then takes is by default
                default = taken_by_default(make).get(name, documented)
            assert default == documented, (
                f"by the docstring {name} is {documented!r} by default, and it is {default!r}"
            )


def groups_are_copied(make: Any) -> None:
    """the caller's dictionaries of a parameter group are left as they were"""
    p, q = parameters(make, (2,), (3,))
    first, second = {"params": [p]}, {"params": [q]}
    optimizer = make([first])
    optimizer.add_param_group(second)
    assert list(first) == ["params"], f"the constructor wrote {list(first)[1:]} into its argument"
    assert list(second) == ["params"], f"add_param_group wrote {list(second)[1:]} into its argument"


def invalid_options_are_refused(make: Any) -> None:
    """an option out of its domain is refused with a ValueError or TypeError, and nothing changed"""
    for option, bad in make.refuses:
        params = parameters(make)
        before = values(params)
        try:
            make(params, **{option: bad})
        except (ValueError, TypeError):
            pass
        except Exception as e:
            raise AssertionError(
                f"{option}={bad!r} is refused with {type(e).__name__}, not a ValueError: {e}"
            ) from None
        else:
            raise AssertionError(f"{option}={bad!r} is taken without a word")
        assert same(values(params), before), f"refusing {option}={bad!r} changed the parameters"


HELPERS = (taken_by_default,)

CHECKS = (
    Check("duplicates", duplicates_are_noticed),
    Check("iterables", iterables_are_taken, exact=True),
    Check("defaults", documented_defaults_are_true, kind="signature"),
    Check("groups-copied", groups_are_copied, claim="copies"),
    Check("refusals", invalid_options_are_refused, claim="refusals", kind="refusal"),
)
"""In the order in which they are reported."""
