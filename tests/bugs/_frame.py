"""Six optimizers that are right: the control group, and the frame of the bugs beside this file.

Every line that a re-enacted bug gets wrong is a method here, so that a bug is the method it
overrides and nothing else.  In every method ``o`` holds the options of the group, lr as a float;
``s`` is the state of the parameter ``p``, and ``g`` its gradient, negated when maximizing.  Complex
tensors arrive as their (re, im) pairs, which share their memory.
"""

import copy
import math

import torch


class Frame(torch.optim.Optimizer):
    """What the six share: options and their ranges, the loop, state, checkpoints."""

    below_one = ("betas", "alpha")
    up_to_one = ("rho", "dampening")

    def __init__(self, params, **options):
        super().__init__(self.given(params), options)

    # ---- options

    def given(self, params):
        if isinstance(params, set | frozenset):
            raise TypeError("parameters need an order: give a list, not a set")
        return params

    def check(self, o):
        for name, value in o.items():
            if name == "params":
                continue
            for x in value if isinstance(value, tuple | list) else [value]:
                if isinstance(x, torch.Tensor) and x.numel() != 1:
                    raise ValueError(f"{name} must be a number or a tensor of one element")
                inside = 0 <= x < (1 if name in self.below_one else math.inf)
                if not inside or (name in self.up_to_one and x > 1):
                    raise ValueError(f"{name} is out of its range: {value!r}")

    def distinct(self, params):
        if len({id(p) for p in params}) != len(params):
            raise ValueError("a parameter is listed twice")
        return params

    def add_param_group(self, group):
        group = dict(group)  # the caller's stays as it is
        self.check({**self.defaults, **group})
        if not isinstance(group["params"], torch.Tensor | set | frozenset):
            group["params"] = self.distinct(list(group["params"]))
        super().add_param_group(group)

    # ---- the loop

    @torch.no_grad()
    def step(self, closure=None):
        loss = self.loss(closure)
        self.each(self.ready())
        return loss

    def loss(self, closure):
        if closure is None:
            return None
        with torch.enable_grad():
            return closure()

    def ready(self):
        """(parameter, gradient, group) of everything to be updated."""
        todo = [
            (p, p.grad, group)
            for group in self.param_groups
            for p in group["params"]
            if p.grad is not None
        ]
        if any(grad.layout is not torch.strided for _, grad, _ in todo):
            raise RuntimeError(f"{type(self).__name__} takes dense gradients only")
        return todo

    def each(self, todo):
        for p, grad, group in todo:
            self.advance(p, grad, group)

    def advance(self, p, grad, group):
        o = {**group, "lr": float(group["lr"])}
        s = self.memory(p, o)
        self.tick(s)
        if p.is_complex():
            s = {k: self.real(x) if torch.is_tensor(x) else x for k, x in s.items()}
        g = self.real(grad)
        self.update(self.real(p), -g if o["maximize"] else g, s, o)

    def real(self, x):
        return torch.view_as_real(x.resolve_conj()) if x.is_complex() else x

    def tick(self, s):
        s["step"] += 1

    def time(self, s):
        return s["step"]

    def decayed(self, g, p, o):
        return g if o["weight_decay"] == 0 else g.add(p, alpha=o["weight_decay"])

    # ---- state

    def slots(self, o):
        """The tensors that are remembered, and what fills them at first."""
        return {}

    def memory(self, p, o):
        s = self.state[p]
        if not s:
            s["step"] = 0
            for name, fill in self.slots(o).items():
                s[name] = torch.full_like(p, complex(fill, fill) if p.is_complex() else fill)
        return s

    def load_state_dict(self, saved):
        super().load_state_dict(copy.deepcopy(saved))  # two optimizers shall share nothing

    def __setstate__(self, state):
        super().__setstate__(state)
        for group in self.param_groups:  # an older checkpoint lacks the newer options
            for name, value in self.defaults.items():
                group.setdefault(name, value)
        for s in self.state.values():
            if "step" in s:
                s["step"] = int(s["step"])


class Adam(Frame):
    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, *,
        maximize=False,
    ):  # fmt: skip
        super().__init__(
            params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, amsgrad=amsgrad,
            maximize=maximize,
        )  # fmt: skip

    def slots(self, o):
        names = ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * bool(o["amsgrad"])
        return dict.fromkeys(names, 0)

    def update(self, p, g, s, o):
        self.average(self.decayed(g, p, o), s, o)
        m, v = s["exp_avg"], self.largest(s) if o["amsgrad"] else s["exp_avg_sq"]
        c1, c2 = self.corrections(self.time(s), o)
        self.move(p, o["lr"] * (m / c1) / self.denominator(v / c2, s, o), o)

    def average(self, g, s, o):
        beta1, beta2 = o["betas"]
        s["exp_avg"].mul_(beta1).add_(g, alpha=1 - beta1)
        s["exp_avg_sq"].mul_(beta2).addcmul_(g, g, value=1 - beta2)

    def largest(self, s):
        return torch.maximum(s["max_exp_avg_sq"], s["exp_avg_sq"], out=s["max_exp_avg_sq"])

    def corrections(self, t, o):
        beta1, beta2 = o["betas"]
        return 1 - beta1**t, 1 - beta2**t

    def denominator(self, v_hat, s, o):
        return v_hat.sqrt() + o["eps"]

    def move(self, p, update, o):
        p.sub_(update)


