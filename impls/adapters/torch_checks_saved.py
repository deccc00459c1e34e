"""Contracts of saving, loading and copying a torch-like optimizer.  Rules: :mod:`.torch_checks`.

The messages of the asserts are the findings' sentences, also under pytest: PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import copy
import io
import pickle
import re
from typing import Any

import torch

from optconform.impls.adapters.torch_checks import (
    Check,
    NotOffered,
    loaded_all,
    options_of,
    parameters,
    rate,
    same,
    set_apart,
    train,
    unlike,
    values,
)


def saved_by(optimizer: Any) -> Any:
    """The optimizer's state_dict, if it has the entries that torch documents."""
    saved = optimizer.state_dict()
    if set(saved) != {"state", "param_groups"}:
        raise NotOffered(f"its state_dict has entries of its own: {', '.join(map(str, saved))}")
    return saved


def through_a_file(optimizer: Any) -> Any:
    """What torch.save and torch.load make of the optimizer's state_dict."""
    file = io.BytesIO()
    torch.save(saved_by(optimizer), file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def dtypes_of(state: Any) -> list[Any]:
    """The dtypes of all tensors in a state, step counters apart."""
    if torch.is_tensor(state):
        return [state.dtype]
    if isinstance(state, dict):
        return [d for k, x in state.items() if k != "step" for d in dtypes_of(x)]
    return [d for x in state for d in dtypes_of(x)] if isinstance(state, list | tuple) else []


def rounded(optimizer: Any, saved: Any) -> bool:
    """Whether every tensor of a checkpoint was loaded, some of them in another dtype."""
    now, was = dtypes_of(optimizer.state_dict()["state"]), dtypes_of(saved["state"])
    return len(now) == len(was) and now != was


def checkpoint_resumes(make: Any) -> None:
    """a checkpoint loaded into an optimizer with other options goes on bit for bit, with its own"""
    whole = parameters(make)
    optimizer = make(whole)
    train(optimizer, whole, 1, 2)
    lr = rate(optimizer)
    optimizer.param_groups[0][lr] *= 0.5
    train(optimizer, whole, 3, 6)
    params = parameters(make)
    first = make(params)
    train(first, params, 1, 2)
    first.param_groups[0][lr] *= 0.5
    saved = through_a_file(first)
    due = options_of(first)
    params = [p.requires_grad_(make.requires_grad) for p in values(params)]  # as after a restart
    second = set_apart(make, params)
    second.load_state_dict(saved)
    loaded_all(second, due)
    if rounded(second, saved):
        raise NotOffered("torch.optim.Optimizer rounds its state to the parameter's dtype")
    train(second, params, 3, 6)
    assert same(values(params), values(whole)), (
        "resumed at step 3 from a checkpoint, the run ends at "
        f"{[x.tolist() for x in values(params)]}, without a break at "
        f"{[x.tolist() for x in values(whole)]}"
    )


def checkpoint_after_add_group(make: Any) -> None:
    """a checkpoint with a group that joined late goes on bit for bit, each with its options"""
    for alone in (True, False):  # the lr is all that is another, or everything that can be
        ends = []
        for broken_off in (False, True):
            a, b = parameters(make, (3,), (2, 2))
            optimizer = make([a])
            lr, was = rate(optimizer), optimizer.param_groups[0]
            others = [k for k in make.options if isinstance(was.get(k), float | tuple)]
            options = {} if alone else {k: unlike(was[k]) for k in others}
            train(optimizer, [a], 1, 2)
            optimizer.add_param_group({**options, "params": [b], lr: was[lr] / 4})
            train(optimizer, [a, b], 3, 4)
            if broken_off:
                saved, due = through_a_file(optimizer), options_of(optimizer)
                optimizer = make([{"params": [a]}, {"params": [b]}])
                # its own options are the first's; what other ones bring is asked above
                optimizer.load_state_dict(saved)
                loaded_all(optimizer, due)
                if rounded(optimizer, saved):
                    raise NotOffered(
                        "torch.optim.Optimizer rounds its state to the parameter's dtype"
                    )
            train(optimizer, [a, b], 5, 7)
            ends.append(values([a, b]))
        assert same(*ends), (
            f"resumed at step 5 from a checkpoint, the run ends at "
            f"{[x.tolist() for x in ends[1]]}, without a break at {[x.tolist() for x in ends[0]]}"
        )


def paths_of(make: Any) -> list[dict[str, Any]]:
    """The code paths that it offers here: of one that needs a GPU the constructor may say so."""
    offered = []
    for path in make.paths:
        try:
            make(parameters(make), **path)
        except (RuntimeError, ValueError):
            continue
        offered.append(path)
    return offered


def checkpoint_of_another_path(make: Any) -> None:
    """a checkpoint loaded into another code path goes on bit for bit: it brings its path along"""
    offered = paths_of(make)
    if len(offered) < 2:
        raise NotOffered("it has one code path")
    for path in offered:
        whole = parameters(make)
        train(make(whole, **path), whole, 1, 6)
        params = parameters(make)
        first = make(params, **path)
        train(first, params, 1, 3)
        second = make(params)
        second.load_state_dict(through_a_file(first))
        train(second, params, 4, 6)
        assert same(values(params), values(whole)), (
            f"a checkpoint of the path {path}, resumed at step 4, ends at "
            f"{[x.tolist() for x in values(params)]}, without a break at "
            f"{[x.tolist() for x in values(whole)]}"
        )


def old_checkpoint_loads(make: Any) -> None:
    """a checkpoint from before an option existed loads with the option's default"""
    before = parameters(make)
    first = make(before)
    train(first, before, 1, 3)
    newer = [k for k in make.newer if k in first.param_groups[0]]
    filled = make.promises_old
    for missing in (*newer, "step as a number"):
        params = values(before)
        for p in params:
            p.requires_grad_(make.requires_grad)
        saved = through_a_file(first)
        for group in saved["param_groups"]:
            group.pop(missing, None)
        for slots in saved["state"].values():
            if isinstance(slots, dict) and "step" in slots and missing == "step as a number":
                slots["step"] = int(slots["step"])
        if missing not in newer and not filled:
            continue  # it never says that it reads older checkpoints
        second = make(params)
        second.load_state_dict(saved)
        if missing in newer:
            there = all(missing in group for group in second.param_groups)
            assert there or not make.promises_old, (
                f"a checkpoint without {missing} leaves the group without it"
            )
            filled |= there
            if not there:
                continue
        train(second, params, 4, 5)
        whole = values(before)
        for p in whole:
            p.requires_grad_(make.requires_grad)
        third = make(whole)
        third.load_state_dict(through_a_file(first))
        if missing in newer:
            now, was = second.param_groups[0][missing], third.param_groups[0][missing]
            if bool(now) != bool(was):
                continue  # the checkpoint's own code path is gone with the option
        train(third, whole, 4, 5)
        what = f"without {missing}" if missing in newer else f"with its {missing}"
        assert same(values(params), values(whole)), (
            f"a checkpoint {what} goes on to {[x.tolist() for x in values(params)]}, "
            f"a whole one to {[x.tolist() for x in values(whole)]}"
        )
    if not filled:
        raise NotOffered("it fills in nothing that an older checkpoint lacks")


def claimed_to_be_replaced(text: str) -> str:
    """The class of torch.optim for which a text says that it is a drop-in replacement, or nothing:
    a sentence that has a "not" before says that it is none."""
    said = " ".join(text.split())
    claim = r"drop-in replacement for\W+(?:\w+:`~?)?torch\.optim\.(\w+)"
    for found in re.finditer(claim, said, re.I):
        before = re.split(r"[.!?;]\s", said[: found.start()])[-1]
        if not re.search(
            r"(?<![a-z])(?:not?|never|neither|nor|cannot|\w+n't)(?![a-z])", before, re.I
        ):
            return found[1]
    return ""


def torchs_checkpoint_loads(make: Any) -> None:
    """what calls itself a drop-in replacement goes on from a checkpoint of what it replaces"""
    name = claimed_to_be_replaced(make.subject.__doc__ or "")
    theirs = getattr(torch.optim, name, None)
    if theirs is None:
        raise NotOffered("it does not say that it replaces a class of torch.optim")
    params = parameters(make)
    first = theirs(params, lr=0.125)
    train(first, params, 1, 3)
    saved = through_a_file(first)
    second = make(params)
    second.load_state_dict(saved)
    loaded = second.param_groups[0]["lr"]
    assert loaded == 0.125, f"the checkpoint has lr = 0.125, after loading the group has {loaded!r}"
    train(second, params, 4, 5)
    counts = {float(slots["step"]) for slots in second.state.values() if "step" in slots}
    assert counts <= {5.0}, (
        f"five steps, three of them before the checkpoint, are counted as {counts}"
    )


def large_step_counts_on(make: Any) -> None:
    """resumed after many thousand steps, the step counter still counts every step"""
    (p,) = parameters(make, (2,))
    optimizer = make([p])
    train(optimizer, [p], 1, 2)
    slots = optimizer.state_dict()["state"].get(0)
    if not isinstance(slots, dict) or slots.get("step") != 2:
        raise NotOffered("its state shows no step counter")
    for start in make.large_steps:
        saved = through_a_file(optimizer)
        slots = saved["state"][0]
        count = slots["step"]
        if torch.is_tensor(count) and not count.is_floating_point():
            assert start <= torch.iinfo(count.dtype).max, (
                f"the step counter, a tensor of {count.dtype}, cannot hold step {start}"
            )
        exact = torch.full_like(count, start) if torch.is_tensor(count) else type(count)(start)
        if float(exact) == start:  # what it could have reached by itself
            slots["step"] = exact
        else:
            slots["step"] = torch.tensor(float(start), dtype=torch.float64)
        other = make([p])
        other.load_state_dict(saved)
        train(other, [p], 3, 6)
        now = float(other.state_dict()["state"][0]["step"])
        assert now == start + 4, f"four steps after step {start} the counter stands at {now:.0f}"


def options_are_loaded_as_copies(make: Any) -> None:
    """two optimizers that share a loaded checkpoint do not share options"""
    one, other = parameters(make), parameters(make)
    first, second = make(one), make(other)
    train(first, one, 1, 2)
    lr = rate(first)
    was = first.param_groups[0][lr]
    saved = saved_by(first)
    second.load_state_dict(saved)
    second.param_groups[0][lr] = 4 * was
    now = first.param_groups[0][lr]
    assert now == was, f"setting {lr} of who loaded changed the other's to {now!r}"
    now = saved["param_groups"][0][lr]
    assert now == was, f"setting {lr} of who loaded changed the checkpoint's to {now!r}"
    members = [id(p) for p in second.param_groups[0]["params"]]
    assert members == [id(p) for p in other], "loading exchanged the parameters of the optimizer"


def state_is_loaded_as_a_copy(make: Any) -> None:
    """an optimizer that loads another's state_dict shares no state tensor with it"""
    one, other = parameters(make), parameters(make)
    first, second = make(one), make(other)
    train(first, one, 1, 2)
    second.load_state_dict(first.state_dict())
    train(second, other, 11, 13)
    train(first, one, 3, 4)
    alone = parameters(make)
    train(make(alone), alone, 1, 4)
    assert same(values(one), values(alone)), (
        "another optimizer loaded its state_dict and stepped: its own parameters then end at "
        f"{[x.tolist() for x in values(one)]}, otherwise at {[x.tolist() for x in values(alone)]}"
    )


def carried_by_getstate(optimizer: Any) -> None:
    """Raise NotOffered where the class keeps things that torch's __getstate__ does not carry."""
    names = ("__getstate__", "__reduce__", "__reduce_ex__", "__deepcopy__")
    base, kind = torch.optim.Optimizer, type(optimizer)
    if any(getattr(kind, n, None) is not getattr(base, n, None) for n in names):
        return
    usual = {*vars(torch.optim.SGD([torch.zeros(1)], lr=0.1))}
    own = [k for k in vars(optimizer) if k not in usual]
    if own and not kind.__module__.startswith("torch.optim."):
        raise NotOffered(
            f"it keeps {', '.join(own)} beside what torch.optim.Optimizer.__getstate__ carries"
        )


def pickle_resumes(make: Any) -> None:
    """an optimizer that is pickled with its parameters goes on bit for bit when it is back"""
    params = parameters(make)
    optimizer = make(params)
    train(optimizer, params, 1, 3)
    carried_by_getstate(optimizer)
    try:
        pickled = pickle.dumps((params, optimizer))
    except (pickle.PicklingError, TypeError, AttributeError) as e:
        raise NotOffered(f"it refuses to be pickled: {e}") from None
    others, other = pickle.loads(pickled)
    train(optimizer, params, 4, 6)
    train(other, others, 4, 6)
    assert same(values(others), values(params)), (
        f"the pickled optimizer goes on to {[x.tolist() for x in values(others)]}, the original "
        f"to {[x.tolist() for x in values(params)]}"
    )


def deepcopy_resumes(make: Any) -> None:
    """a deep copy of an optimizer and its parameters goes on bit for bit, and shares nothing"""
    params = parameters(make)
    optimizer = make(params)
    train(optimizer, params, 1, 3)
    carried_by_getstate(optimizer)
    try:
        others, other = copy.deepcopy((params, optimizer))
    except (TypeError, NotImplementedError) as e:
        raise NotOffered(f"it refuses to be copied: {e}") from None
    train(other, others, 4, 6)
    train(optimizer, params, 4, 6)
    alone = parameters(make)
    train(make(alone), alone, 1, 6)
    assert same(values(others), values(alone)), (
        f"the copy goes on to {[x.tolist() for x in values(others)]}, an optimizer that was never "
        f"copied to {[x.tolist() for x in values(alone)]}"
    )
    assert same(values(params), values(alone)), (
        f"after its copy stepped the original goes on to {[x.tolist() for x in values(params)]}, "
        f"otherwise to {[x.tolist() for x in values(alone)]}"
    )


HELPERS = (
    saved_by, through_a_file, dtypes_of, rounded, paths_of, claimed_to_be_replaced,
    carried_by_getstate,
)  # fmt: skip

CHECKS = (
    Check("checkpoint", checkpoint_resumes, exact=True),
    Check("checkpoint-add-group", checkpoint_after_add_group, exact=True),
    Check("checkpoint-path", checkpoint_of_another_path, exact=True),
    Check("checkpoint-old", old_checkpoint_loads, exact=True),
    Check("drop-in", torchs_checkpoint_loads),
    Check("large-step", large_step_counts_on, every_dtype=True),
    Check("load-options", options_are_loaded_as_copies),
    Check("load-state", state_is_loaded_as_a_copy, exact=True, claim="copies"),
    Check("pickle", pickle_resumes, exact=True),
    Check("deepcopy", deepcopy_resumes, exact=True),
)
"""In the order in which they are reported."""
