"""The generated optimizers on the host: the oracle judges them, and they are citizens of torch."""

from __future__ import annotations

import copy
import inspect
import itertools
import math
import mmap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from optconform import expr
from optconform.draws import drawn
from optconform.impls import cuda
from optconform.impls.adapters.torch_optim import TorchLike
from optconform.impls.cuda import evaluate, host, launch
from optconform.impls.cuda import plan as plan_module
from optconform.impls.cuda.body import lowered
from optconform.impls.cuda.emit import CHUNK, Kernel
from optconform.impls.cuda.launch import work_list
from optconform.impls.cuda.plan import SAMPLE
from optconform.interpreter import Interpreted, Running, Step, machine
from optconform.lockstep import failing, free_judge, judge
from optconform.oracle.scalars import Profile
from optconform.scenario import Scenario
from optconform.spec import Spec
from optconform.spec_file import bundled, load
from optconform.trace import run

CLASSES = ("SGD", "Adagrad", "RMSprop", "Adadelta", "Adam", "AdamW")

OPTIONS: Sequence[tuple[str, Mapping[str, Any]]] = (
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("Adagrad", {"initial_accumulator_value": 0.5}),
    ("RMSprop", {"momentum": 0.9, "centered": True}),
    ("Adadelta", {}),
    ("Adam", {"amsgrad": True, "maximize": True}),
    ("AdamW", {}),
)


def make(name: str, params: Any, **options: Any) -> Any:
    return getattr(cuda, name)(params, **{"device": "cpu", **options})


def tensors(dtype: torch.dtype = torch.float32, *shapes: tuple[int, ...]) -> list[Tensor]:
    torch.manual_seed(1)
    some = shapes or ((3,), (2, 5), (1030,))
    return [torch.randn(s, dtype=dtype).requires_grad_() for s in some]


def train(optimizer: Any, params: Sequence[Tensor], first: int, last: int) -> None:
    for t in range(first, last + 1):
        for k, p in enumerate(params):
            made = torch.Generator().manual_seed(100 * t + k)
            p.grad = torch.randn(p.shape, generator=made, dtype=torch.float32).to(p.dtype)
        optimizer.step()


def same(a: Sequence[Tensor], b: Sequence[Tensor]) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


# ---- the oracle ------------------------------------------------------------------------------


def implementation(name: str, **options: Any) -> TorchLike:
    module = "optconform.impls.cuda"
    given = {"device": "cpu", **options}
    return TorchLike(getattr(cuda, name), f"{module}:{name}", module, name.lower(), given)


def scenarios(spec: Spec, dtype: str, examples: int) -> Sequence[Scenario]:
    rest = ("lr", *(n for n, h in spec.hypers.items() if not h.is_flag and n != "lr"))
    return drawn(spec, dtype=dtype, examples=examples, seed=7, max_steps=5, changeable=rest)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16"])
@pytest.mark.parametrize("name", CLASSES)
def test_it_follows_its_spec(name: str, dtype: str) -> None:
    """Step by step from its own state, and freely running beside the oracle."""
    subject, spec = implementation(name), load(name.lower())
    for scenario in scenarios(spec, dtype, 4):
        trace = run(subject, scenario, spec)
        assert trace.crash is None, trace.crash
        judged = judge(trace, spec, {}, profile=Profile())
        assert not any(part.free for part in judged) and not failing(judged)
        # first order in the rounding errors, which is too short for 16 bits: there torch's plain
        # path leaves the freely running bound as well
        if dtype in ("float32", "float64"):
            assert not failing(free_judge(trace, spec, {}, profile=Profile()))


@pytest.mark.parametrize("options", [{"state_dtype": torch.float32}, {"stochastic_rounding": True}])
def test_other_memories_follow_it_too(options: Mapping[str, Any]) -> None:
    rounding = "faithful" if "stochastic_rounding" in options else "nearest"
    for name in ("SGD", "AdamW", "RMSprop"):
        subject, spec = implementation(name, **options), load(name.lower())
        for scenario in scenarios(spec, "bfloat16", 3):
            trace = run(subject, scenario, spec)
            assert trace.crash is None, trace.crash
            assert not failing(judge(trace, spec, {}, profile=Profile(rounding=rounding)))


