"""Right in every other way, optimizers with several deviations at once.

``Adam17``, ``HiddenAdam17``, ``HiddenSingleAdam17`` and ``HiddenFewAdam17`` deviate in what
``deviations("Adam", 17)`` says.  *Hidden* keeps the state where nobody looks, *Single* computes
with options in float32, *Few* takes few of the options.  Plain torch that shares no code with the
specs: the truth that identification is held against.
"""

import inspect
import random
import re
from typing import ClassVar

import torch
from wrong import Hidden

DECAYS = [
    "l2", "decoupled", "decoupled-no-lr", "decoupled-relative-lr", "decoupled-lr-squared", "none",
]  # fmt: skip
AXES = {  # the default first
    "SGD": {
        "decay": DECAYS,
        "decay_order": ["before", "after"],
        "momentum": ["heavy-ball", "lr-in-buffer", "ema"],
        "first_buffer": ["gradient", "dampened"],
        "nesterov_form": ["pytorch", "old-buffer", "averaged"],
    },
    "Adagrad": {
        "decay": DECAYS,
        "decay_order": ["before", "after"],
        "eps": ["outside", "inside", "inside-and-outside", "clamp", "none"],
        "accumulator_init": ["classic", "zero", "one", "0.1", "0.37"],
    },
    "RMSprop": {
        "decay": DECAYS,
        "decay_order": ["before", "after"],
        "eps": ["outside", "hat", "inside", "inside-and-outside", "clamp", "none"],
        "bias_correction": ["none", "second-only"],
        "momentum": ["heavy-ball", "lr-in-buffer", "ema"],
        "accumulator_init": ["zero", "one", "0.1", "0.37"],
    },
    "Adadelta": {
        "decay": DECAYS,
        "decay_order": ["before", "after"],
        "eps": ["inside", "outside", "none"],
        "accumulator_init": ["zero", "one", "0.1", "0.37"],
    },
    "Adam": {
        "decay": [*DECAYS, "l2-after-momentum"],
        "decay_order": ["before", "after"],
        "eps": ["outside", "hat", "inside", "inside-and-outside", "clamp", "none"],
        "bias_correction": ["both", "none", "first-only", "second-only"],
        "amsgrad_max": ["raw", "corrected"],
    },
}


def deviations(family: str, number: int) -> dict[str, str]:
    """Which of the axes differ from the default, and how: one to four of them."""
    rng = random.Random(f"{family} {number}")
    drawn: dict[str, str] = {}
    while not drawn:
        drawn = _drawn(family, rng)
    return drawn


def _drawn(family: str, rng: random.Random) -> dict[str, str]:
    axes = AXES[family]
    some = rng.sample(list(axes), min(len(axes), rng.choice([1, 2, 2, 3, 3, 4])))
    drawn = {axis: rng.choice(axes[axis][1:]) for axis in some}
    if not drawn.get("decay", "l2").startswith("decoupled"):
        drawn.pop("decay_order", None)
    if drawn.get("momentum") != "ema" and drawn.get("nesterov_form") == "averaged":
        drawn["nesterov_form"] = "old-buffer"
    if family == "RMSprop" and "bias_correction" not in drawn and drawn.get("eps") == "hat":
        drawn["eps"] = "clamp"
    return drawn


