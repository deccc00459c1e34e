"""The reference optimizers against their equations, against torch.optim, and as citizens of it.

The equations are written out a second time below, for one scalar, over numbers that carry the
exact value (50 digits) beside a bound on the rounding error of the same operations in floating
point (a running error analysis). So no tolerance here is chosen by hand: each element must lie
within the error which its own operations can have made.
"""

from __future__ import annotations

import copy
import io
import pickle
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from typing import Any

import pytest
import torch
from torch.optim import Optimizer

from optconform.impls.reference import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    Lion,
    RMSprop,
)

DIGITS = Context(prec=50, Emin=-9999, Emax=9999)
DOUBLE = Decimal(2) ** -53  # half an ulp of 1: the relative error of one rounding to nearest
UNIT = {
    torch.float64: DOUBLE,
    torch.float32: Decimal(2) ** -24,
    torch.float16: Decimal(2) ** -11,
    torch.bfloat16: Decimal(2) ** -8,
}
TINY = {  # half the least subnormal number: the absolute error of a rounding that underflows
    torch.float64: Decimal(2) ** -1075,
    torch.float32: Decimal(2) ** -150,
    torch.float16: Decimal(2) ** -25,
    torch.bfloat16: Decimal(2) ** -134,
}


@dataclass(frozen=True)
class Num:
    """An exact value, how far its floating-point twin may be, and the unit that one rounds in."""

    value: Decimal
    error: Decimal = Decimal(0)
    unit: Decimal = DOUBLE

    def rounded(self, unit: Decimal, tiny: Decimal = Decimal(0)) -> Num:
        return Num(self.value, self.error + unit * (abs(self.value) + self.error) + tiny, unit)

    def with_(self, other: Num | float, op: Callable[[Num, Num], tuple[Decimal, Decimal]]) -> Num:
        a, b = self, other if isinstance(other, Num) else Num(Decimal(other))
        unit = max(a.unit, b.unit)  # a double scalar is rounded to the tensor's type first
        a, b = (x if x.unit == unit else x.rounded(unit) for x in (a, b))
        return Num(*op(a, b), unit).rounded(unit)

    def __add__(self, other: Num | float) -> Num:
        return self.with_(other, lambda a, b: (a.value + b.value, a.error + b.error))

    def __sub__(self, other: Num | float) -> Num:
        return self.with_(other, lambda a, b: (a.value - b.value, a.error + b.error))

    def __rsub__(self, other: float) -> Num:
        return Num(Decimal(other)) - self

    def __mul__(self, other: Num | float) -> Num:
        def op(a: Num, b: Num) -> tuple[Decimal, Decimal]:
            error = abs(a.value) * b.error + abs(b.value) * a.error + a.error * b.error
            return a.value * b.value, error

        return self.with_(other, op)

    def __truediv__(self, other: Num | float) -> Num:
        def op(a: Num, b: Num) -> tuple[Decimal, Decimal]:
            quotient, least = a.value / b.value, abs(b.value) - b.error
            assert least > 0, "the denominator may be zero: choose other data"
            return quotient, (a.error + abs(quotient) * b.error) / least

        return self.with_(other, op)

    __radd__, __rmul__ = __add__, __mul__

    def __rtruediv__(self, other: float) -> Num:
        return Num(Decimal(other)) / self

    def __pow__(self, t: float) -> Num:  # of an exact scalar; pow is within one ulp, two units
        assert self.error == 0
        return Num(self.value ** Decimal(t), 2 * self.unit * self.value ** Decimal(t), self.unit)

    def sqrt(self) -> Num:
        root = self.value.sqrt()
        up = (self.value + self.error).sqrt() - root
        down = root - max(self.value - self.error, Decimal(0)).sqrt()
        return Num(root, max(up, down), self.unit).rounded(self.unit)

    def max(self, other: Num) -> Num:
        # Inputs off by e move a maximum by no more than the larger e.
        return Num(max(self.value, other.value), max(self.error, other.error), self.unit)


Slots = dict[str, Num]


def penalized(p: Num, g: Num, o: dict[str, Any]) -> Num:
    g = -1 * g if o["maximize"] else g
    return g + o["weight_decay"] * p if o["weight_decay"] else g


def sgd(p: Num, g: Num, s: Slots, o: dict[str, Any], t: float) -> tuple[Num, Slots]:
    g = penalized(p, g, o)
    if o["momentum"] == 0:
        return p - o["lr"] * g, s
    old = s.get("momentum_buffer")
    b = g if old is None else o["momentum"] * old + (1 - Num(Decimal(o["dampening"]))) * g
    return p - o["lr"] * (g + o["momentum"] * b if o["nesterov"] else b), {"momentum_buffer": b}


def adagrad(p: Num, g: Num, s: Slots, o: dict[str, Any], t: float) -> tuple[Num, Slots]:
    g = penalized(p, g, o)
    total = s["sum"] + g * g if "sum" in s else o["initial_accumulator_value"] + g * g
    lr = o["lr"] / (1 + Num(Decimal(t - 1)) * o["lr_decay"])
    return p - lr * g / (total.sqrt() + o["eps"]), {"sum": total}


