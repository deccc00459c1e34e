"""Optimizers that break one contract each; ``Adam`` and ``Momentum`` break none.

The comment beside each class says what it does wrong; tests/test_contracts.py, what must be found.
"""

import collections
import copy
import random

import torch

from optconform.impls import reference


class Adam(torch.optim.Optimizer):
    """Adam, right; subclasses get one thing wrong."""

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
    def step(self, closure=None):
        loss = self.call(closure) if closure is not None else None
        for o in self.param_groups:
            some = [p for p in o["params"] if p.grad is not None]
            for p, g in zip(some, self.gradients(some), strict=True):
                self.one(p, g, self.memory(p, o), o)
        return loss

    def call(self, closure):
        with torch.enable_grad():
            return closure()

    def gradients(self, params):
        return [p.grad for p in params]

    def memory(self, p, o):
        s = self.state[p]
        if not s:
            s["step"] = 0
            for name in ("exp_avg", "exp_avg_sq", *(["max_exp_avg_sq"] if o["amsgrad"] else [])):
                s[name] = torch.zeros_like(p)
        return s

    def one(self, p, g, s, o):
        self.count(s)
        t = int(self.time(p, s))
        beta1, beta2 = o["betas"]
        g = self.direction(p, g, o)
        s["exp_avg"].mul_(beta1).add_(g, alpha=1 - beta1)
        s["exp_avg_sq"].mul_(beta2).addcmul_(g, g, value=1 - beta2)
        v = s["exp_avg_sq"]
        if o["amsgrad"]:
            v = torch.maximum(s["max_exp_avg_sq"], v, out=s["max_exp_avg_sq"])
        denominator = (v / (1 - beta2**t)).sqrt() + self.eps(o)
        p.sub_(self.lr(o) * (s["exp_avg"] / (1 - beta1**t)) / denominator)

    def direction(self, p, g, o):
        return (-g if o["maximize"] else g) + o["weight_decay"] * p

    def count(self, s):
        s["step"] += 1

    def time(self, p, s):
        return s["step"]

    def eps(self, o):
        return o["eps"]

    def lr(self, o):
        return o["lr"]


class Momentum(torch.optim.Optimizer):
    """SGD with a heavy ball, right; its step takes no closure."""

    def __init__(self, params, lr=1e-3, momentum=0.9):
        super().__init__(params, {"lr": lr, "momentum": momentum})

    @torch.no_grad()
    def step(self):
        for o in self.param_groups:
            for p in o["params"]:
                if p.grad is not None:
                    s = self.state[p]
                    if "momentum_buffer" in s:
                        s["momentum_buffer"].mul_(o["momentum"]).add_(p.grad)
                    else:
                        s["momentum_buffer"] = self.first(p)
                    p.sub_(o["lr"] * s["momentum_buffer"])

    def first(self, p):
        return p.grad.clone()


# ---- between runs ----------------------------------------------------------------------------


class Restless(Adam):  # the lr differs in its last bits, and with it every run
    def lr(self, o):
        return o["lr"] * (1 + random.random() * 1e-6)


class Rounding(Adam):  # draws from torch's generator, as stochastic rounding does: no fault
    def lr(self, o):
        return o["lr"] * (1 + float(torch.rand(())) * 1e-8)


class ForgetsTime(Adam):  # keeps the time to itself, and not in a checkpoint that it writes so
    def state_dict(self):
        return {**super().state_dict(), "times": {}}

    def memory(self, p, o):
        s = super().memory(p, o)
        s.pop("step", None)
        s.setdefault("kept", True)
        return s

    def count(self, s):
        pass

    def time(self, p, s):
        times = self.__dict__.setdefault("times", {})
        times[p] = times.get(p, 0) + 1
        return times[p]


class StopsAt128(Adam):  # the gradients of the first ones come round again
    def gradients(self, params):
        return [
            params[k % 128].grad if params[k % 128].shape == p.shape else p.grad * 2
            for k, p in enumerate(params)
        ]


class StopsAtEmpty(Adam):  # an empty tensor ends the loop
    def gradients(self, params):
        for p in params:
            yield p.grad if p.numel() else torch.zeros_like(p)

    @torch.no_grad()
    def step(self, closure=None):
        loss = self.call(closure) if closure is not None else None
        for o in self.param_groups:
            for p in o["params"]:
                if p.numel() == 0:
                    break
                if p.grad is not None:
                    self.one(p, p.grad, self.memory(p, o), o)
        return loss