class Dialect(torch.optim.Optimizer):
    """Options, parameters and time; ``update`` is what a step takes away."""

    def __init__(self, params, **options):
        known = {**self.options, "weight_decay": 0.0, "maximize": False}
        if options.keys() - known.keys():
            raise TypeError(f"unknown options {sorted(options.keys() - known.keys())}")
        super().__init__(params, known | options)

    def add_param_group(self, group):
        super().add_param_group(group)
        self.param_groups[-1].setdefault("initial_lr", self.param_groups[-1]["lr"])

    def has(self, axis):
        return self.deviates.get(axis, AXES[self.family][axis][0])

    def memory(self, p):
        return self.state[p]

    @torch.no_grad()
    def step(self):
        for o in self.param_groups:
            for p in o["params"]:
                if p.grad is None:
                    continue
                s = self.memory(p)
                s["step"] = s.get("step", 0) + 1
                g = -p.grad if o["maximize"] else p.grad
                if self.has("decay") == "l2":
                    g = g + o["weight_decay"] * p
                update, kept = self.update(p, g, s, o), 1 - self.rate(o)
                if self.has("decay_order") == "after":
                    p.sub_(update).mul_(kept)
                else:
                    p.mul_(kept).sub_(update)

    def rate(self, o):
        match self.has("decay"):
            case "decoupled":
                return o["lr"] * o["weight_decay"]
            case "decoupled-no-lr":
                return o["weight_decay"]
            case "decoupled-relative-lr":
                return o["weight_decay"] * (o["lr"] / o["initial_lr"])
            case "decoupled-lr-squared":
                return o["weight_decay"] * o["lr"] * (o["lr"] / o["initial_lr"])
        return 0

    def start(self, value=0.0):
        init = self.has("accumulator_init")
        named = {"zero": 0.0, "one": 1.0, "classic": value}
        return named[init] if init in named else float(init)

    def root(self, x, eps, eps_hat=0.0):
        match self.has("eps"):
            case "outside":
                return x.sqrt() + eps
            case "hat":
                return x.sqrt() + eps_hat
            case "inside":
                return (x + eps).sqrt()
            case "inside-and-outside":
                return (x + eps).sqrt() + eps
            case "clamp":
                return x.sqrt().clamp(min=eps)
        return x.sqrt()


class SGD(Dialect):
    family = "SGD"
    options: ClassVar = {"lr": 1e-3, "momentum": 0.0, "dampening": 0.0, "nesterov": False}

    def update(self, p, g, s, o):
        mu, lr, form = o["momentum"], o["lr"], self.has("momentum")
        if mu == 0:
            return lr * g
        x = lr * g if form == "lr-in-buffer" else g
        gain = 1 - mu if form == "ema" else 1 - o["dampening"]
        old = s.get("momentum_buffer")
        if old is None:
            old = torch.zeros_like(p)
            new = x.clone() if self.has("first_buffer") == "gradient" else gain * x
        else:
            new = mu * old + gain * x
        s["momentum_buffer"] = new
        if o["nesterov"]:
            match self.has("nesterov_form"):
                case "pytorch":
                    new = x + mu * new
                case "old-buffer":
                    new = x + mu * old
                case "averaged":
                    new = gain * x + mu * new
        return new if form == "lr-in-buffer" else lr * new


class Adagrad(Dialect):
    family = "Adagrad"
    options: ClassVar = {
        "lr": 1e-2, "lr_decay": 0.0, "initial_accumulator_value": 0.0, "eps": 1e-10,
    }  # fmt: skip

    def update(self, p, g, s, o):
        if "sum" not in s:
            s["sum"] = torch.full_like(p, self.start(o["initial_accumulator_value"]))
        s["sum"].add_(g * g)
        lr = o["lr"] / (1 + (s["step"] - 1) * o["lr_decay"])
        return lr * g / self.root(s["sum"], o["eps"])


class RMSprop(Dialect):
    family = "RMSprop"
    options: ClassVar = {
        "lr": 1e-2, "alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "centered": False,
    }  # fmt: skip

    def update(self, p, g, s, o):
        a, lr, mu = o["alpha"], o["lr"], o["momentum"]
        if "square_avg" not in s:
            s["square_avg"] = torch.full_like(p, self.start())
            s["grad_avg"] = torch.zeros_like(p)
            s["momentum_buffer"] = torch.zeros_like(p)
        s["square_avg"].mul_(a).add_(g * g * (1 - a))
        s["grad_avg"].mul_(a).add_(g * (1 - a))
        c = 1 - a ** s["step"] if self.has("bias_correction") == "second-only" else 1
        v = s["square_avg"] / c
        if o["centered"]:
            v = v - (s["grad_avg"] / c) ** 2
        u, form = g / self.root(v, o["eps"], o["eps"] / c**0.5), self.has("momentum")
        if mu == 0:
            return lr * u
        if form == "lr-in-buffer":
            return s["momentum_buffer"].mul_(mu).add_(lr * u).clone()
        s["momentum_buffer"].mul_(mu).add_((1 - mu) * u if form == "ema" else u)
        return lr * s["momentum_buffer"]