class Pinned(Running):
    """A session of the pinned form of a variant, evaluated in numpy."""

    def _step(self, now: Mapping[str, float], members: Any) -> None:
        m, first = self.machine, members[0][0]
        scalars = {**now, "t": float(first.count)}
        variant = tuple(sorted(m.variant.items()))
        truths = frozenset(c for c in m.conditions if expr.holds(c, scalars))
        body = lowered(m.spec.name, truths, variant=variant)
        kernel = Kernel(body, self.fmt.name, self.fmt.name)
        for held, grad in members:
            if first.count == 1:
                start = Step(m.graph, self.fmt, scalars, {})
                inits = {n: start.tensor(i) for n, i in m.inits.items()}
                held.tensors |= {n: np.broadcast_to(x, grad.shape) for n, x in inits.items()}
                held.visible = m.visible(truths)
            values = {n: {**held.tensors, "grad": grad}[n].astype(kernel.wide) for n in body.arrays}
            new = evaluate.step(kernel, values, scalars)
            held.tensors = {n: x.astype(np.float64) for n, x in new.items()}


class Form(Interpreted):
    def start(self, scenario: Scenario, spec: Spec) -> Running:
        return Pinned(self.machine, scenario)


VARIANTS = [
    (name, axis.name, value)
    for name in bundled()
    for axis in load(name).axes.values()
    for value, choice in axis.choices.items()
    if value not in ("number", axis.default)
]


@pytest.mark.parametrize("name", bundled())
def test_every_variant_axis_follows_its_equations(name: str) -> None:
    spec = load(name)
    for _, axis, value in (v for v in VARIANTS if v[0] == name):
        needs = {a: some[0] for a, some in spec.axes[axis].choices[value].needs.items()}
        variant = spec.variant({**needs, axis: value})
        subject = Form(machine(spec, variant), f"{name}[{axis}={value}]")
        for scenario in drawn(spec, dtype="float32", examples=2, seed=3, max_steps=3):
            trace = run(subject, scenario, spec)
            assert trace.crash is None, (variant, trace.crash)
            assert not failing(judge(trace, spec, variant, profile=Profile())), variant


# ---- as torch's ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CLASSES)
def test_the_constructor_is_torchs(name: str) -> None:
    ours = dict(inspect.signature(getattr(cuda, name)).parameters)
    theirs = dict(inspect.signature(getattr(torch.optim, name)).parameters)
    for k, parameter in theirs.items():
        assert ours[k].default == parameter.default and ours[k].kind == parameter.kind, k
    assert set(ours) - set(theirs) == {"device", "state_dtype", "stochastic_rounding", "seed"}
    assert issubclass(getattr(cuda, name), getattr(torch.optim, name))