def ema(weight: float, old: Num | None, new: Num) -> Num:
    fresh = (1 - Num(Decimal(weight))) * new
    return fresh if old is None else weight * old + fresh


def rmsprop(p: Num, g: Num, s: Slots, o: dict[str, Any], t: float) -> tuple[Num, Slots]:
    g = penalized(p, g, o)
    new = {"square_avg": ema(o["alpha"], s.get("square_avg"), g * g)}
    v = new["square_avg"]
    if o["centered"]:
        a = new["grad_avg"] = ema(o["alpha"], s.get("grad_avg"), g)
        v = (v - a * a).max(Num(Decimal(0), unit=v.unit))
    step = g / (v.sqrt() + o["eps"])
    if o["momentum"]:
        old = s.get("momentum_buffer")
        step = new["momentum_buffer"] = step if old is None else o["momentum"] * old + step
    return p - o["lr"] * step, new


def adadelta(p: Num, g: Num, s: Slots, o: dict[str, Any], t: float) -> tuple[Num, Slots]:
    g = penalized(p, g, o)
    v = ema(o["rho"], s.get("square_avg"), g * g)
    u = s.get("acc_delta", Num(Decimal(0), unit=g.unit))
    delta = (u + o["eps"]).sqrt() / (v + o["eps"]).sqrt() * g
    new = {"square_avg": v, "acc_delta": ema(o["rho"], u, delta * delta)}
    return p - o["lr"] * delta, new


def adam_move(p: Num, g: Num, s: Slots, o: dict[str, Any], t: float) -> tuple[Num, Slots]:
    beta1, beta2 = o["betas"]
    m = ema(beta1, s.get("exp_avg"), g)
    v = ema(beta2, s.get("exp_avg_sq"), g * g)
    new = {"exp_avg": m, "exp_avg_sq": v}
    if o["amsgrad"]:
        old = s.get("max_exp_avg_sq")
        v = new["max_exp_avg_sq"] = v if old is None else v.max(old)
    correction1, correction2 = (1 - Num(Decimal(beta)) ** t for beta in (beta1, beta2))
    root = v.sqrt() / correction2.sqrt()
    return p - o["lr"] / correction1 * m / (root + o["eps"]), new


def adam(p: Num, g: Num, s: Slots, o: dict[str, Any], t: float) -> tuple[Num, Slots]:
    return adam_move(p, penalized(p, g, o), s, o, t)


def adamw(p: Num, g: Num, s: Slots, o: dict[str, Any], t: float) -> tuple[Num, Slots]:
    kept = (1 - Num(Decimal(o["lr"])) * o["weight_decay"]) * p
    return adam_move(kept, -1 * g if o["maximize"] else g, s, o, t)


def adamax(p: Num, g: Num, s: Slots, o: dict[str, Any], t: float) -> tuple[Num, Slots]:
    g, (beta1, beta2) = penalized(p, g, o), o["betas"]
    m = ema(beta1, s.get("exp_avg"), g)
    size = (-1 * g if g.value < 0 else g) + o["eps"]
    old = s.get("exp_inf")
    u = size if old is None else (beta2 * old).max(size)
    return p - o["lr"] / (1 - Num(Decimal(beta1)) ** t) * m / u, {"exp_avg": m, "exp_inf": u}


def lion(p: Num, g: Num, s: Slots, o: dict[str, Any], t: float) -> tuple[Num, Slots]:
    g, (beta1, beta2) = -1 * g if o["maximize"] else g, o["betas"]
    c = ema(beta1, s.get("exp_avg"), g)
    assert abs(c.value) > c.error or c.value == c.error == 0, "its sign is open: choose other data"
    sign = (c.value > 0) - (c.value < 0)
    kept = (1 - Num(Decimal(o["lr"])) * o["weight_decay"]) * p
    return kept - o["lr"] * Num(Decimal(sign), unit=p.unit), {
        "exp_avg": ema(beta2, s.get("exp_avg"), g)
    }


