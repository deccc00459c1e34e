"""Optimizers with one deliberate mistake each; ``Adam`` and ``SGD`` themselves are right.

The comment beside each class says what it does wrong; tests/test_check.py says what must be found.
"""

import math

import torch


class Adam(torch.optim.Optimizer):
    """Adam as in the paper, a method for every line that a subclass gets wrong."""

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False,
        maximize=False,
    ):  # fmt: skip
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                "amsgrad": amsgrad, "maximize": maximize,
            },
        )  # fmt: skip

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self.one(p, self.memory(p), group)

    def memory(self, p):
        return self.state[p]

    def one(self, p, s, o):
        if not s:
            s["step"] = 0
            for name in ("exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if o["amsgrad"] else [])):
                s[name] = torch.zeros_like(p)
        s["step"] += 1
        beta1, beta2 = self.betas(o)
        g = self.gradient(p, o)
        s["exp_avg"].mul_(beta1).add_(g, alpha=1 - beta1)
        s["exp_avg_sq"].mul_(beta2).addcmul_(g, g, value=1 - beta2)
        v = s["exp_avg_sq"]
        if o["amsgrad"]:
            v = torch.maximum(s["max_exp_avg_sq"], v, out=s["max_exp_avg_sq"])
        c1, c2 = self.corrections(self.time(s["step"]), beta1, beta2)
        update = (s["exp_avg"] / c1) / self.denominator(v / c2, o["eps"], c2)
        self.apply(p, o["lr"] * update, o)

    def betas(self, o):
        return o["betas"]

    def gradient(self, p, o):
        g = -p.grad if o["maximize"] else p.grad
        return g + o["weight_decay"] * p

    def time(self, t):
        return t

    def corrections(self, t, beta1, beta2):
        return 1 - beta1**t, 1 - beta2**t

    def denominator(self, v_hat, eps, c2):
        return v_hat.sqrt() + eps

    def apply(self, p, update, o):
        p.sub_(update)


class AdamW(Adam):
    """Right as well."""

    def gradient(self, p, o):
        return -p.grad if o["maximize"] else p.grad

    def apply(self, p, update, o):
        p.mul_(1 - o["lr"] * o["weight_decay"]).sub_(update)


class DoNothing(Adam):  # all of it
    def step(self):
        pass


class SignFlipped(Adam):  # climbs
    def apply(self, p, update, o):
        p.add_(update)


class LrDoubled(Adam):
    def apply(self, p, update, o):
        p.sub_(2 * update)


class Beta2Off(Adam):  # by one part in a million
    def betas(self, o):
        beta1, beta2 = o["betas"]
        return beta1, min(beta2 * (1 + 1e-6), math.nextafter(1, 0))


class EpsInside(Adam):
    def denominator(self, v_hat, eps, c2):
        return (v_hat + eps).sqrt()


class EpsHat(Adam):
    def denominator(self, v_hat, eps, c2):
        return v_hat.sqrt() + eps / math.sqrt(c2)


class EpsHatOfItsOwn(EpsHat):  # as in Keras: 1e-7, and nobody is asked
    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), weight_decay=0.0):
        super().__init__(params, lr, betas, 1e-7, weight_decay)


class L2InPlaceOfDecoupled(AdamW):  # AdamW by name, Adam by deed
    gradient = Adam.gradient
    apply = Adam.apply


class BiasCorrectionLate(Adam):  # t - 1, so 0/0 in the first step
    def corrections(self, t, beta1, beta2):
        return (torch.tensor(1 - beta ** (t - 1), dtype=torch.float64) for beta in (beta1, beta2))


class BiasCorrectionEarly(Adam):  # t + 1
    def time(self, t):
        return t + 1


class NoBiasCorrection(Adam):
    def corrections(self, t, beta1, beta2):
        return 1, 1


class NoRootOfCorrection(Adam):  # a formula that no variant knows: sqrt(v) / c2
    def denominator(self, v_hat, eps, c2):
        return (v_hat * c2).sqrt() / c2 + eps


