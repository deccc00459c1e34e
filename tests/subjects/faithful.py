"""Right optimizers, written oddly: each must conform in every dtype."""

import math

import torch


class Adam(torch.optim.Optimizer):
    """Options, parameters and time; subclasses fill in one step of one parameter."""

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
        for o in self.param_groups:
            for p in o["params"]:
                if p.grad is None:
                    continue
                s = self.memory(p)
                s.setdefault("step", 0)
                s["step"] += 1
                self.one(p, -p.grad if o["maximize"] else p.grad, s, o)

    def memory(self, p):
        return self.state[p]

    def one(self, p, g, s, o):
        """Plain, for the classes that only keep their state elsewhere."""
        m, v, v_max = (self.held(s, name, p, o) for name in self.names)
        g = g + o["weight_decay"] * p
        beta1, beta2 = o["betas"]
        m.mul_(beta1).add_(g, alpha=1 - beta1)
        v.mul_(beta2).add_(g * g * (1 - beta2))
        if o["amsgrad"]:
            v = v_max.copy_(torch.maximum(v_max, v))
        m_hat, v_hat = m / (1 - beta1 ** s["step"]), v / (1 - beta2 ** s["step"])
        p.sub_(o["lr"] * m_hat / (v_hat.sqrt() + o["eps"]))

    names = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")

    def held(self, s, name, p, o):
        return s.setdefault(name, torch.zeros_like(p))


class InDouble(Adam):
    """Everything in float64, every result rounded once."""

    def one(self, p, g, s, o):
        beta1, beta2 = o["betas"]
        held = [self.held(s, name, p, o) for name in self.names]
        m, v, v_max = (x.double() for x in held)
        g = g.double() + o["weight_decay"] * p.double()
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        v_max = torch.maximum(v_max, v)
        for x, new in zip(held, (m, v, v_max), strict=True):
            x.copy_(new)
        v_hat = (v_max if o["amsgrad"] else v) / (1 - beta2 ** s["step"])
        p.copy_(p.double() - o["lr"] * (m / (1 - beta1 ** s["step"])) / (v_hat.sqrt() + o["eps"]))


class Lerp(Adam):
    """Averages by lerp, corrections folded into the step size and eps."""

    def one(self, p, g, s, o):
        m, v, v_max = (self.held(s, name, p, o) for name in self.names)
        g = g.add(p, alpha=o["weight_decay"])
        beta1, beta2 = o["betas"]
        m.lerp_(g, 1 - beta1)
        v.lerp_(g * g, 1 - beta2)
        if o["amsgrad"]:
            v = torch.maximum(v_max, v, out=v_max)
        root = math.sqrt(1 - beta2 ** s["step"])
        step_size = o["lr"] * root / (1 - beta1 ** s["step"])
        p.sub_(step_size * m / (v.sqrt() + o["eps"] * root))


class Reciprocal(Adam):
    """Multiplies by reciprocals; divides nowhere else."""

    def one(self, p, g, s, o):
        m, v, v_max = (self.held(s, name, p, o) for name in self.names)
        g = g + o["weight_decay"] * p
        beta1, beta2 = o["betas"]
        m.mul_(beta1).add_((1 - beta1) * g)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        if o["amsgrad"]:
            v = torch.maximum(v_max, v, out=v_max)
        v_hat = v * (1 / (1 - beta2 ** s["step"]))
        m_hat = m * (1 / (1 - beta1 ** s["step"]))
        p.sub_(m_hat * (1 / (v_hat.sqrt() + o["eps"])) * o["lr"])


class AdamW(Adam):
    """Decays the old parameter, but only after the update was computed from it."""

    def one(self, p, g, s, o):
        m, v, v_max = (self.held(s, name, p, o) for name in self.names)
        beta1, beta2 = o["betas"]
        m.copy_(beta1 * m + (1 - beta1) * g)
        v.copy_(beta2 * v + (1 - beta2) * (g * g))
        if o["amsgrad"]:
            v = torch.maximum(v_max, v, out=v_max)
        denom = (v / (1 - beta2 ** s["step"])).sqrt() + o["eps"]
        update = (o["lr"] / (1 - beta1 ** s["step"])) * (m / denom)
        p.copy_(p * (1 - o["lr"] * o["weight_decay"]) - update)


class FlatState(Adam):
    """The usual names, but flat buffers."""

    def held(self, s, name, p, o):
        return s.setdefault(name, torch.zeros(p.numel(), dtype=p.dtype)).view(p.shape)


class OtherNames(Adam):
    """State under names that nobody knows."""

    names = ("first", "second", "largest")


class HiddenState(Adam):
    """State where nobody looks, carried through a reload all the same."""

    def memory(self, p):
        return self.__dict__.setdefault("hidden", {}).setdefault(p, {})

    def state_dict(self):
        return {**super().state_dict(), "hidden": self.__dict__.setdefault("hidden", {})}

    def load_state_dict(self, saved):
        super().load_state_dict(saved)
        self.hidden = saved["hidden"]


class WideState(Adam):
    """State in float32 whatever the parameter's dtype (float64 for float64)."""

    def held(self, s, name, p, o):
        wide = torch.promote_types(p.dtype, torch.float32)
        s[name] = s[name].to(wide) if name in s else torch.zeros_like(p, dtype=wide)
        return s[name]

    def one(self, p, g, s, o):
        wide = torch.promote_types(p.dtype, torch.float32)
        moved = p.to(wide)
        super().one(moved, g.to(wide), s, o)
        p.copy_(moved)


class SGD(torch.optim.Optimizer):
    """A buffer from the first step on, and lr folded into every term."""

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
                    self.one(p, self.state[p], o)

    def one(self, p, s, o):
        mu, lr = o["momentum"], o["lr"]
        g = torch.add(-p.grad if o["maximize"] else p.grad, p, alpha=o["weight_decay"])
        if mu == 0:
            p.add_(g, alpha=-lr)
            return
        if "momentum_buffer" in s:
            s["momentum_buffer"].mul_(mu).add_(g - o["dampening"] * g)
        else:
            s["momentum_buffer"] = g.clone()
        b = s["momentum_buffer"]
        p.copy_(p - (lr * g + (lr * mu) * b if o["nesterov"] else lr * b))