class LateIsOld(Adam):  # who comes late into a group takes over its time
    def memory(self, p, o):
        fresh = not self.state[p]
        s = super().memory(p, o)
        if fresh:
            peers = [self.state[q].get("step", 1) for q in o["params"] if q is not p]
            s["step"] = max([0, *(t - 1 for t in peers)])
        return s


class GapForgets(Adam):  # who has no gradient in a step begins anew
    def step(self, closure=None):
        for o in self.param_groups:
            for p in o["params"]:
                if p.grad is None:
                    self.state.pop(p, None)
        return super().step(closure)


class TurnsDecay(Adam):  # maximize turns the weight decay as well
    def direction(self, p, g, o):
        d = g + o["weight_decay"] * p
        return -d if o["maximize"] else d


class EpsIgnored(Adam):
    def eps(self, o):
        return 1e-8


class BetasOnce(Adam):  # the betas of the first step are those of every step
    once = None

    def step(self, closure=None):
        self.once = self.once or [o["betas"] for o in self.param_groups]
        for o, betas in zip(self.param_groups, self.once, strict=False):
            o["betas"], betas = betas, o["betas"]
        return super().step(closure)

    def load_state_dict(self, state_dict):
        super().load_state_dict(state_dict)
        self.once = None


class LeavesRemainder(Adam):  # what does not fill a block of 4096 is left, in more than one
    def one(self, p, g, s, o):
        before = p.clone()
        super().one(p, g, s, o)
        if p.numel() > 4096:
            whole = p.numel() // 4096 * 4096
            p.flatten()[whole:] = before.flatten()[whole:]


class DecaysMatrices(Adam):  # a row or a column is no vector to it: they decay twice as much
    def direction(self, p, g, o):
        twice = p.dim() == 2 and 1 in p.shape
        return super().direction(p, g, {**o, "weight_decay": o["weight_decay"] * (1 + twice)})


class CleansGradients(Adam):  # a NaN is taken for zero
    def direction(self, p, g, o):
        return super().direction(p, torch.nan_to_num(g), o)


class SkipsSteps(Adam):  # one NaN, and no parameter moves
    def step(self, closure=None):
        some = [p.grad for o in self.param_groups for p in o["params"] if p.grad is not None]
        if closure is None and any(g.dtype.is_floating_point and g.isnan().any() for g in some):
            return None
        return super().step(closure)


class SpreadsInfinity(Adam):  # where anything is infinite, everything is
    def direction(self, p, g, o):
        found = super().direction(p, g, o)
        return found + 0 * found.max() if found.numel() else found


class RefusesNaN(Adam):  # says so, and does nothing: no fault
    def direction(self, p, g, o):
        if not g.isfinite().all():
            raise FloatingPointError("a gradient is not finite")
        return super().direction(p, g, o)


class NarrowTime(Adam):  # a counter in the parameter's dtype, under another name
    def memory(self, p, o):
        s = super().memory(p, o)
        s.pop("step", None)
        s.setdefault("t", torch.zeros((), dtype=p.dtype))
        return s

    def count(self, s):
        s["t"] += 1

    def time(self, p, s):
        return s["t"]


# ---- one step --------------------------------------------------------------------------------


class ClosureTwice(Adam):
    def call(self, closure):
        super().call(closure)
        return super().call(closure)


class ClosureWithoutGrad(Adam):
    def call(self, closure):
        return closure()


class ClosureForgotten(Adam):
    def call(self, closure):
        return None


class ClosureValueLost(Adam):
    def call(self, closure):
        super().call(closure)


class ClosureHangs(Adam):
    def call(self, closure):
        while True:
            pass


class ClosureTooLate(Adam):  # the step takes the gradients that were there before the closure
    @torch.no_grad()
    def step(self, closure=None):
        held = [[p.grad for p in o["params"]] for o in self.param_groups]
        loss = self.call(closure) if closure is not None else None
        for o, grads in zip(self.param_groups, held, strict=True):
            for p, g in zip(o["params"], grads, strict=True):
                if g is not None:
                    self.one(p, g, self.memory(p, o), o)
        return loss


class ClosureOnce(Adam):  # the closure is called in the first step only
    def call(self, closure):
        if not hasattr(self, "kept"):
            self.kept = super().call(closure)
        return self.kept