class Adadelta(Dialect):
    family = "Adadelta"
    options: ClassVar = {"lr": 1.0, "rho": 0.9, "eps": 1e-6}

    def update(self, p, g, s, o):
        rho, eps = o["rho"], o["eps"]
        if "square_avg" not in s:
            s["square_avg"] = torch.full_like(p, self.start())
            s["acc_delta"] = torch.full_like(p, self.start())
        s["square_avg"].mul_(rho).add_(g * g * (1 - rho))
        delta = self.root(s["acc_delta"], eps) / self.root(s["square_avg"], eps) * g
        s["acc_delta"].mul_(rho).add_(delta * delta * (1 - rho))
        return o["lr"] * delta


class Adam(Dialect):
    family = "Adam"
    options: ClassVar = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "amsgrad": False}

    def update(self, p, g, s, o):
        beta1, beta2 = o["betas"]
        if "exp_avg" not in s:
            s["exp_avg"], s["exp_avg_sq"] = torch.zeros_like(p), torch.zeros_like(p)
            s["max_exp_avg_sq"] = torch.zeros_like(p)
        s["exp_avg"].mul_(beta1).add_(g * (1 - beta1))
        s["exp_avg_sq"].mul_(beta2).add_(g * g * (1 - beta2))
        corrects, t = self.has("bias_correction"), s["step"]
        c1 = 1 - beta1**t if corrects in ("both", "first-only") else 1
        c2 = 1 - beta2**t if corrects in ("both", "second-only") else 1
        v, top = s["exp_avg_sq"], s["max_exp_avg_sq"]
        if o["amsgrad"] and self.has("amsgrad_max") == "corrected":
            v_hat = top.copy_(torch.maximum(top, v / c2))
        elif o["amsgrad"]:
            v_hat = top.copy_(torch.maximum(top, v)) / c2
        else:
            v_hat = v / c2
        m_hat = s["exp_avg"] / c1
        if self.has("decay") == "l2-after-momentum":
            m_hat = m_hat + o["weight_decay"] * p
        return o["lr"] * m_hat / self.root(v_hat, o["eps"], o["eps"] / c2**0.5)


class Single:
    """Every option is a number in float32, and so is what is computed from options alone."""

    def update(self, p, g, s, o):
        return super().update(p, g, s, single(o))

    def rate(self, o):
        return super().rate(single(o))


def single(value):
    match value:
        case dict():
            return {k: single(v) for k, v in value.items() if k != "params"}
        case tuple():
            return tuple(map(single, value))
        case float():
            return torch.tensor(value)
    return value


FEW = {  # of each the constructor takes all, or all but the last, or all but the last two
    "SGD": ["lr", "momentum", "weight_decay", "nesterov"],
    "Adagrad": ["lr", "eps", "weight_decay", "lr_decay"],
    "RMSprop": ["lr", "alpha", "eps", "weight_decay", "momentum"],
    "Adadelta": ["lr", "rho", "eps", "weight_decay"],
    "Adam": ["lr", "betas", "eps", "weight_decay", "amsgrad"],
}


def few(family, number):
    """A signature with few of the family's options."""
    options = {**globals()[family].options, "weight_decay": 0.0}
    kept = FEW[family][: len(FEW[family]) - number % 3]
    either = inspect.Parameter.POSITIONAL_OR_KEYWORD
    named = [inspect.Parameter(n, either, default=options[n]) for n in kept]
    return inspect.Signature([inspect.Parameter("params", either), *named])


def __getattr__(name: str) -> type:
    parts = re.fullmatch(rf"(Hidden)?(Single|Few)?({'|'.join(AXES)})(\d+)", name)
    if parts is None:
        raise AttributeError(name)
    hidden, kind, family, number = parts.groups()
    bases = [globals()[family]]
    body = {"deviates": deviations(family, int(number)), "__module__": __name__}
    if kind == "Single":
        bases.insert(0, Single)
    if kind == "Few":
        body["__signature__"] = few(family, int(number))
    if hidden:
        bases.insert(0, Hidden)
    return type(name, tuple(bases), body)
