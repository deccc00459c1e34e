"""Right optimizers whose memory, or whose rounding, is their own affair: each must conform."""

import math

import torch
from faithful import SGD, Adam

NAMES = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")


class Remembering(Adam):
    """Keeps what it computed with, in its own precision and under its own names."""

    names = NAMES

    def wide(self, p):
        return torch.promote_types(p.dtype, torch.float32)

    def recall(self, s, p, dtype):
        """The moments; loading a state dict may have rounded them to the parameter's dtype."""
        for name in self.names:
            s[name] = s[name].to(dtype) if name in s else torch.zeros_like(p, dtype=dtype)
        return [s[name] for name in self.names]

    def update(self, w, g, moments, s, o):
        """What is taken from the parameter; the moments change in place."""
        m, v, v_max = moments
        beta1, beta2 = o["betas"]
        g = g.to(w.dtype) + o["weight_decay"] * w
        m.mul_(beta1).add_(g, alpha=1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        if o["amsgrad"]:
            v = torch.maximum(v_max, v, out=v_max)
        m_hat, v_hat = m / (1 - beta1 ** s["step"]), v / (1 - beta2 ** s["step"])
        return o["lr"] * m_hat / (v_hat.sqrt() + o["eps"])


class WideNames(Remembering):
    """Moments in float64 under the usual names."""

    def one(self, p, g, s, o):
        moments = self.recall(s, p, torch.float64)
        p.copy_(p.double() - self.update(p.double(), g, moments, s, o))


class Master(Remembering):
    """Master weights in float32 that nobody sees, with moments that everybody sees."""

    def one(self, p, g, s, o):
        moments = self.recall(s, p, self.wide(p))
        w = s.setdefault("master", p.to(self.wide(p), copy=True)).to(self.wide(p))
        s["master"] = w - self.update(w, g, moments, s, o)
        p.copy_(s["master"])

    def load_state_dict(self, saved):
        super().load_state_dict(saved)
        for p, s in self.state.items():  # rounded by the load: nothing wider is left
            s["master"] = p.to(self.wide(p), copy=True)


class Master64(Master):
    """All of it in float64, under names of its own."""

    names = ("first", "second", "largest")

    def wide(self, p):
        return torch.float64


class Compensated(Remembering):
    """Kahan's summation: what rounding took from the parameter comes back with the next step."""

    def one(self, p, g, s, o):
        moments = self.recall(s, p, p.dtype)
        lost = s.setdefault("compensation", torch.zeros_like(p))
        update = lost - self.update(p, g, moments, s, o)
        before = p.clone()
        p.add_(update)
        lost.copy_(update - (p - before))


class CorrectedMoments(Adam):
    """Remembers m_hat and v_hat, and takes the correction back before each step."""

    names = ("m_hat", "v_hat", "v_max")

    def one(self, p, g, s, o):
        m_hat, v_hat, v_max = (self.held(s, name, p, o) for name in self.names)
        (beta1, beta2), t = o["betas"], s["step"]
        g = g + o["weight_decay"] * p
        m = m_hat * (1 - beta1 ** (t - 1)) * beta1 + (1 - beta1) * g
        v = v_hat * (1 - beta2 ** (t - 1)) * beta2 + (1 - beta2) * g * g
        m_hat.copy_(m / (1 - beta1**t))
        v_hat.copy_(v / (1 - beta2**t))
        if o["amsgrad"]:
            v = torch.maximum(v_max, v, out=v_max)
        p.sub_(o["lr"] * m_hat / ((v / (1 - beta2**t)).sqrt() + o["eps"]))


class RunningPowers(Adam):
    """beta**t as a running product."""

    def one(self, p, g, s, o):
        m, v, v_max = (self.held(s, name, p, o) for name in self.names)
        beta1, beta2 = o["betas"]
        s["power1"] = s.get("power1", 1.0) * beta1
        s["power2"] = s.get("power2", 1.0) * beta2
        g = g + o["weight_decay"] * p
        m.mul_(beta1).add_(g, alpha=1 - beta1)
        v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
        if o["amsgrad"]:
            v = torch.maximum(v_max, v, out=v_max)
        p.sub_(o["lr"] * (m / (1 - s["power1"])) / ((v / (1 - s["power2"])).sqrt() + o["eps"]))


class Flattened(Adam):
    """All parameters of a group that are at the same step go through one flat buffer."""

    @torch.no_grad()
    def step(self):
        for o in self.param_groups:
            alike = {}
            for p in (p for p in o["params"] if p.grad is not None):
                s = self.state[p]
                s["step"] = s.get("step", 0) + 1
                for name in NAMES:
                    s.setdefault(name, torch.zeros_like(p))
                alike.setdefault(s["step"], []).append(p)
            for t, params in alike.items():
                self.together(params, t, o)

    def together(self, params, t, o):
        beta1, beta2 = o["betas"]
        states = [[self.state[p][name] for p in params] for name in NAMES]
        grads = [p.grad for p in params]
        w, g, m, v, v_max = (
            torch.cat([x.reshape(-1) for x in xs]) for xs in (params, grads, *states)
        )
        g = (-g if o["maximize"] else g).add(w, alpha=o["weight_decay"])
        m = torch.lerp(m, g, 1 - beta1)
        v = v * beta2 + (1 - beta2) * g * g
        if o["amsgrad"]:
            v_max = torch.maximum(v_max, v)
        root = (v_max if o["amsgrad"] else v).sqrt() / math.sqrt(1 - beta2**t)
        w = torch.addcdiv(w, m, root.add_(o["eps"]), value=-o["lr"] / (1 - beta1**t))
        for xs, flat in zip((params, *states), (w, m, v, v_max), strict=True):
            for x, part in zip(xs, flat.split([x.numel() for x in xs]), strict=True):
                x.copy_(part.view(x.shape))


class SeparateBetas(Adam):
    """A keyword for each beta, in the constructor and in the groups."""

    def __init__(
        self, params, lr=1e-3, beta1=0.95, beta2=0.99, eps=1e-8, weight_decay=0.0, amsgrad=False,
        maximize=False,
    ):  # fmt: skip
        torch.optim.Optimizer.__init__(
            self,
            params,
            {
                "lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps,
                "weight_decay": weight_decay, "amsgrad": amsgrad, "maximize": maximize,
            },
        )  # fmt: skip

    def one(self, p, g, s, o):
        super().one(p, g, s, {**o, "betas": (o["beta1"], o["beta2"])})


class InNumpy(Adam):
    """numpy's float32 or float64, with every scalar rounded to it first."""

    def one(self, p, g, s, o):
        held = [self.held(s, name, p, o) for name in self.names]
        wide = torch.promote_types(p.dtype, torch.float32)
        w, g, m, v, v_max = (x.detach().to(wide).numpy() for x in (p, g, *held))
        real, (beta1, beta2), t = w.dtype.type, o["betas"], s["step"]
        g = g + real(o["weight_decay"]) * w
        m = real(beta1) * m + real(1 - beta1) * g
        v = real(beta2) * v + real(1 - beta2) * (g * g)
        v_max = torch.maximum(torch.as_tensor(v_max), torch.as_tensor(v)).numpy()
        root = ((v_max if o["amsgrad"] else v) / real(1 - beta2**t)) ** 0.5
        w = w - real(o["lr"] / (1 - beta1**t)) * m / (root + real(o["eps"]))
        for x, new in zip((p, *held), (w, m, v, v_max), strict=True):
            x.copy_(torch.as_tensor(new))


class Stochastic(SGD):
    """bfloat16 tensors are stored by stochastic rounding: up or down, by chance."""

    def one(self, p, s, o):
        wide = torch.promote_types(p.dtype, torch.float32)
        w, g = p.to(wide), (-p.grad if o["maximize"] else p.grad).to(wide)
        g = g + o["weight_decay"] * w
        if o["momentum"]:
            b = g
            if "momentum_buffer" in s:
                b = o["momentum"] * s["momentum_buffer"].to(wide) + (1 - o["dampening"]) * g
            s["momentum_buffer"] = self.stored(b, p.dtype)
            g = g + o["momentum"] * b if o["nesterov"] else b
        p.copy_(self.stored(w - o["lr"] * g, p.dtype))

    def stored(self, x, dtype):
        if dtype != torch.bfloat16:
            return x.to(dtype)
        return (
            self.cut(x.contiguous().view(torch.int32))
            .view(torch.float32)
            .where(torch.isfinite(x), x)
        )

    def cut(self, bits):
        noise = torch.randint(0, 1 << 16, bits.shape, dtype=torch.int32)
        return (bits + noise) & -(1 << 16)


class Truncating(Stochastic):
    """Wrong, and here for comparison: always toward zero."""

    def cut(self, bits):
        return bits & -(1 << 16)