class ClosureOnlyDocumented(Adam):
    def step(self):
        """One step.

        Args:
            closure (Callable, optional): reevaluates the model and returns the loss.
        """
        return super().step()


class ClosureByAnotherName(Adam):  # no fault
    def step(self, loss_fn=None):
        """One step.

        Args:
            loss_fn: a closure that reevaluates the model and returns the loss.
        """
        return super().step(loss_fn)


class ClosureDenied(Adam):  # no fault
    def step(self):
        """One step; a closure is not supported."""
        return super().step()


class WritesOptions(Adam):  # rounds eps, and writes it back
    def eps(self, o):
        o["eps"] = torch.tensor(o["eps"]).item()
        return o["eps"]


class NewMemory(Adam):
    def one(self, p, g, s, o):
        super().one(p, g, s, o)
        p.data = p.data.clone()


class KeepsGradient(Momentum):  # the buffer is the first gradient itself
    def first(self, p):
        return p.grad


class ZeroGradNone(Adam):  # whatever set_to_none says
    def zero_grad(self, set_to_none=True):
        super().zero_grad(set_to_none=True)


class StrictOptions(Adam):  # what a scheduler writes into the group is no option
    def lr(self, o):
        return self.of(**{k: v for k, v in o.items() if k != "params"})

    def of(self, lr, betas, eps, weight_decay, amsgrad, maximize):
        return lr


class ReadsInitialLr(Adam):  # the lr from before the scheduler
    def lr(self, o):
        return o.get("initial_lr", o["lr"])


class FirstLr(Adam):  # the lr of a parameter's first step, as Rprop's: no fault of a scheduler
    def one(self, p, g, s, o):
        super().one(p, g, s, {**o, "lr": s.setdefault("lr", o["lr"])})


class LrAsTensor(Adam):  # no fault: a scheduler writes into the tensor
    def add_param_group(self, param_group):
        super().add_param_group(param_group)
        group = self.param_groups[-1]
        group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float64)

    def lr(self, o):
        return float(o["lr"])


class TensorsInGroups(Adam):  # no fault: its first moments are a tuple of tensors in the group
    def memory(self, p, o):
        s = super().memory(p, o)
        if "firsts" not in o:
            o["firsts"] = tuple(torch.zeros_like(q) for q in o["params"])
        s["exp_avg"] = o["firsts"][next(k for k, q in enumerate(o["params"]) if p is q)]
        return s


class TakesTwice(Adam):  # a parameter may come in any number of groups
    def add_param_group(self, param_group):
        params = param_group["params"]
        if isinstance(params, set):
            raise TypeError("a set has no order")
        params = [params] if isinstance(params, torch.Tensor) else list(params)
        self.param_groups.append({**self.defaults, **param_group, "params": params})


class SharedClock(Adam):  # the time of the n-th parameter, of whichever optimizer
    clock = {}  # noqa: RUF012

    def __init__(self, params, **options):
        super().__init__(params, **options)
        self.clock.clear()
        self.order = []  # its own, so it does not promise to be copied

    def time(self, p, s):
        if not any(p is q for q in self.order):
            self.order.append(p)
        place = next(k for k, q in enumerate(self.order) if p is q)
        t = self.clock.get(place, s["step"])
        self.clock[place] = t + 1
        return t


class AnyEps(reference.Adam):  # takes a negative eps, though its parent does not
    _domains = {k: v for k, v in reference.Adam._domains.items() if k != "eps"}  # noqa: RUF012


class HalfDoneSparse(torch.optim.Adam):  # refuses sparse gradients, but not at once
    def _init_group(self, group, *lists):
        for p in group["params"]:
            if p.grad is not None and p.grad.is_sparse:
                p.sub_(p.grad.to_dense())
        return super()._init_group(group, *lists)


class ComplexIsReal(torch.optim.Adam):
    def _init_group(self, group, params, grads, *lists):
        found = super()._init_group(group, params, grads, *lists)
        grads[:] = [g.real + 0j * g if g.is_complex() else g for g in grads]
        return found


class SparseRounded(torch.optim.SGD):
    def _init_group(self, group, params, grads, *lists):
        found = super()._init_group(group, params, grads, *lists)
        grads[:] = [g.bfloat16().float() if g.is_sparse else g for g in grads]
        return found


class LrTensorRounded(Adam):
    def lr(self, o):
        return round(float(o["lr"]), 2) if torch.is_tensor(o["lr"]) else o["lr"]