class AdamW(Adam):
    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=1e-2, amsgrad=False, *,
        maximize=False,
    ):  # fmt: skip
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize)

    def decayed(self, g, p, o):
        return g

    def move(self, p, update, o):
        p.mul_(1 - o["lr"] * o["weight_decay"]).sub_(update)


class SGD(Frame):
    def __init__(
        self, params, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, *,
        maximize=False,
    ):  # fmt: skip
        super().__init__(
            params, lr=lr, momentum=momentum, dampening=dampening, weight_decay=weight_decay,
            nesterov=nesterov, maximize=maximize,
        )  # fmt: skip

    def check(self, o):
        super().check(o)
        if o.get("nesterov") and (o["momentum"] == 0 or o["dampening"] != 0):
            raise ValueError("nesterov needs momentum and no dampening")

    def slots(self, o):
        return {"momentum_buffer": 0} if o["momentum"] != 0 else {}

    def update(self, p, g, s, o):
        self.move(p, self.direction(self.decayed(g, p, o), s, o), o)

    def direction(self, g, s, o):
        if o["momentum"] == 0:
            return g
        b = self.buffer(g, s, o)
        return self.lookahead(g, b, o) if o["nesterov"] else b

    def buffer(self, g, s, o):
        b = s["momentum_buffer"]
        if self.time(s) == 1:
            return b.copy_(g)
        return b.mul_(o["momentum"]).add_(g, alpha=1 - o["dampening"])

    def lookahead(self, g, b, o):
        return g + o["momentum"] * b

    def move(self, p, d, o):
        p.sub_(o["lr"] * d)


class Adagrad(Frame):
    def __init__(
        self, params, lr=1e-2, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0,
        eps=1e-10, *, maximize=False,
    ):  # fmt: skip
        super().__init__(
            params, lr=lr, lr_decay=lr_decay, weight_decay=weight_decay,
            initial_accumulator_value=initial_accumulator_value, eps=eps, maximize=maximize,
        )  # fmt: skip

    def slots(self, o):
        return {"sum": o["initial_accumulator_value"]}

    def update(self, p, g, s, o):
        g = self.decayed(g, p, o)
        self.accumulate(g, s, o)
        p.sub_(self.rate(self.time(s), o) * g / (s["sum"].sqrt() + o["eps"]))

    def accumulate(self, g, s, o):
        s["sum"].addcmul_(g, g)

    def rate(self, t, o):
        return o["lr"] / (1 + (t - 1) * o["lr_decay"])


class RMSprop(Frame):
    def __init__(
        self, params, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0,
        centered=False, *, maximize=False,
    ):  # fmt: skip
        super().__init__(
            params, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, momentum=momentum,
            centered=centered, maximize=maximize,
        )  # fmt: skip

    def slots(self, o):
        names = ["square_avg"] + ["grad_avg"] * bool(o["centered"])
        return dict.fromkeys(names + ["momentum_buffer"] * (o["momentum"] > 0), 0)

    def update(self, p, g, s, o):
        g = self.decayed(g, p, o)
        self.average(g, s, o)
        self.move(p, g / self.denominator(self.variance(s, o), o), s, o)

    def average(self, g, s, o):
        s["square_avg"].mul_(o["alpha"]).addcmul_(g, g, value=1 - o["alpha"])
        if o["centered"]:
            s["grad_avg"].mul_(o["alpha"]).add_(g, alpha=1 - o["alpha"])

    def variance(self, s, o):
        if not o["centered"]:
            return s["square_avg"]
        return (s["square_avg"] - s["grad_avg"] ** 2).clamp_min(0)  # a rounding may end below 0

    def denominator(self, variance, o):
        return variance.sqrt() + o["eps"]

    def move(self, p, u, s, o):
        if o["momentum"] > 0:
            u = s["momentum_buffer"].mul_(o["momentum"]).add_(u)
        p.sub_(o["lr"] * u)


class Adadelta(Frame):
    def __init__(
        self, params, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0, *, maximize=False
    ):  # fmt: skip
        super().__init__(
            params, lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize
        )

    def slots(self, o):
        return {"square_avg": 0, "acc_delta": 0}

    def update(self, p, g, s, o):
        g = self.decayed(g, p, o)
        s["square_avg"].mul_(o["rho"]).addcmul_(g, g, value=1 - o["rho"])
        delta = self.delta(g, s, o)
        s["acc_delta"].mul_(o["rho"]).addcmul_(delta, delta, value=1 - o["rho"])
        p.sub_(o["lr"] * delta)

    def delta(self, g, s, o):
        return (s["acc_delta"] + o["eps"]).sqrt() / (s["square_avg"] + o["eps"]).sqrt() * g