def test_without_a_gpu_the_constructor_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RuntimeError, match="need a CUDA device, and torch finds none"):
        cuda.AdamW(tensors())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "xpu"}, "device is 'cuda' or 'cpu', not 'xpu'"),
        ({"state_dtype": torch.float64}, "state_dtype is None or torch.float32"),
        ({"seed": -1}, "seed is an integer in"),
        ({"differentiable": True}, "cannot be differentiated through"),
        ({"lr": -1.0}, "Invalid learning rate"),
    ],
)
def test_what_is_wrong_is_refused(options: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make("AdamW", tensors(), **options)


def test_a_parameter_elsewhere_is_refused() -> None:
    optimizer = make("AdamW", tensors())
    with pytest.raises(ValueError, match="built for cpu, and a parameter is on meta"):
        optimizer.add_param_group({"params": [torch.zeros(2, device="meta", requires_grad=True)]})
    assert len(optimizer.param_groups) == 1


class Elsewhere(torch.Tensor):
    """A tensor whose numbers are held by another, as a DTensor's."""

    @staticmethod
    def __new__(cls) -> Tensor:
        made: Tensor = torch.Tensor._make_wrapper_subclass(cls, (3,), requires_grad=True)
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise NotImplementedError(func)


def test_what_has_no_memory_or_shares_it_is_refused() -> None:
    p = tensors()
    optimizer = make("AdamW", p[:1])
    with pytest.raises(
        TypeError, match="steps tensors in memory, and Elsewhere has none of its own"
    ):
        optimizer.add_param_group({"params": [Elsewhere()]})
    with (
        pytest.warns(UserWarning, match="duplicate parameters"),
        pytest.raises(ValueError, match="AdamW was given a parameter twice in one group"),
    ):
        optimizer.add_param_group({"params": [p[1], p[2], p[1]]})
    assert len(optimizer.param_groups) == 1


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_a_checkpoint_moves_either_way(name: str, options: Mapping[str, Any]) -> None:
    """Begun here and ended there and the reverse, the state keeps its names, shapes and count."""
    theirs = getattr(torch.optim, name)
    for first, second in ((make, theirs), (theirs, make)):
        p, q = tensors(), tensors()
        build = [
            (lambda x, o=o: o(name, x, **options) if o is make else o(x, **options))
            for o in (first, second)
        ]
        one, other = build[0](p), build[1](q)
        train(one, p, 1, 3)
        for a, b in zip(p, q, strict=True):
            b.data.copy_(a.data)
        other.load_state_dict(copy.deepcopy(one.state_dict()))
        assert {k: sorted(s) for k, s in one.state_dict()["state"].items()} == {
            k: sorted(s) for k, s in other.state_dict()["state"].items()
        }
        train(other, q, 4, 5)
        for state in other.state.values():
            assert state.get("step", 5) == 5
        train(one, p, 4, 5)
        for a, b in zip(p, q, strict=True):
            torch.testing.assert_close(a, b)  # the bound is judged above


def test_float32_state_survives_a_checkpoint() -> None:
    p = tensors(torch.bfloat16)
    optimizer = make("AdamW", p, state_dtype=torch.float32)
    train(optimizer, p, 1, 2)
    q = [x.detach().clone().requires_grad_() for x in p]
    other = make("AdamW", q, state_dtype=torch.float32)
    other.load_state_dict(optimizer.state_dict())
    assert {s["exp_avg"].dtype for s in other.state.values()} == {torch.float32}
    train(optimizer, p, 3, 4)
    train(other, q, 3, 4)
    assert same(p, q)


# ---- together as alone, bit for bit ----------------------------------------------------------


def layouts() -> list[Tensor]:
    """Parameters of every layout, with the same values at every call."""
    torch.manual_seed(2)
    base = torch.randn(4000)
    made = [
        torch.randn(()),
        torch.randn(0),
        torch.randn(1),
        torch.randn(3000),
        torch.randn(5, 7).t(),
        torch.randn(20)[::2],
        torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        base[1:2500],  # not aligned to 128 bits
        torch.randn(6, dtype=torch.complex64),
        torch.randn(40, dtype=torch.float64),
        torch.randn(2050, dtype=torch.bfloat16),
        torch.randn(9, 2, dtype=torch.float16),
    ]
    return [p.requires_grad_() for p in made]


def odd_gradients(p: Tensor, t: int, k: int) -> Tensor | None:
    """A gradient of another layout in every step, and None now and then."""
    if (t + k) % 5 == 0 or (t == 1 and k == 3):
        return None
    g = torch.Generator().manual_seed(50 * t + k)
    made = torch.randn(p.shape, generator=g, dtype=torch.float32).to(p.dtype)
    match t % 4:
        case 1 if p.dim() > 1:
            return made.transpose(0, 1).contiguous().transpose(0, 1)
        case 2:
            return torch.stack([made, made], dim=-1)[..., 0]
        case 3 if p.is_complex():
            return made.conj()
        case 3 if p.dim():
            return made[:1].expand(p.shape)
    return made


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_together_is_alone_whatever_the_layout(name: str, options: Mapping[str, Any]) -> None:
    """All tensors in one optimizer, gradients missing and of odd strides, against each tensor in
    an optimizer of its own, contiguous."""
    together = layouts()
    optimizer = make(name, together, **options)
    alone = [p.detach().clone(memory_format=torch.contiguous_format) for p in layouts()]
    singles = [make(name, [q.requires_grad_()], **options) for q in alone]
    start = [q.detach().clone() for q in alone]
    for t in range(1, 10):
        for k, (p, q) in enumerate(zip(together, alone, strict=True)):
            p.grad = odd_gradients(p, t, k)
            g = odd_gradients(p, t, k)
            q.grad = None if g is None else g.resolve_conj().contiguous().clone()
        optimizer.step()
        for single in singles:
            single.step()
        assert same(together, alone), f"step {t}"
    assert not any(torch.equal(a, b) for a, b in zip(alone, start, strict=True) if a.numel())


def test_a_group_may_join_and_options_may_change() -> None:
    def run(joint: bool) -> list[Tensor]:
        p, q = tensors(torch.float32, (40,), (50,))
        first = make("AdamW", [p])
        train(first, [p], 1, 2)
        if joint:
            first.add_param_group({"params": [q], "lr": 0.5})
            others = [first]
        else:
            others = [first, make("AdamW", [q], lr=0.5)]
        for t in (3, 4, 5):
            for k, x in enumerate((p, q)):
                x.grad = torch.full_like(x, t + k)
            others[0].param_groups[0]["lr"] = 0.1 * t
            others[0].param_groups[0]["weight_decay"] = 0.0 if t == 4 else 0.3
            for o in others:
                o.step()
        return [p, q]

    assert same(run(True), run(False))


def test_a_hundred_groups_have_their_own_constants() -> None:
    """More rows than are passed by value."""

    def groups() -> list[dict[str, Any]]:
        return [{"params": tensors(torch.float32, (5,)), "lr": 0.01 * k} for k in range(100)]

    together, alone = groups(), groups()
    a, b = make("AdamW", together), [make("AdamW", [g]) for g in alone]
    for t in (1, 2):
        for g in (*together, *alone):
            g["params"][0].grad = torch.full((5,), float(t))
        a.step()
        for o in b:
            o.step()
    assert same([g["params"][0] for g in together], [g["params"][0] for g in alone])
    assert len({g["params"][0].sum().item() for g in together}) == 100


# ---- a plan that no longer holds --------------------------------------------------------------


def moved_state(optimizer: Any, p: list[Tensor]) -> None:
    for s in optimizer.state.values():
        for x in s.values():
            x.data = x.data.clone()


def replaced_state(optimizer: Any, p: list[Tensor]) -> None:
    for s in optimizer.state.values():
        s["exp_avg"] = s["exp_avg"].clone()


def step_set(optimizer: Any, p: list[Tensor]) -> None:
    for s in optimizer.state.values():
        s["step"].fill_(7.0)


def step_replaced(optimizer: Any, p: list[Tensor]) -> None:
    for s in optimizer.state.values():
        s["step"] = torch.tensor(7.0)


def replaced_by_its_equal(optimizer: Any, p: list[Tensor]) -> None:
    """The same values in other memory: what still wrote to the old would be a step behind."""
    for s in optimizer.state.values():
        s["step"] = s["step"].clone()


def moved_parameter(optimizer: Any, p: list[Tensor]) -> None:
    p[1].data = p[1].data.clone()


def other_layout(optimizer: Any, p: list[Tensor]) -> None:
    p[1].data = p[1].data.t().contiguous().t()


def state_emptied(optimizer: Any, p: list[Tensor]) -> None:
    optimizer.state.clear()


def one_state_emptied(optimizer: Any, p: list[Tensor]) -> None:
    optimizer.state[p[1]] = {}


def reloaded(optimizer: Any, p: list[Tensor]) -> None:
    optimizer.load_state_dict(optimizer.state_dict())


@pytest.mark.parametrize(
    "change",
    [moved_state, replaced_state, step_set, step_replaced, replaced_by_its_equal, moved_parameter,
     other_layout, state_emptied, one_state_emptied, reloaded],
)  # fmt: skip
def test_what_changes_between_steps_is_seen(change: Callable[[Any, list[Tensor]], None]) -> None:
    """The same change made to an optimizer that has a plan, and to one that has none."""
    ends = []
    for fresh in (False, True):
        p = tensors()
        optimizer = make("AdamW", p, lr=0.1)
        train(optimizer, p, 1, 2)
        change(optimizer, p)
        if fresh:
            optimizer._plan = None
        train(optimizer, p, 3, 4)
        ends.append([*p, *(x for s in optimizer.state.values() for x in s.values())])
    assert same(*ends)


def test_a_plan_is_kept() -> None:
    """Neither new gradients nor missing ones nor other options make a new one."""
    p = tensors()
    optimizer = make("AdamW", p)
    train(optimizer, p, 1, 1)
    plan = optimizer._plan
    for t in range(2, 8):
        optimizer.zero_grad(set_to_none=True)
        optimizer.param_groups[0]["lr"] = 0.1 / t
        train(optimizer, p[t % 3 :], t, t)
    assert optimizer._plan is plan
    versions = [x._version for x in p]
    p[1].grad = None
    optimizer.step()
    assert [x._version - v for x, v in zip(p, versions, strict=True)] == [0, 0, 1]


def test_who_counts_without_need_shares_one_row() -> None:
    """The number of steps is part of Adagrad's constants only where lr_decay is."""
    rows = []
    for decay in (0.0, 0.1):
        p = tensors()
        optimizer = make("Adagrad", p, lr_decay=decay)
        train(optimizer, p, 1, 1)
        p[0].grad = None
        train(optimizer, p[1:], 2, 3)
        for x in p:
            x.grad = torch.ones_like(x)
        optimizer.step()
        rows.append(len(optimizer._plan.launches[0].rows.group_of))
    assert rows == [1, 2]


def test_what_is_turned_in_its_own_memory_is_seen_soon() -> None:
    p = tensors(torch.float32, *((4, 4) for _ in range(2 * SAMPLE)))
    optimizer = make("SGD", p)
    train(optimizer, p, 1, 1)
    plan = optimizer._plan
    p[1].data = p[1].data.t()
    train(optimizer, p, 2, 3)
    assert optimizer._plan is not plan


@pytest.mark.parametrize("count", [1, SAMPLE + 1])
def test_state_that_moved_is_seen_whenever_it_does(count: int) -> None:
    """As where it is offloaded and comes back: all of it, after each step."""
    before = []  # which keeps the memory from being given to others
    p, q = (tensors(torch.float32, *((3,) for _ in range(count))) for _ in range(2))
    moving, staying = (make("SGD", x, lr=0.1, momentum=0.9) for x in (p, q))
    for t in range(1, 9):
        for optimizer, x in ((moving, p), (staying, q)):
            train(optimizer, x, t, t)
        for s in moving.state.values():
            before.append(s["momentum_buffer"].data)
            s["momentum_buffer"].data = before[-1].clone()
            before[-1].fill_(math.nan)
    assert same(p, q)


@pytest.mark.parametrize("capturable", [False, True])
@pytest.mark.parametrize("stochastic", [False, True])
def test_who_rests_is_left_as_it_is(capturable: bool, stochastic: bool) -> None:
    """Forty tensors of which another part moves in each step, so that soon each has a number of
    steps of its own, more of them than are passed by value; against each alone."""
    options = {"capturable": capturable, "stochastic_rounding": stochastic, "lr": 0.1}
    shapes = [(k,) for k in range(1, 41)]
    p = tensors(torch.bfloat16, *shapes)
    q = [x.detach().clone().requires_grad_() for x in p]
    for x in p:
        x.grad = torch.ones_like(x)
    optimizer = make("Adam", [{"params": p[:11]}, {"params": p[11:], "lr": 0.3}], **options)
    alone = make("Adam", [{"params": q[:11]}, {"params": q[11:], "lr": 0.3}], **options)
    made = torch.Generator().manual_seed(5)
    for t in range(1, 90):
        for k, (x, y) in enumerate(zip(p, q, strict=True)):
            moves = t in (1, 89) or (2 * k < t < 88 and (t + k) % 5)
            x.grad = torch.randn(x.shape, generator=made).bfloat16() if moves else None
            y.grad = None if x.grad is None else x.grad.clone()
        optimizer.step()
        alone._plan = None
        alone.step()
        assert same(p, q), t
        if t == 88:
            assert all(x.grad is None for x in p)
    counts = [float(optimizer.state[x]["step"]) for x in p]
    assert counts == [float(alone.state[x]["step"]) for x in q]
    assert len(set(counts)) > optimizer._plan.launches[0].kernel.few


def test_what_a_user_keeps_in_the_state_need_not_compare() -> None:
    """An array's == is neither true nor false; it is there anew in each step, and no obstacle."""
    p, q = tensors(), tensors()
    noted, plain = make("AdamW", p), make("AdamW", q)
    for t in range(1, 4):
        train(noted, p, t, t)
        train(plain, q, t, t)
        for x in p:
            noted.state[x]["note"] = np.ones(2)
    assert same(p, q)


def test_autograd_sees_the_change() -> None:
    p = torch.ones(3, requires_grad=True)
    loss = (p * p).sum()
    optimizer = make("SGD", [p])
    p.grad = torch.ones(3)
    optimizer.step()
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("capturable", [False, True])
def test_a_step_leaves_no_graph(capturable: bool) -> None:
    """Gradients are on and have graphs of their own; one tensor is read in place, one is not."""
    rate = torch.tensor(0.1, dtype=torch.float64, requires_grad=True) if capturable else 0.1
    p = [torch.ones(4, 3).requires_grad_(), torch.ones(3, 8)[:, ::2].detach().requires_grad_()]
    optimizer = make("AdamW", p, lr=rate, capturable=capturable)
    for _ in range(3):
        loss = (p[0] @ p[1]).square().sum()
        p[0].grad, other = torch.autograd.grad(loss, p, create_graph=True)
        p[1].grad = other.t().contiguous().t()
        optimizer.step()
    assert all(x.requires_grad and x.grad_fn is None for x in p)
    assert not any(x.requires_grad for s in optimizer.state.values() for x in s.values())
    assert not any(t == 1.0 for x in p for t in x.flatten())
    (launch,) = optimizer._plan.launches
    inner = [copy for *_, copy in launch.staged] + ([launch.rows.table] if capturable else [])
    assert len(inner) > capturable and not any(x.requires_grad for x in inner)


def test_a_compiled_function_may_take_steps() -> None:
    """A compiler that traced the step would exchange the arrays that the kernels read: it looks at
    nothing that makes or keeps them."""
    p, q = (tensors(torch.float32, (3,), (4,)) for _ in range(2))
    compiled, plain = make("AdamW", p, lr=0.1), make("AdamW", q, lr=0.1)

    def train_one(optimizer: Any, params: list[Tensor], x: Tensor) -> Tensor:
        optimizer.zero_grad()
        loss = sum((w * x).square().sum() for w in params)
        assert isinstance(loss, Tensor)
        loss.backward()
        optimizer.step()
        return loss

    step = torch.compile(train_one, backend="eager")
    for t in range(1, 5):
        x = torch.tensor(float(t))
        assert torch.equal(step(compiled, p, x), train_one(plain, q, x))
        assert same(p, q)
    seen = torch._dynamo.explain(lambda: compiled.step())()
    plain.step()
    files = {Path(f.filename) for r in seen.break_reasons for f in r.user_stack}
    assert Path(launch.__file__) not in files
    closure = torch.compile(compiled.step, backend="eager")
    with torch.no_grad():
        assert closure(lambda: torch.tensor(3.0)) == 3.0
    plain.step()
    assert same(p, q)


def test_a_sparse_gradient_is_refused_whole() -> None:
    p, q = tensors(torch.float32, (4,), (4,))
    optimizer = make("SGD", [p, q])
    before = p.detach().clone()
    p.grad, q.grad = torch.ones(4), torch.ones(4).to_sparse()
    with pytest.raises(RuntimeError, match="dense gradients only, and one is sparse"):
        optimizer.step()
    assert torch.equal(p, before)


def test_a_gradient_of_another_dtype_is_refused_whole() -> None:
    """torch allows it where the parameter says so; a kernel would read its memory as if it were."""
    p, q = tensors(torch.bfloat16, (4,), (4,))
    optimizer = make("SGD", [p, q])
    p.grad = torch.ones(4, dtype=torch.bfloat16)
    q.grad_dtype = None
    for after in (False, True):  # without a plan, and with one
        before = p.detach().clone()
        q.grad = torch.ones(4)
        with pytest.raises(TypeError, match=r"of torch\.bfloat16 is of torch\.float32"):
            optimizer.step()
        assert torch.equal(p, before)
        if not after:
            q.grad = torch.ones(4, dtype=torch.bfloat16)
            optimizer.step()


def lazily_negated(g: Tensor) -> Tensor:
    """Contiguous where it has one element, as it comes out of a backward pass."""
    return torch.complex(torch.zeros_like(g), -g).conj().imag


LAYOUTS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "moved": Tensor.clone,
    "same": lambda g: g,
    "with a graph": lambda g: g.clone().requires_grad_() * 1,
    "turned": lambda g: g.t().contiguous().t(),
    "every second": lambda g: torch.stack([g, g], -1)[..., 0],
    "negated": lambda g: torch._neg_view(-g),
    "lazily": lazily_negated,
}