class LrTensorWritten(Adam):  # divides the tensor itself
    def lr(self, o):
        return o["lr"].div_(2).mul(2) if torch.is_tensor(o["lr"]) else o["lr"]


class OneDtype(Adam):  # gradients in the dtype of the last parameter of the group
    def gradients(self, params):
        return [p.grad.to(params[-1].dtype).to(p.dtype) for p in params]


# ---- saving and copying ----------------------------------------------------------------------


class KeepsFirstLr(Adam):  # a loaded checkpoint does not set the lr of the first group
    def load_state_dict(self, saved):
        lr = self.param_groups[0]["lr"]
        super().load_state_dict(saved)
        self.param_groups[0]["lr"] = lr


def keeping(name):
    """A load_state_dict that leaves this option of the first group as it was."""

    def load_state_dict(self, saved):
        was = self.param_groups[0][name]
        torch.optim.Optimizer.load_state_dict(self, saved)
        self.param_groups[0][name] = was

    return load_state_dict


class KeepsDecay(Adam):
    load_state_dict = keeping("weight_decay")


class KeepsBetas(Adam):
    load_state_dict = keeping("betas")


class KeepsMaximize(Adam):
    load_state_dict = keeping("maximize")


class BackToDefaultEps(Adam):  # the first group's eps is by default again
    def load_state_dict(self, saved):
        super().load_state_dict(saved)
        self.param_groups[0]["eps"] = self.defaults["eps"]


class FirstDecayForAll(Adam):  # a loaded checkpoint gives every group the first one's decay
    def load_state_dict(self, saved):
        super().load_state_dict(saved)
        for group in self.param_groups[1:]:
            group["weight_decay"] = self.param_groups[0]["weight_decay"]


class FirstOptionsForAll(Adam):  # a loaded checkpoint gives every group the first one's options
    def load_state_dict(self, saved):
        super().load_state_dict(saved)
        first = {k: v for k, v in self.param_groups[0].items() if k != "params"}
        for group in self.param_groups[1:]:
            group.update(first)


class OwnPathOnly(torch.optim.Adam):  # forgets the moments of another code path
    def load_state_dict(self, saved):
        super().load_state_dict(saved)
        for o in self.param_groups:
            if o["foreach"] or o["fused"]:
                for p in o["params"]:
                    self.state[p]["exp_avg"] = torch.zeros_like(p)


class NewCheckpointsOnly(torch.optim.Adam):  # reads every option from the checkpoint
    def load_state_dict(self, saved):
        super().load_state_dict(saved)
        for group, old in zip(self.param_groups, saved["param_groups"], strict=True):
            group["maximize"] = old["maximize"]


class HalfTime(Adam):  # a step counter in float16, whatever the parameter's dtype
    def memory(self, p, o):
        s = super().memory(p, o)
        if not torch.is_tensor(s["step"]):
            s["step"] = torch.tensor(float(s["step"]), dtype=torch.float16)
        return s


class ShortTime(Adam):  # a step counter in int16
    def memory(self, p, o):
        s = super().memory(p, o)
        s["step"] = torch.as_tensor(s["step"], dtype=torch.int16)
        return s


class NoFusedHere(Adam):  # no fault: one of its paths needs a device that is not there
    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, foreach=None,
        fused=None,
    ):  # fmt: skip
        if fused:
            raise RuntimeError("fused=True needs parameters on a GPU")
        super().__init__(params, lr, betas, eps, weight_decay)


class SharesOptions(Adam):  # takes the checkpoint's groups as they are
    def load_state_dict(self, saved):
        super().load_state_dict(saved)
        for k, (group, old) in enumerate(
            zip(self.param_groups, saved["param_groups"], strict=True)
        ):
            old["params"] = group["params"]
            self.param_groups[k] = old


class SharesState(reference.Adam):  # though its parent copies what it loads
    def load_state_dict(self, saved):
        super().load_state_dict(saved)
        params = [p for o in self.param_groups for p in o["params"]]
        for p, old in zip(params, saved["state"].values(), strict=True):
            self.state[p].update({k: x for k, x in old.items() if k != "step"})


class PicklesNoTime(Adam):
    def __getstate__(self):
        state = dict(super().__getstate__())
        state["state"] = {p: {**s, "step": 0} for p, s in self.state.items()}
        return state

    def __deepcopy__(self, memo):
        params = [[copy.deepcopy(p, memo) for p in o["params"]] for o in self.param_groups]
        options = [{k: v for k, v in o.items() if k != "params"} for o in self.param_groups]
        made = type(self)([{**o, "params": ps} for o, ps in zip(options, params, strict=True)])
        made.load_state_dict(copy.deepcopy(self.state_dict()))
        return made