EQUATIONS = {
    "SGD": sgd,
    "Adagrad": adagrad,
    "RMSprop": rmsprop,
    "Adadelta": adadelta,
    "Adam": adam,
    "AdamW": adamw,
    "Adamax": adamax,
    "Lion": lion,
}
OURS = (SGD, Adagrad, RMSprop, Adadelta, Adam, AdamW, Adamax, Lion)
THEIRS = {
    cls.__name__: getattr(torch.optim, cls.__name__)
    for cls in OURS
    if hasattr(torch.optim, cls.__name__)
}
SLOTS = {
    "SGD": {"momentum_buffer"},
    "Adagrad": {"step", "sum"},
    "RMSprop": {"step", "square_avg", "momentum_buffer", "grad_avg"},
    "Adadelta": {"step", "square_avg", "acc_delta"},
    "Adam": {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"},
    "AdamW": {"step", "exp_avg", "exp_avg_sq", "max_exp_avg_sq"},
    "Adamax": {"step", "exp_avg", "exp_inf"},
    "Lion": {"exp_avg"},
}
CASES = [
    (SGD, {"lr": 0.1}),
    (SGD, {"lr": 0.1, "dampening": 0.5}),  # without momentum: no effect
    (SGD, {"lr": 0.1, "momentum": 0.9}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "dampening": 0.25, "weight_decay": 0.1, "maximize": True}),
    (SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    (Adagrad, {}),
    (Adagrad, {"lr": 0.1, "lr_decay": 0.5, "weight_decay": 0.1, "maximize": True}),
    (Adagrad, {"lr": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3}),
    (RMSprop, {}),
    (RMSprop, {"alpha": 0.5, "weight_decay": 0.1, "maximize": True, "eps": 1e-3}),
    (RMSprop, {"momentum": 0.9}),
    (RMSprop, {"centered": True}),
    (RMSprop, {"centered": True, "momentum": 0.5, "alpha": 0.9, "weight_decay": 0.1}),
    (Adadelta, {}),
    (Adadelta, {"lr": 0.5, "rho": 0.5, "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    (Adam, {}),
    (Adam, {"lr": 0.1, "betas": (0.5, 0.75), "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    (Adam, {"lr": 0.1, "betas": (0.5, 0.5), "amsgrad": True}),
    (AdamW, {}),
    (AdamW, {"lr": 0.1, "betas": (0.5, 0.75), "eps": 1e-3, "weight_decay": 0.5, "maximize": True}),
    (AdamW, {"lr": 0.1, "betas": (0.5, 0.5), "amsgrad": True}),
    (Adam, {"lr": 0.0}),
    (Adamax, {}),
    (Adamax, {"lr": 0.1, "betas": (0.5, 0.75), "eps": 1e-3, "weight_decay": 0.1, "maximize": True}),
    (Lion, {}),
    (Lion, {"lr": 0.1, "betas": (0.5, 0.75), "weight_decay": 0.5, "maximize": True}),
]
FULL = [  # each algorithm once, with all its state
    (SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    (Adagrad, {"lr": 0.1, "lr_decay": 0.5, "initial_accumulator_value": 0.5}),
    (RMSprop, {"momentum": 0.9, "centered": True}),
    (Adadelta, {"weight_decay": 0.1}),
    (Adam, {"lr": 0.1, "amsgrad": True, "weight_decay": 0.1}),
    (AdamW, {"lr": 0.1, "amsgrad": True}),
    (Adamax, {"lr": 0.1, "weight_decay": 0.1}),
    (Lion, {"lr": 0.1, "weight_decay": 0.1}),
]


def name_of(value: Any) -> str | None:
    if isinstance(value, type):
        return value.__name__
    if isinstance(value, dict):
        return "-".join(f"{k}={v}" for k, v in value.items()) or "defaults"
    return None


each_case = pytest.mark.parametrize(("cls", "options"), CASES, ids=name_of)
each_full = pytest.mark.parametrize(("cls", "options"), FULL, ids=name_of)
with_torch = pytest.mark.parametrize(
    ("cls", "options"), [c for c in CASES if c[0].__name__ in THEIRS], ids=name_of
)
each_class = pytest.mark.parametrize("cls", OURS, ids=name_of)


def parameter(*values: float, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.nn.Parameter(torch.tensor(values or (0.5, -1.25, 0.75), dtype=dtype))


def gradients(n: int, like: torch.Tensor, seed: int = 0) -> list[torch.Tensor]:
    """Gradients of either sign, |g| in [1/4, 1]; the last element's are all zero."""
    made = []
    generator = torch.Generator().manual_seed(seed)
    for _ in range(n):
        g = torch.rand(like.shape, generator=generator, dtype=torch.float64) * 1.5 - 0.75
        g += 0.25 * g.sign()
        g[-1] = 0
        made.append(g.to(like.dtype))
    return made


def make(cls: Any, params: Iterable[Any], options: dict[str, Any]) -> Optimizer:
    """An optimizer; lr is required of our SGD alone."""
    made: Optimizer = cls(params, **({"lr": 0.1, **options} if cls is SGD else options))
    return made


def numbers(x: torch.Tensor, unit: Decimal) -> list[Num]:
    return [Num(Decimal(v), unit=unit) for v in x.detach().double().flatten().tolist()]


def check_step(opt: Optimizer, slack: int = 1) -> None:
    """Step once from the gradients in place; every element must obey the equations.

    What the step starts from, options and count included, is read from the optimizer. A bound
    grows by ``slack``, which is 2 for torch.optim: its ``lerp`` rounds g - m as well.
    """
    before = [
        (
            group,
            p,
            p.detach().clone(),
            None if p.grad is None else p.grad.clone(),
            {k: v.clone() for k, v in opt.state.get(p, {}).items()},
        )
        for group in opt.param_groups
        for p in group["params"]
    ]
    opt.step()
    for group, p, old, g, state in before:
        if g is None:
            assert torch.equal(p, old)
            after = opt.state.get(p, {})
            assert after.keys() == state.keys()
            assert all(torch.equal(after[k], state[k]) for k in state)
            continue
        assert torch.equal(p.grad, g)
        check_tensor(type(opt).__name__, group, p, old, g, state, opt.state.get(p, {}), slack)


def check_tensor(
    name: str,
    group: dict[str, Any],
    p: torch.Tensor,
    old: torch.Tensor,
    g: torch.Tensor,
    state: dict[str, torch.Tensor],
    after: dict[str, torch.Tensor],
    slack: int,
) -> None:
    options = {**group, "lr": float(group["lr"])}
    t = float(state["step"]) + 1 if "step" in state else 1.0
    if "step" in SLOTS[name]:
        assert after["step"].item() == t
        assert (after["step"].dtype, after["step"].shape) == (torch.float32, ())
    # The narrow types are computed in float32 and rounded when stored.
    unit, tiny = UNIT[p.dtype], TINY[p.dtype]
    inner = min(unit, UNIT[torch.float32])
    slots = {k: numbers(v, inner) for k, v in state.items() if k != "step"}
    with localcontext(DIGITS):
        for i, (theta, grad) in enumerate(zip(numbers(old, inner), numbers(g, inner), strict=True)):
            one = {k: v[i] for k, v in slots.items()}
            want, memory = EQUATIONS[name](theta, grad, one, options, t)
            assert {*memory} == {*after} - {"step"}
            for what, expected in {"parameter": want, **memory}.items():
                tensor = p if what == "parameter" else after[what]
                assert tensor.dtype == p.dtype
                if unit != inner:
                    expected = expected.rounded(unit)
                got = Decimal(tensor.detach().double().flatten()[i].item())
                assert abs(got - expected.value) <= slack * (expected.error + tiny), what


def train(opt: Optimizer, steps: int, seed: int = 0, slack: int = 1) -> None:
    """Checked steps, on the same gradients for the same seed."""
    params = [p for group in opt.param_groups for p in group["params"]]
    streams = [gradients(steps, p, seed + i) for i, p in enumerate(params)]
    for grads in zip(*streams, strict=True):
        for p, g in zip(params, grads, strict=True):
            p.grad = g.clone()
        check_step(opt, slack)


def snapshot(opt: Optimizer) -> Any:
    return copy.deepcopy(([g["params"] for g in opt.param_groups], opt.state_dict()))


def same(a: Any, b: Any) -> bool:
    """Equality of nested containers, bit by bit in the tensors (and so in their types)."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return bool(a == b)


# The equations.


@pytest.mark.parametrize("dtype", UNIT, ids=str)
@each_case
def test_each_step_obeys_the_equations(cls: Any, options: Any, dtype: torch.dtype) -> None:
    p = parameter(dtype=dtype)
    start = p.detach().clone()
    train(make(cls, [p], options), 7)  # the signs of an even number may cancel
    assert p.isfinite().all()
    if options.get("lr") == 0:
        assert torch.equal(p, start)
    elif dtype in (torch.float32, torch.float64):  # a narrow type may round small steps away
        assert (p[:2] != start[:2]).all()


@with_torch
def test_torch_obeys_the_same_equations(cls: Any, options: Any) -> None:
    """Else the equations above would be a private reading."""
    train(make(THEIRS[cls.__name__], [parameter()], {**options, "foreach": False}), 6, slack=2)


@with_torch
def test_ten_steps_agree_with_torch(cls: Any, options: Any) -> None:
    p, q = parameter(), parameter()
    ours = make(cls, [p], options)
    theirs = make(THEIRS[cls.__name__], [q], {"lr": 0.1, **options} if cls is SGD else options)
    grads = gradients(10, p)
    with localcontext(DIGITS):
        model: list[tuple[Num, Slots]] = [(x, {}) for x in numbers(p, DOUBLE)]
        for t, g in enumerate(grads, 1):
            for optimizer, x in ((ours, p), (theirs, q)):
                x.grad = g.clone()
                optimizer.step()
            model = [  # ten steps on end, for their accumulated bound
                EQUATIONS[cls.__name__](x, dg, s, ours.param_groups[0], float(t))
                for (x, s), dg in zip(model, numbers(g, DOUBLE), strict=True)
            ]
        # Ours is within one bound of the exact value, torch within two (see check_step).
        for a, b, (exact, _) in zip(p.tolist(), q.tolist(), model, strict=True):
            assert abs(Decimal(a) - Decimal(b)) <= 3 * exact.error


@each_full
def test_complex_parameters_are_pairs_of_reals(cls: Any, options: Any) -> None:
    pairs = parameter(0.5, -1.25, 0.75, 0.25)
    z = torch.nn.Parameter(torch.view_as_complex(pairs.detach().clone().reshape(2, 2)))
    real, complex_ = make(cls, [pairs], options), make(cls, [z], options)
    for g in gradients(5, pairs):
        pairs.grad = g
        z.grad = torch.view_as_complex(g.reshape(2, 2)).conj_physical().conj()  # a lazy conjugate
        real.step()
        complex_.step()
    assert torch.equal(torch.view_as_real(z).flatten(), pairs)
    for name, value in complex_.state[z].items():
        if name != "step":
            assert value.is_complex()
            assert torch.equal(torch.view_as_real(value).flatten(), real.state[pairs][name])


@each_full
def test_a_tensor_lr_is_read_at_each_step(cls: Any, options: Any) -> None:
    lr = torch.tensor([0.25])
    p, q = parameter(), parameter()
    tensor, number = make(cls, [p], {**options, "lr": lr}), make(cls, [q], {**options, "lr": 0.25})
    for value, g in zip((0.25, 0.125, 0.5), gradients(3, p), strict=True):
        lr.fill_(value)
        number.param_groups[0]["lr"] = value
        p.grad, q.grad = g.clone(), g.clone()
        tensor.step()
        number.step()
        assert torch.equal(p, q)
    assert not torch.equal(p, parameter())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
@each_class
def test_zero_gradients_leave_narrow_parameters(cls: Any, dtype: torch.dtype) -> None:
    """The default eps is 0 in float16: a denominator in that type would make 0/0."""
    p, q = parameter(dtype=dtype), parameter(dtype=dtype)
    large = {"lr": 0.1} if cls is Lion else {}  # by lr it moves, whatever the gradient
    opt = make(cls, [p, q], {"weight_decay": 0, **large})
    p.grad, q.grad = torch.zeros_like(p), torch.ones_like(q)
    opt.step()
    assert torch.equal(p, parameter(dtype=dtype))
    assert (q < parameter(dtype=dtype)).any()


def test_a_constant_gradient_does_not_break_the_centered_root() -> None:
    """v - a² tends to 0 and rounds below it: torch.optim's root is NaN by step 1225 here."""
    p = torch.nn.Parameter(torch.zeros(50))
    opt = RMSprop([p], centered=True)
    p.grad = torch.linspace(0.1, 3, 50)
    for _ in range(1500):
        opt.step()
    assert (p < 0).all()


@each_class
def test_the_count_passes_256_in_bfloat16(cls: Any) -> None:
    p = parameter(dtype=torch.bfloat16)
    opt = make(cls, [p], {})
    p.grad = gradients(1, p)[0]
    for _ in range(299):
        opt.step()
    check_step(opt)
    if "step" in SLOTS[cls.__name__]:
        assert opt.state[p]["step"].item() == 300


# Groups.


@each_full
def test_options_of_a_group(cls: Any, options: Any) -> None:
    p, q = parameter(), parameter()
    group = {"params": [q], "lr": 0.5, "weight_decay": 0.25, "maximize": True}
    given = dict(group)
    opt = make(cls, [{"params": [p]}, group], options)
    train(opt, 4)
    assert group == given
    assert opt.param_groups[1]["lr"] == 0.5
    assert not torch.equal(p, q)


@each_full
def test_a_frozen_layer_joins(cls: Any, options: Any) -> None:
    p, q = parameter(), parameter(1.0, 2.0)
    opt = make(cls, [p], options)
    train(opt, 3)
    opt.add_param_group({"params": q, "lr": 0.25})
    train(opt, 3)
    counts = [opt.state[x]["step"].item() for x in (p, q) if "step" in SLOTS[cls.__name__]]
    assert counts in ([], [6, 3])
    assert not torch.equal(q, parameter(1.0, 2.0))


def test_adagrad_starts_each_group_from_its_own_value() -> None:
    p, q, r = parameter(), parameter(), parameter()
    groups: list[dict[str, Any]] = [
        {"params": [p]},
        {"params": [q], "initial_accumulator_value": 3.0},
    ]
    opt = Adagrad(groups, initial_accumulator_value=2.0)
    opt.add_param_group({"params": [r], "initial_accumulator_value": 4.0})
    assert [opt.state[x]["sum"].tolist() for x in (p, q, r)] == [[x] * 3 for x in (2.0, 3.0, 4.0)]
    assert [opt.state[x]["step"].item() for x in (p, q, r)] == [0, 0, 0]
    train(opt, 3)


def test_adagrad_shares_the_memory_of_its_sums() -> None:
    p, q = parameter(), parameter()
    opt = Adagrad([p])
    opt.add_param_group({"params": [q]})
    opt.share_memory()
    train(opt, 2)
    for x in (p, q):
        assert opt.state[x]["sum"].is_shared()


@each_full
def test_an_option_turned_on_in_training(cls: Any, options: Any) -> None:
    """The state it needs appears then; torch.optim stops with a KeyError."""
    opt = make(cls, [parameter()], {"lr": 0.1})
    train(opt, 2)
    opt.param_groups[0].update(options)
    train(opt, 2)


# Gradients.


@each_full
def test_none_and_late_gradients(cls: Any, options: Any) -> None:
    p, q = parameter(), parameter()
    opt = make(cls, [p, q], options)
    for g in gradients(3, p):
        p.grad = g
        check_step(opt)  # which holds q to be left as it was
    if cls is not Adagrad:
        assert q not in opt.state
    train(opt, 2)
    if "step" in SLOTS[cls.__name__]:
        assert [opt.state[x]["step"].item() for x in (p, q)] == [5, 2]
    opt.zero_grad()
    held = snapshot(opt)
    opt.step()
    assert same(snapshot(opt), held)


@each_class
def test_sparse_gradients_are_refused_with_advice(cls: Any) -> None:
    p, q = parameter(), parameter()
    opt = make(cls, [{"params": [p]}, {"params": [q]}], {})
    p.grad = torch.ones_like(p)
    q.grad = torch.ones_like(q).to_sparse()
    held = snapshot(opt)
    with pytest.raises(RuntimeError, match=rf"^{cls.__name__} .*dense.*SparseAdam"):
        opt.step()
    assert same(snapshot(opt), held)
    q.grad = q.grad.to_dense()
    train(opt, 1)


@each_full
def test_closure(cls: Any, options: Any) -> None:
    p, q = parameter(), parameter()
    opt, plain = make(cls, [p], options), make(cls, [q], options)
    calls = []

    def closure() -> Any:
        assert torch.is_grad_enabled()
        opt.zero_grad()
        loss: Any = (p * p).sum()
        loss.backward()
        calls.append(loss)
        return loss

    with torch.no_grad():
        assert opt.step(closure) is calls[0]
    assert len(calls) == 1
    q.grad = 2 * q.detach()
    plain.step()
    assert torch.equal(p, q)
    assert not torch.equal(p, parameter())
    assert p.requires_grad and p.grad_fn is None


@each_class
def test_zero_grad(cls: Any) -> None:
    p = parameter()
    opt = make(cls, [p], {})
    p.grad = torch.ones_like(p)
    opt.zero_grad(set_to_none=False)
    assert torch.equal(p.grad, torch.zeros_like(p))
    opt.zero_grad()
    assert p.grad is None


# Checkpoints.


def passed_on(state_dict: dict[str, Any]) -> dict[str, Any]:
    """Through a file, as a checkpoint goes."""
    file = io.BytesIO()
    torch.save(state_dict, file)
    file.seek(0)
    loaded: dict[str, Any] = torch.load(file)
    return loaded


def two_groups(cls: Any, options: Any) -> Optimizer:
    first = {"params": [parameter()]}
    return make(cls, [first, {"params": [parameter(1.0, 2.0)], "lr": 0.25}], options)


def copy_parameters(source: Optimizer, target: Optimizer) -> None:
    with torch.no_grad():
        for a, b in zip(source.param_groups, target.param_groups, strict=True):
            for x, y in zip(a["params"], b["params"], strict=True):
                y.copy_(x)


@pytest.mark.parametrize("way", ["ours to ours", "ours to theirs", "theirs to ours"])
@each_full
def test_checkpoints_pass(cls: Any, options: Any, way: str) -> None:
    torch_cls = THEIRS.get(cls.__name__)
    if torch_cls is None and way != "ours to ours":
        return
    source_cls, target_cls = {
        "ours to ours": (cls, cls),
        "ours to theirs": (cls, torch_cls),
        "theirs to ours": (torch_cls, cls),
    }[way]
    source = two_groups(source_cls, options)
    train(source, 4, slack=2)
    target = two_groups(target_cls, {"lr": 0.7, "weight_decay": 0.7})  # the checkpoint's count
    target.load_state_dict(passed_on(source.state_dict()))
    copy_parameters(source, target)
    assert same(target.state_dict()["state"], source.state_dict()["state"])
    assert {*target.state_dict()["state"][0]} == SLOTS[cls.__name__]
    for a, b in zip(source.param_groups, target.param_groups, strict=True):
        shared = a.keys() & b.keys() - {"params"}
        assert {"lr", "weight_decay", "maximize"} <= shared
        assert {k: a[k] for k in shared} == {k: b[k] for k in shared}
    train(target, 3, seed=9, slack=2)
    train(source, 3, seed=9, slack=2)
    if source_cls is target_cls:
        assert same(snapshot(target), snapshot(source))

    # And the way back, with what the one in the middle did not know.
    again = two_groups(source_cls, {})
    again.load_state_dict(passed_on(target.state_dict()))
    copy_parameters(target, again)
    assert source.param_groups[0].keys() <= again.param_groups[0].keys()
    train(again, 2, slack=2)


@each_full
def test_a_loaded_checkpoint_stays_as_it_was(cls: Any, options: Any) -> None:
    source = two_groups(cls, options)
    train(source, 3)
    checkpoint = copy.deepcopy(source.state_dict())
    held = copy.deepcopy(checkpoint)
    target = two_groups(cls, options)
    target.load_state_dict(checkpoint)
    train(target, 2)
    assert same(checkpoint, held)
    assert not same(target.state_dict(), held)


@pytest.mark.parametrize("kind", [int, float, torch.float64, torch.bfloat16], ids=str)
@each_full
def test_counts_of_any_type_load(cls: Any, options: Any, kind: Any) -> None:
    source = two_groups(cls, options)
    train(source, 3)
    checkpoint = copy.deepcopy(source.state_dict())
    for state in checkpoint["state"].values():
        if "step" in state:
            count = state["step"].item()
            is_dtype = isinstance(kind, torch.dtype)
            state["step"] = torch.tensor(count, dtype=kind) if is_dtype else kind(count)
    target = two_groups(cls, {})
    target.load_state_dict(checkpoint)
    copy_parameters(source, target)
    assert same(target.state_dict(), source.state_dict())
    train(target, 2)


def test_sgd_keeps_nothing_without_momentum() -> None:
    p = parameter()
    opt = SGD([p], lr=0.1)
    train(opt, 2)
    assert opt.state_dict()["state"] == {}
    assert not torch.equal(p, parameter())


def test_the_empty_buffer_of_an_old_sgd() -> None:
    p = parameter()
    opt = SGD([p], lr=0.1, momentum=0.9)
    opt.load_state_dict({**opt.state_dict(), "state": {0: {"momentum_buffer": None}}})
    assert "momentum_buffer" not in opt.state[p]
    train(opt, 2)


@each_full
def test_pickles_and_copies(cls: Any, options: Any) -> None:
    source = two_groups(cls, options)
    train(source, 3)
    twins = [pickle.loads(pickle.dumps(source)), copy.deepcopy(source)]
    train(source, 2, seed=5)
    for twin in twins:
        train(twin, 2, seed=5)
        assert same(snapshot(twin), snapshot(source))


NEWER: dict[str, dict[str, Any]] = {
    "SGD": {"nesterov": False, "maximize": False, "dampening": 0},
    "Adagrad": {"eps": 1e-10, "initial_accumulator_value": 0, "maximize": False},
    "RMSprop": {"momentum": 0, "centered": False, "maximize": False},
    "Adadelta": {"maximize": False, "eps": 1e-6},
    "Adam": {"amsgrad": False, "maximize": False, "decoupled_weight_decay": False},
    "AdamW": {"amsgrad": False, "maximize": False, "decoupled_weight_decay": True},
    "Adamax": {"maximize": False, "eps": 1e-8},
    "Lion": {"maximize": False, "weight_decay": 0},
}


@each_class
def test_old_pickles_and_checkpoints(cls: Any) -> None:
    """Written before an option was known: it has the value it is off by, whatever we run with."""
    newer = NEWER[cls.__name__]
    old = make(cls, [parameter()], {})
    train(old, 2)
    checkpoint = copy.deepcopy(old.state_dict())
    for name in newer:
        del old.param_groups[0][name], checkpoint["param_groups"][0][name]
        old.defaults.pop(name)
    loaded = make(cls, [parameter()], {"maximize": True})
    loaded.load_state_dict(checkpoint)
    copy_parameters(old, loaded)
    for opt in (pickle.loads(pickle.dumps(old)), loaded):
        group = opt.param_groups[0]
        assert {name: group[name] for name in newer} == newer
        train(opt, 2)


def test_adam_and_adamw_do_not_take_each_other_for_themselves() -> None:
    adam, adamw = Adam([parameter()], weight_decay=0.1), AdamW([parameter()], weight_decay=0.1)
    for opt in (adam, adamw):
        train(opt, 1)
    held = snapshot(adam)
    with pytest.raises(ValueError, match=r"^Adam has .* got True .* 0\.1.*AdamW"):
        adam.load_state_dict(adamw.state_dict())
    assert same(snapshot(adam), held)
    adamw.load_state_dict(adam.state_dict())  # as torch.optim does
    assert adamw.param_groups[0]["decoupled_weight_decay"] is True
    train(adamw, 1)


@each_class
def test_a_checkpoint_of_other_groups_is_refused(cls: Any) -> None:
    opt = make(cls, [parameter()], {})
    train(opt, 1)
    held = snapshot(opt)
    with pytest.raises(ValueError, match="groups"):
        opt.load_state_dict(two_groups(cls, {}).state_dict())
    assert same(snapshot(opt), held)


# Refusals.

NAN, INF = float("nan"), float("inf")
COMMON = [
    ("lr", -0.125, "-0.125"),
    ("lr", NAN, "nan"),
    ("lr", INF, "inf"),
    ("lr", "fast", "'fast'"),
    ("lr", None, "None"),
    ("lr", torch.tensor(-0.125), r"tensor\(-0.125"),
    ("lr", torch.tensor([0.5, 0.25]), r"tensor\(\[0.5"),
    ("weight_decay", -0.125, "-0.125"),
    ("weight_decay", NAN, "nan"),
]
EPS = [("eps", -1e-8, "-1e-08"), ("eps", NAN, "nan")]
BAD_BETAS: list[tuple[str, Any, str]] = [
    ("betas", (1.0, 0.999), r"\(1.0, 0.999\)"),
    ("betas", (0.9, 1.0), r"\(0.9, 1.0\)"),
    ("betas", (-0.1, 0.999), r"\(-0.1, 0.999\)"),
    ("betas", (0.9, NAN), r"\(0.9, nan\)"),
    ("betas", (0.9, 0.99, 0.999), r"\(0.9, 0.99, 0.999\)"),
    ("betas", 0.9, "0.9"),
]
OWN: dict[str, list[tuple[str, Any, str]]] = {
    "SGD": [
        ("momentum", -0.5, "-0.5"),
        ("momentum", NAN, "nan"),
        ("dampening", NAN, "nan"),
        ("dampening", 1.5, "1.5"),
    ],
    "Adagrad": [
        *EPS,
        ("lr_decay", -0.5, "-0.5"),
        ("initial_accumulator_value", -0.5, "-0.5"),
    ],
    "RMSprop": [*EPS, ("alpha", -0.5, "-0.5"), ("alpha", 1.5, "1.5"), ("momentum", -0.5, "-0.5")],
    "Adadelta": [*EPS, ("rho", -0.5, "-0.5"), ("rho", 1.5, "1.5"), ("rho", NAN, "nan")],
    "Adam": [*EPS, *BAD_BETAS],
    "AdamW": [*EPS, *BAD_BETAS],
    "Adamax": [*EPS, *BAD_BETAS],
    "Lion": BAD_BETAS,
}


@pytest.mark.parametrize("where", ["constructor", "group", "add_param_group", "load_state_dict"])
@pytest.mark.parametrize(
    ("cls", "option", "value", "shown"),
    [(cls, *bad) for cls in OURS for bad in (*COMMON, *OWN[cls.__name__])],
)
def test_refusals(cls: Any, option: str, value: Any, shown: str, where: str) -> None:
    refused = pytest.raises(ValueError, match=rf"^{cls.__name__} .*{option}.*got .*{shown}.*\.$")
    if where == "constructor":
        with refused:
            make(cls, [parameter()], {option: value})
        return
    p = parameter()
    group: dict[str, Any] = {"params": [parameter()], option: value}
    if where == "group":
        with refused:
            make(cls, [{"params": [p]}, group], {})
        assert {*group} == {"params", option}
        return
    opt = make(cls, [p], {})
    train(opt, 1)
    held = snapshot(opt)
    if where == "add_param_group":
        with refused:
            opt.add_param_group(group)
        assert {*group} == {"params", option}
    else:
        checkpoint = make(cls, [parameter()], {}).state_dict()
        checkpoint["param_groups"][0][option] = value
        with refused:
            opt.load_state_dict(checkpoint)
    assert same(snapshot(opt), held)
    assert len(opt.state) <= 1
    train(opt, 1)


@each_class
def test_a_bad_default_is_refused_though_no_group_uses_it(cls: Any) -> None:
    with pytest.raises(ValueError, match=r"lr.*got -0\.5"):
        cls([{"params": [parameter()], "lr": 0.1}], lr=-0.5)


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        ({"nesterov": True}, "momentum 0 and dampening 0"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.5}, "momentum 0.9 and dampening 0.5"),
    ],
)
def test_nesterov_needs_momentum_without_dampening(options: Any, shown: str) -> None:
    with pytest.raises(ValueError, match=f"^SGD .*got {shown}"):
        SGD([parameter()], 0.1, **options)
    opt = SGD([parameter()], 0.1)
    with pytest.raises(ValueError, match=f"^SGD .*got {shown}"):
        opt.add_param_group({"params": [parameter()], **options})
    assert len(opt.param_groups) == 1


def test_sgd_has_no_default_lr() -> None:
    with pytest.raises(TypeError, match="lr"):
        SGD([parameter()])  # type: ignore[call-arg]


@each_class
def test_parameters_are_refused_as_in_torch(cls: Any) -> None:
    p = parameter()
    opt = make(cls, [p], {})
    for group, error, words in (
        ({"params": [p]}, ValueError, "more than one parameter group"),
        ({"params": [p * 2]}, ValueError, "non-leaf"),
        ({"params": [1.0]}, TypeError, "Tensors"),
        ([p], TypeError, "dict"),
    ):
        with pytest.raises(error, match=words):
            opt.add_param_group(group)  # type: ignore[arg-type]
        assert len(opt.param_groups) == 1 and {*opt.state} <= {p}
    with pytest.raises(ValueError, match="empty"):
        make(cls, [], {})


@pytest.mark.parametrize("cls", [Adam, AdamW], ids=name_of)
def test_betas_at_the_ends_and_as_a_list(cls: Any) -> None:
    """torch.optim refuses the integer 0, and JSON turns a tuple into a list."""
    for betas in ((0, 0.999), (0.0, 0.0), [0.9, 0.99]):
        train(make(cls, [parameter()], {"betas": betas}), 3)


@pytest.mark.parametrize(("cls", "option"), [(Adadelta, "rho"), (RMSprop, "alpha")], ids=name_of)
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_averages_at_the_ends(cls: Any, option: str, value: float) -> None:
    train(make(cls, [parameter()], {option: value, "eps": 1e-3}), 3)
