"""Contracts of one step of a torch-like optimizer.  See :mod:`.torch_checks` for the rules.

The messages of the asserts are the findings' sentences, also under pytest: PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import copy
import gc
import inspect
import random
import re
from typing import Any

import torch

from optconform.impls.adapters.torch_checks import (
    Check,
    NotOffered,
    gradient,
    numbers,
    parameters,
    same,
    train,
    values,
)


def documents_a_closure(step: Any) -> bool:
    """Whether its docstring speaks of a closure other than to say that there is none."""
    said = " ".join((getattr(step, "__doc__", None) or "").lower().split())
    no = r"(?:no|not|never|without|cannot|unsupported|ignored|\w+n't)"
    between = r"(?:[^\w.;:]+\w+){0,3}?[^\w.;:]+"
    denied = rf"\b{no}\b{between}closures?\b|\bclosures?\b{between}{no}\b"
    return "closure" in re.sub(denied, "", said)


def closure_is_called_once(make: Any) -> None:
    """step(closure) calls it once, with gradients enabled, uses its gradients, returns its value"""
    params = parameters(make)
    optimizer = make(params)
    taken = inspect.signature(optimizer.step).parameters
    if "closure" not in taken:  # it may have another name, where the docstring says what it is
        kinds = {x.kind for x in taken.values()}
        by_place = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
        if not documents_a_closure(optimizer.step):
            raise NotOffered("its step takes no closure")
        assert kinds & {*by_place, inspect.Parameter.VAR_POSITIONAL}, (
            "step documents a closure, and takes none"
        )
    keyword = "closure" in taken and taken["closure"].kind is inspect.Parameter.KEYWORD_ONLY
    for step, value in ((1, 3.25), (2, -1.5)):
        calls: list[bool] = []

        def closure(step: int = step, value: float = value, calls: list[bool] = calls) -> Any:
            calls.append(torch.is_grad_enabled())
            for k, p in enumerate(params):
                p.grad = gradient(p, step, k)
            return torch.tensor(value)

        torch.default_generator.manual_seed(step)
        returned = optimizer.step(closure=closure) if keyword else optimizer.step(closure)
        when = "" if step == 1 else f" in step {step}"
        assert len(calls) == 1, f"step(closure) called the closure {len(calls)} times{when}"
        assert calls == [True], "step(closure) called the closure with gradients disabled"
        assert returned is not None and float(returned) == value, (
            f"the closure returned {value}, and step(closure) {returned!r}"
        )
    plain = parameters(make)
    other = make(plain)
    for step in (1, 2):
        for k, p in enumerate(plain):
            p.grad = gradient(p, step, k)
        torch.default_generator.manual_seed(step)
        returned = other.step()
        assert returned is None, f"step() without a closure returned {returned!r}"
    assert same(values(params), values(plain)), (
        "step(closure) moved the parameters elsewhere than step() with the same gradients"
    )


def options_are_left_alone(make: Any) -> None:
    """a step changes no option of a parameter group and no default"""
    params = parameters(make)
    optimizer = make(params)
    options = make.options
    before = {k: v for k, v in optimizer.param_groups[0].items() if k in options}
    defaults = {k: v for k, v in optimizer.defaults.items() if k in options}
    members = [id(p) for p in optimizer.param_groups[0]["params"]]
    train(optimizer, params, 1, 3)
    group = optimizer.param_groups[0]
    for name, value in before.items():
        assert name in group, f"the step removed the option {name} from its group"
        assert group[name] == value, f"three steps changed {name} from {value!r} to {group[name]!r}"
    for name, value in defaults.items():
        assert optimizer.defaults.get(name) == value, (
            f"three steps changed the default of {name} from {value!r} to "
            f"{optimizer.defaults.get(name)!r}"
        )
    assert [id(p) for p in group["params"]] == members, "the step exchanged the group's parameters"


def storage_is_kept(make: Any) -> None:
    """a step writes into the parameter's own memory and keeps its strides, and the gradient's"""
    dtype = make.dtype
    kinds = {
        "contiguous": torch.zeros(3, dtype=dtype),
        "0-d": torch.zeros((), dtype=dtype),
        "transposed": torch.zeros(3, 2, dtype=dtype).t(),
        "channels-last": torch.zeros(2, 3, 2, 2, dtype=dtype).to(memory_format=torch.channels_last),
        "every second": torch.zeros(8, dtype=dtype)[::2],
    }
    for kind, p in kinds.items():
        p.requires_grad_(make.requires_grad)
        with torch.no_grad():
            p.copy_(gradient(p, 0))
        optimizer = make([p])
        for step in (1, 2):
            p.grad = torch.empty_like(p, requires_grad=False).copy_(gradient(p, step))
            grad = p.grad
            was = p.data_ptr(), p.stride(), p.dtype, grad.data_ptr(), grad.stride(), grad.dtype
            optimizer.step()
            assert p.data_ptr() == was[0], f"the step moved a {kind} parameter to other memory"
            assert p.stride() == was[1], f"strides of a {kind} parameter became {p.stride()}"
            assert p.dtype == was[2], f"the dtype of a {kind} parameter became {p.dtype}"
            assert p.grad is grad, f"the step exchanged the gradient of a {kind} parameter"
            assert (grad.data_ptr(), grad.stride(), grad.dtype) == was[3:], (
                f"the step changed memory, strides or dtype of the gradient of a {kind} parameter"
            )


def gradients_may_share_a_buffer(make: Any) -> None:
    """gradients written into one buffer, again and again, act as fresh tensors do"""
    # decay makes a new tensor of the gradient, and hides what keeps the gradient itself
    undecayed = [{"weight_decay": 0.0}] if "weight_decay" in make.options else []
    for options in ({}, *undecayed):
        fresh, reused = parameters(make), parameters(make)
        train(make(fresh, **options), fresh, 1, 4)
        optimizer = make(reused, **options)
        for p in reused:
            p.grad = torch.zeros_like(p, requires_grad=False)
        for step in range(1, 5):
            for k, p in enumerate(reused):
                p.grad.copy_(gradient(p, step, k))
            torch.default_generator.manual_seed(step)
            optimizer.step()
        assert same(values(reused), values(fresh)), (
            "after four steps with gradients written into one buffer the parameters are "
            f"{[x.tolist() for x in values(reused)]}, with fresh gradient tensors "
            f"{[x.tolist() for x in values(fresh)]}"
        )


def zero_grad_clears(make: Any) -> None:
    """zero_grad sets gradients to None, or with set_to_none=False to zero in place"""
    params = parameters(make)
    optimizer = make(params)
    if not hasattr(optimizer, "zero_grad"):
        raise NotOffered("it has no zero_grad")
    if "set_to_none" not in inspect.signature(optimizer.zero_grad).parameters:
        raise NotOffered("its zero_grad has no set_to_none")
    train(optimizer, params, 1, 2)
    grads = [p.grad for p in params]
    optimizer.zero_grad(set_to_none=False)
    for p, grad in zip(params, grads, strict=True):
        assert p.grad is grad, "zero_grad(set_to_none=False) exchanged a gradient"
        assert not p.grad.any(), f"zero_grad(set_to_none=False) left {p.grad.tolist()}"
    optimizer.zero_grad(set_to_none=True)
    assert all(p.grad is None for p in params), "zero_grad(set_to_none=True) left a gradient"


def schedulers_drive_it(make: Any) -> None:
    """a scheduler of torch.optim.lr_scheduler has the effect of the same values set by hand"""
    schedulers: dict[str, Any] = {
        "StepLR": lambda o: torch.optim.lr_scheduler.StepLR(o, 2, gamma=0.25),
        "ExponentialLR": lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.5),
        "LambdaLR": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda k: 1 / (1 + k)),
        "CosineAnnealingLR": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 4),
        "OneCycleLR": lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 0.5, total_steps=8),
        "MultiplicativeLR": lambda o: torch.optim.lr_scheduler.MultiplicativeLR(o, lambda k: 4.0),
    }
    if not isinstance(make(parameters(make)), torch.optim.Optimizer):
        raise NotOffered("it is no torch.optim.Optimizer")
    if "lr" not in make(parameters(make)).param_groups[0]:
        raise NotOffered("torch's schedulers set lr, which its groups do not have")
    for name, schedule in schedulers.items():
        params = parameters(make)
        optimizer = make(params)
        before = numbers(optimizer)
        try:
            scheduler = schedule(optimizer)
        except ValueError:  # OneCycleLR needs a momentum to cycle
            continue
        asked: list[dict[str, Any]] = []
        for step in range(1, 7):
            # what the scheduler wrote, and no step: initial_lr and max_lr too, for an optimizer
            # may read how far the lr has fallen
            now = numbers(optimizer)
            asked.append({k: x for k, x in now.items() if k not in before or before[k] != x})
            train(optimizer, params, step, step)
            before = numbers(optimizer)
            scheduler.step()
        by_hand = parameters(make)
        other = make(by_hand)
        for step, options in enumerate(asked, 1):
            other.param_groups[0].update(copy.deepcopy(options))
            train(other, by_hand, step, step)
        assert same(values(params), values(by_hand)), (
            f"six steps under {name} end at {[x.tolist() for x in values(params)]}, and with the "
            f"same values set by hand at {[x.tolist() for x in values(by_hand)]}"
        )
    # the last: its lr grows so much that no rounding hides it
    without, lr_alone = parameters(make), parameters(make)
    train(make(without), without, 1, 6)
    other = make(lr_alone)
    for step, options in enumerate(asked, 1):
        other.param_groups[0].update({k: x for k, x in options.items() if k == "lr"})
        train(other, lr_alone, step, step)
    read = not same(values(lr_alone), values(without))  # Rprop reads it in the first step only
    assert not read or not same(values(params), values(without)), (
        f"six steps under {name} end where they end without it, though the same lr has an effect "
        "when it alone is set by hand"
    )


def two_side_by_side(make: Any) -> None:
    """two optimizers that step in turn move their parameters as each would alone"""
    alone = parameters(make)
    train(make(alone), alone, 1, 4)
    one, other = parameters(make), parameters(make)
    first, second = make(one), make(other)
    for step in range(1, 5):
        train(second, other, step + 10, step + 10)
        train(first, one, step, step)
    assert same(values(one), values(alone)), (
        "beside another optimizer of its class the parameters end at "
        f"{[x.tolist() for x in values(one)]}, alone at {[x.tolist() for x in values(alone)]}"
    )


def sparse_gradients_are_refused_whole(make: Any) -> None:
    """a sparse gradient is taken, or refused with a clear error and nothing changed"""
    p = parameters(make, (4,))[0]
    optimizer = make([p])
    p.grad = torch.tensor([0.0, 2.0, 0.0, 1.0], dtype=p.dtype).to_sparse()
    before = values([p])
    try:
        optimizer.step()
    except (RuntimeError, ValueError, TypeError, NotImplementedError) as e:
        assert "sparse" in str(e).lower(), (
            f"a sparse gradient is refused with a message that does not say so: {e}"
        )
        assert same(values([p]), before), "refusing a sparse gradient changed the parameter"


def nothing_is_left_behind(make: Any) -> None:
    """steps without end take no memory without end"""
    params = parameters(make)
    optimizer = make(params)

    def held() -> int:  # numbers in tensors, anybody's
        gc.collect()
        alive = (x for x in gc.get_objects() if issubclass(type(x), torch.Tensor))
        return sum(x.numel() for x in alive)

    train(optimizer, params, 1, 8)
    first = last = held()
    done = 8
    for end in (24, 40, 80, 160, 320, 640, 1280):
        train(optimizer, params, done + 1, end)
        done, before, last = end, last, held()
        if last <= before:  # a history of the last steps is full at some time
            return
    raise AssertionError(
        f"steps 9 to 1280 left {last - first} more numbers in tensors that are kept, and every "
        "stretch of them left some"
    )


def random_numbers_go_on(make: Any) -> None:
    """neither the constructor nor a step seeds the random numbers of the process anew"""
    generators: dict[str, tuple[Any, Any]] = {
        "torch": (torch.default_generator.manual_seed, lambda: torch.get_rng_state().tolist()),
        "Python": (random.seed, random.getstate),
    }
    ends: dict[str, list[Any]] = {name: [] for name in generators}
    for k in (1, 2):
        params = parameters(make)
        for p in params:
            p.grad = gradient(p, 1)
        for seed, _ in generators.values():
            seed(k)
        optimizer = make(params)
        optimizer.step()
        optimizer.step()
        for name, (_, state) in generators.items():
            ends[name].append(state())
    for name, (one, other) in ends.items():
        assert one != other, (
            f"after two steps the random numbers of {name} go on alike, however they were seeded "
            "before"
        )


HELPERS = (documents_a_closure,)

CHECKS = (
    Check("closure", closure_is_called_once, exact=True),
    Check("options-untouched", options_are_left_alone),
    Check("storage", storage_is_kept),
    Check("gradient-buffer", gradients_may_share_a_buffer, exact=True),
    Check("zero-grad", zero_grad_clears),
    Check("scheduler", schedulers_drive_it, exact=True),
    Check("two-live", two_side_by_side, exact=True),
    Check("memory", nothing_is_left_behind),
    Check("random", random_numbers_go_on),
    Check("sparse-refusal", sparse_gradients_are_refused_whole, claim="sparse", kind="refusal"),
)
"""In the order in which they are reported."""