@pytest.mark.parametrize("quick", [True, False], ids=["guards", "no guards"])
@pytest.mark.parametrize("names", list(itertools.permutations(LAYOUTS, 2)), ids=" then ".join)
def test_gradients_of_any_layout_follow_each_other(
    quick: bool, names: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside an optimizer whose gradients are plain."""
    assert plan_module.Made is not None
    if not quick:
        monkeypatch.setattr(plan_module, "Made", None)
    p, q = (tensors(torch.float32, (2, 5), (1, 1)) for _ in range(2))
    odd, plain = make("SGD", p, lr=0.1, momentum=0.9), make("SGD", q, lr=0.1, momentum=0.9)
    for t, name in enumerate([names[0], names[0], *names, *names], start=1):
        train(plain, q, t, t)
        for x, y in zip(p, q, strict=True):
            assert y.grad is not None
            x.grad = LAYOUTS[name](y.grad)
        odd.step()
        assert same(p, q), (t, name)


# ---- mixed precision and graphs --------------------------------------------------------------


def test_a_gradient_of_another_dtype_in_the_same_memory_is_refused() -> None:
    p = torch.ones(4, dtype=torch.bfloat16, requires_grad=True)
    p.grad_dtype = None
    memory = torch.zeros(16, dtype=torch.uint8)
    optimizer = make("SGD", [p])
    p.grad = memory[:8].view(torch.bfloat16)
    optimizer.step()
    p.grad = memory.view(torch.float32)
    with pytest.raises(TypeError, match=r"of torch\.bfloat16 is of torch\.float32"):
        optimizer.step()


@pytest.mark.parametrize("capturable", [False, True])
def test_an_infinity_on_two_devices_skips_one_step(capturable: bool) -> None:
    """torch adds up what each device found."""
    p = tensors()
    optimizer = make("AdamW", p, capturable=capturable)
    train(optimizer, p, 1, 1)
    before = [x.detach().clone() for x in p]
    optimizer.grad_scale, optimizer.found_inf = torch.ones(()), torch.tensor(2.0)
    train(optimizer, p, 2, 2)
    assert same(p, before)
    assert {float(s["step"]) for s in optimizer.state.values()} == {1.0}


@pytest.mark.parametrize("capturable", [False, True])
def test_amp_unscales_and_skips(capturable: bool) -> None:
    """Gradients times a power of two act as they are; an infinity skips the step and its count."""
    p, q = tensors(), tensors()
    scaled, plain = make("AdamW", p, capturable=capturable), make("AdamW", q)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for t in range(1, 5):
        for k, (a, b) in enumerate(zip(p, q, strict=True)):
            g = torch.Generator().manual_seed(10 * t + k)
            b.grad = torch.randn(b.shape, generator=g)
            a.grad = scaler.scale(b.grad.clone()) if t != 3 else torch.full_like(a, torch.inf)
        scaler.step(scaled)
        scaler.update()
        if t != 3:
            plain.step()
        assert same(p, q)
    assert {float(s["step"]) for s in scaled.state.values()} == {3.0}


def patterns(dtype: torch.dtype) -> Tensor:
    """NaNs of both signs, their payload high, low and full."""
    kind, mantissa = (torch.int16, 7) if dtype == torch.bfloat16 else (torch.int32, 23)
    payloads = [1, 2, 2 ** (mantissa - 1), 2**mantissa - 1]
    top = (255 << mantissa) - (1 << (mantissa + 8))  # with the sign, as a signed integer
    signs = (255 << mantissa, top)
    return torch.tensor([s + x for s in signs for x in payloads], dtype=kind).view(dtype)


@pytest.mark.parametrize("options", [{}, {"state_dtype": torch.float32}], ids=["b16", "mixed"])
@pytest.mark.parametrize("stochastic", [False, True])
@pytest.mark.parametrize("of", ["grad", "state", "scale"])
def test_a_nan_stays_one(of: str, stochastic: bool, options: dict[str, Any]) -> None:
    """To round is to add to the bits of a number; a NaN must not become one so."""
    n = 64  # vectors, and a tail for each pattern
    for k in range(8):
        p = torch.ones(n + 3, dtype=torch.bfloat16, requires_grad=True)
        optimizer = make("Adagrad", [p], stochastic_rounding=stochastic, **options)
        p.grad = torch.ones_like(p)
        optimizer.step()
        if of == "grad":
            p.grad.copy_(patterns(torch.bfloat16)[k].expand_as(p))
        elif of == "state":
            total = optimizer.state[p]["sum"]
            total.copy_(patterns(total.dtype)[k].expand_as(p))
        else:
            optimizer.grad_scale = patterns(torch.float32)[k]
            optimizer.found_inf = torch.zeros(())
        optimizer.step()
        assert p.isnan().all(), (of, k, p)
        assert optimizer.state[p]["sum"].isnan().all(), (of, k)


@pytest.mark.parametrize("name", ["RMSprop", "Adadelta", "Adam", "AdamW"])
def test_capturable_is_the_same_with_its_scalars_elsewhere(name: str) -> None:
    """Constants made by the program from counters and rates in tensors; lr changed in place."""
    p, q = tensors(), tensors()
    rate = torch.tensor(0.25, dtype=torch.float64)
    captured = make(name, p, capturable=True, lr=rate)
    plain = make(name, q, lr=0.25)
    for t in range(1, 5):
        rate.fill_(0.25 / t)
        plain.param_groups[0]["lr"] = 0.25 / t
        train(captured, p, t, t)
        train(plain, q, t, t)
        assert same(p, q)
    assert {float(s["step"]) for s in captured.state.values()} == {4.0}


# ---- large tensors ---------------------------------------------------------------------------


def test_the_work_list_of_a_very_large_tensor() -> None:
    sizes = np.array([3 * 2**31 + 5, 0, 1025], np.int64)
    work = work_list(sizes)
    assert len(work) == 3 * 2**31 // CHUNK + 1 + 2
    assert work[-3:].tolist() == [[0, 3 * 2**31 // CHUNK], [2, 0], [2, 1]]


def test_elements_beyond_two_to_the_31() -> None:
    """The last chunk of a tensor of 2**32 + 3 elements, in memory of which only that is touched."""
    n = 2**32 + 3
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE
    with mmap.mmap(-1, 2 * n, flags=flags) as p, mmap.mmap(-1, 2 * n, flags=flags) as g:
        one = torch.tensor([1.0], dtype=torch.bfloat16).view(torch.uint8).numpy().tobytes()
        p[2 * n - 6 :] = one * 3
        g[2 * n - 6 :] = one * 3
        body = lowered("sgd", frozenset(), zero=frozenset({"weight_decay"}))
        kernel = Kernel(body, "bfloat16", "bfloat16")
        entry, args = np.zeros(1, kernel.entry), np.zeros(1, kernel.args)
        addresses = [np.frombuffer(x, np.uint8, count=1).ctypes.data for x in (p, g)]
        entry["array"][0], entry["n"] = addresses, n
        work = np.array([[0, 2**32 // CHUNK]], np.int32)
        args["entries"], args["work"], args["n_work"] = entry.ctypes.data, work.ctypes.data, 1
        args["few"][0]["k"][0] = body.constants.values(
            {**load("sgd").defaults, "lr": 0.5, "t": 1.0}
        )
        host.program(kernel).launch(args)(())
        half = torch.tensor([0.5], dtype=torch.bfloat16).view(torch.uint8).numpy().tobytes()
        assert p[2 * n - 6 :] == half * 3
        assert p[2 * n - 8 : 2 * n - 6] == b"\0\0"