class CopyShares(Adam):  # a deep copy has its own parameters and the original's state
    def __deepcopy__(self, memo):
        params = [[copy.deepcopy(p, memo) for p in o["params"]] for o in self.param_groups]
        options = [{k: v for k, v in o.items() if k != "params"} for o in self.param_groups]
        made = type(self)([{**o, "params": ps} for o, ps in zip(options, params, strict=True)])
        made.load_state_dict(self.state_dict())
        return made


class ListsOnly(Adam):  # looks at the parameters first, and a generator is then empty
    def __init__(self, params, **options):
        if not all(torch.is_tensor(p) or isinstance(p, dict) for p in params):
            raise TypeError("parameters are tensors or groups")
        super().__init__(params, **options)


class AnotherDefault(Adam):
    """Adam, moving averages of the gradient and its square.

    Args:
        lr (float, optional): the learning rate (default: 1e-3)
        eps (float, optional): what keeps the denominator from zero (default: 1e-6)
    """


class ResolvedDefault(Adam):  # no fault
    """Adam.

    Args:
        eps (float, optional): what keeps the denominator from zero (default: 1e-8)
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=None, weight_decay=0.0):
        super().__init__(params, lr, betas, 1e-8 if eps is None else eps, weight_decay)


class ResolvedOtherwise(Adam):
    """Adam.

    Args:
        eps (float, optional): what keeps the denominator from zero (default: 1e-8)
    """

    def __init__(self, params, lr=1e-3, betas=(0.9, 0.999), eps=None, weight_decay=0.0):
        super().__init__(params, lr, betas, 1e-6 if eps is None else eps, weight_decay)


class WritesGroups(reference.Adam):  # fills in options in the caller's dictionary
    def add_param_group(self, param_group):
        self._check({**self.defaults, **param_group})
        torch.optim.Optimizer.add_param_group(self, param_group)


class OwnOption(Adam):
    """A drop-in replacement for :class:`torch.optim.Adam` that warms up."""

    def __init__(self, params, **options):
        super().__init__(params, **options)
        self.defaults["warmup"] = 1.0
        for group in self.param_groups:
            group["warmup"] = 1.0

    def lr(self, o):
        return super().lr(o) * o["warmup"]


class NoDropIn(OwnOption):  # no fault
    """An Adam that warms up.  It is **not** a drop-in replacement for torch.optim.Adam."""


class EntriesSquared(Adam):  # the second moment of a sparse gradient, entry by entry
    def one(self, p, g, s, o):
        if g.is_sparse:
            squares = torch.sparse_coo_tensor(g._indices(), g._values() ** 2, g.shape).to_dense()
            g = g.to_dense()
            s["exp_avg_sq"].add_(squares - g * g, alpha=1 - o["betas"][1])
        super().one(p, g, s, o)


class ReadsOnByStride(Adam):  # takes what lies in memory for the gradient, and zeros behind it
    def one(self, p, g, s, o):
        if 0 in g.stride():
            inside = torch.arange(g.numel()) < g.untyped_storage().nbytes() // g.element_size()
            g = g * inside.view(g.shape)
        super().one(p, g, s, o)


class RowMajor(Adam):  # the gradient in the order of memory, if it has four dimensions
    def one(self, p, g, s, o):
        if g.dim() == 4:
            g = g.as_strided((g.numel(),), (1,)).view(p.shape)
        super().one(p, g, s, o)


class Hoards(Adam):  # every gradient that it ever saw
    def one(self, p, g, s, o):
        self.seen = [*getattr(self, "seen", ()), g.clone()]
        super().one(p, g, s, o)


class Remembers(Adam):  # no fault: the norms of the last gradients, and no more
    def one(self, p, g, s, o):
        s.setdefault("norms", collections.deque(maxlen=64)).append(g.norm())
        super().one(p, g, s, o)


class SeedsAnew(Adam):
    def one(self, p, g, s, o):
        torch.manual_seed(7)
        super().one(p, g, s, o)


class SeedsPython(Adam):
    def __init__(self, *args, **kwargs):
        random.seed(7)
        super().__init__(*args, **kwargs)