class AmsgradIgnored(Adam):
    def one(self, p, s, o):
        super().one(p, s, {**o, "amsgrad": False})


class MaximizeIgnored(Adam):
    def gradient(self, p, o):
        return p.grad + o["weight_decay"] * p


class FirstGroupOnly(Adam):  # every group moves with the lr of the first
    def one(self, p, s, o):
        super().one(p, s, {**o, "lr": self.param_groups[0]["lr"]})


class ThirdGroupSlow(Adam):
    def one(self, p, s, o):
        late = any(o is x for x in self.param_groups[2:])
        super().one(p, s, {**o, "lr": o["lr"] / 2 if late else o["lr"]})


class ThirdGroupFrozen(Adam):
    def one(self, p, s, o):
        if not any(o is x for x in self.param_groups[2:]):
            super().one(p, s, o)


class SharedTime(Adam):  # one step counter for all parameters, those that join late included
    steps = 0

    def step(self):
        self.steps += 1
        super().step()

    def time(self, t):
        return self.steps


class StaleState(Adam):  # the parameter moves by the moments of the step before
    def one(self, p, s, o):
        before = p.clone()
        if not s:
            super().one(p, s, o)
            p.copy_(before)
            return
        m, v = s["exp_avg"].clone(), s["exp_avg_sq"].clone()
        super().one(p, s, o)
        c1, c2 = self.corrections(s["step"], *o["betas"])
        p.copy_(before - o["lr"] * (m / c1) / self.denominator(v / c2, o["eps"], c2))


class SloppyScalars(Adam):  # bias corrections in float32
    def corrections(self, t, beta1, beta2):
        return (float(1 - torch.tensor(beta) ** t) for beta in (beta1, beta2))


class DecayBySchedule(AdamW):  # as in the AdamW paper: by lr relative to what the group began with
    def add_param_group(self, group):
        super().add_param_group(group)
        self.param_groups[-1]["first_lr"] = self.param_groups[-1]["lr"]

    def apply(self, p, update, o):
        schedule = o["lr"] / o["first_lr"] if o["first_lr"] else float("nan")
        p.mul_(1 - schedule * o["weight_decay"]).sub_(update)


class ThreeMistakes(AdamW):  # decay without lr, eps inside, only the second moment corrected
    def apply(self, p, update, o):
        p.mul_(1 - o["weight_decay"]).sub_(update)

    def denominator(self, v_hat, eps, c2):
        return (v_hat + eps).sqrt()

    def corrections(self, t, beta1, beta2):
        return 1, 1 - beta2**t


class Hidden:
    """Keeps the state where nobody looks, and carries it through a reload."""

    def memory(self, p):
        return self.__dict__.setdefault("hidden", {}).setdefault(p, {})

    def state_dict(self):
        return {**super().state_dict(), "hidden": self.__dict__.setdefault("hidden", {})}

    def load_state_dict(self, saved):
        super().load_state_dict(saved)
        self.hidden = saved["hidden"]


class HiddenLrDoubled(Hidden, LrDoubled):
    pass


class HiddenEpsInside(Hidden, EpsInside):
    pass


class HiddenNoBiasCorrection(Hidden, NoBiasCorrection):
    pass


class ForgetsOnReload(Hidden, Adam):  # the private state is not in state_dict
    state_dict = torch.optim.Optimizer.state_dict
    load_state_dict = torch.optim.Optimizer.load_state_dict


class SGD(torch.optim.Optimizer):
    """SGD with momentum, right."""

    def __init__(
        self, params, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False,
        maximize=False,
    ):  # fmt: skip
        super().__init__(
            params,
            {
                "lr": lr, "momentum": momentum, "dampening": dampening,
                "weight_decay": weight_decay, "nesterov": nesterov, "maximize": maximize,
            },
        )  # fmt: skip

    @torch.no_grad()
    def step(self):
        for o in self.param_groups:
            for p in o["params"]:
                if p.grad is not None:
                    g = (-p.grad if o["maximize"] else p.grad) + o["weight_decay"] * p
                    self.one(p, g, self.state[p], o)

    def one(self, p, g, s, o):
        p.sub_(o["lr"] * self.direction(g, s, o))

    def direction(self, g, s, o):
        mu = o["momentum"]
        if mu == 0:
            return g
        first = "momentum_buffer" not in s
        b = self.first(g, o) if first else mu * s["momentum_buffer"] + (1 - o["dampening"]) * g
        s["momentum_buffer"] = b.clone()
        return g + mu * b if o["nesterov"] else b

    def first(self, g, o):
        return g


class SgdSignFlipped(SGD):
    def one(self, p, g, s, o):
        p.add_(o["lr"] * self.direction(g, s, o))


class SgdLrInBuffer(SGD):  # as in Sutskever et al.: differs when lr changes
    def one(self, p, g, s, o):
        p.sub_(self.direction(o["lr"] * g, s, o))


class SgdFirstDampened(SGD):
    def first(self, g, o):
        return (1 - o["dampening"]) * g


class RMSprop(torch.optim.Optimizer):
    """RMSprop, right."""

    def __init__(
        self, params, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0,
        centered=False, maximize=False,
    ):  # fmt: skip
        super().__init__(
            params,
            {
                "lr": lr, "alpha": alpha, "eps": eps, "weight_decay": weight_decay,
                "momentum": momentum, "centered": centered, "maximize": maximize,
            },
        )  # fmt: skip

    @torch.no_grad()
    def step(self):
        for o in self.param_groups:
            for p in o["params"]:
                if p.grad is not None:
                    self.one(p, self.state[p], o)

    def one(self, p, s, o):
        for name in ("square_avg", "grad_avg", "momentum_buffer"):
            s.setdefault(name, torch.zeros_like(p))
        a = o["alpha"]
        g = (-p.grad if o["maximize"] else p.grad) + o["weight_decay"] * p
        v = s["square_avg"].mul_(a).addcmul_(g, g, value=1 - a)
        if o["centered"]:
            mean = s["grad_avg"].lerp_(g, 1 - a)
            v = v - mean**2
        d = g / self.denominator(v, o["eps"])
        if o["momentum"] > 0:
            d = s["momentum_buffer"].mul_(o["momentum"]).add_(d)
        p.sub_(o["lr"] * d)

    def denominator(self, v, eps):
        return v.sqrt() + eps


class RmspropEpsInside(RMSprop):
    def denominator(self, v, eps):
        return (v + eps).sqrt()


class Adagrad(torch.optim.Optimizer):
    """Adagrad, right."""

    def __init__(
        self, params, lr=1e-2, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0,
        eps=1e-10, maximize=False,
    ):  # fmt: skip
        super().__init__(
            params,
            {
                "lr": lr, "lr_decay": lr_decay, "weight_decay": weight_decay, "eps": eps,
                "initial_accumulator_value": initial_accumulator_value, "maximize": maximize,
            },
        )  # fmt: skip

    @torch.no_grad()
    def step(self):
        for o in self.param_groups:
            for p in o["params"]:
                if p.grad is None:
                    continue
                s = self.state[p]
                if not s:
                    s["step"], s["sum"] = 0, torch.full_like(p, self.first(o))
                g = (-p.grad if o["maximize"] else p.grad) + o["weight_decay"] * p
                s["sum"].addcmul_(g, g)
                step_size = o["lr"] / (1 + self.time(s) * o["lr_decay"])
                s["step"] += 1
                p.sub_(step_size * g / (s["sum"].sqrt() + o["eps"]))

    def time(self, s):
        return s["step"]

    def first(self, o):
        return o["initial_accumulator_value"]


class AdagradSlowDecay(Adagrad):
    def time(self, s):
        return s["step"] ** 0.5


class AdagradInitOne(Adagrad):  # whatever it is told
    def first(self, o):
        return 1.0
