"""Subjects that misbehave.  What each does is its name; the numerics are torch's own SGD."""

import contextlib
import ctypes
import os
import signal
import sys

import torch


class SGD(torch.optim.SGD):
    """Counts its steps and does one odd thing in each; None gradients are left alone."""

    count = 0

    def step(self, closure=None):
        self.count += 1
        self.odd()
        return super().step(closure)

    def odd(self):
        pass


class RaisesInInit(SGD):
    def __init__(self, params, lr=1e-3):
        raise RuntimeError("no optimizer today\nnor tomorrow")


class RaisesInStep3(SGD):
    def odd(self):
        if self.count == 3:
            raise RuntimeError("the third step is too much")


class RaisesOddly(SGD):
    def odd(self):
        class Mute(Exception):
            def __str__(self):
                raise ValueError("an exception that cannot be printed")

        raise Mute


class ReturnsNan(SGD):
    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.fill_(float("nan"))


class Hangs(SGD):
    def odd(self):
        while True:
            pass


class Exits(SGD):
    def odd(self):
        os._exit(3)


class KillsItself(SGD):
    def odd(self):
        os.kill(os.getpid(), signal.SIGKILL)


class Segfaults(SGD):
    def odd(self):
        ctypes.string_at(0)


class RaisesSystemExit(SGD):
    def odd(self):
        sys.exit("enough")


class RaisesKeyboardInterrupt(SGD):
    def odd(self):
        raise KeyboardInterrupt


class Talks(SGD):  # a megabyte a step, by every road; otherwise right
    def odd(self):
        print("x" * 500_000)
        print("y" * 250_000, file=sys.stderr)
        for descriptor in (1, 2):
            with contextlib.suppress(OSError):
                os.write(descriptor, b"z" * 125_000)


class MutatesGradient(SGD):
    @torch.no_grad()
    def step(self, closure=None):
        loss = super().step(closure)
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    p.grad.add_(1)
        return loss


class TouchesNone(SGD):
    @torch.no_grad()
    def step(self, closure=None):
        loss = super().step(closure)
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    p.add_(1)
        return loss


class DeletesGroups(SGD):
    def odd(self):
        del self.param_groups


class ShrinksParameters(SGD):
    def odd(self):
        for group in self.param_groups:
            for p in group["params"]:
                p.data = p.data.reshape(-1)[:0]


class Forks(SGD):  # once in each process, and goes on in both; otherwise right
    forked = False

    def odd(self):
        if not Forks.forked:
            Forks.forked = True
            os.fork()


class ChangesDefaultDtype(SGD):  # otherwise right
    def odd(self):
        torch.set_default_dtype(torch.float64)


class FlushesToZero(SGD):  # otherwise right
    def odd(self):
        torch.set_flush_denormal(True)


class AllocatesWithoutEnd(SGD):
    def odd(self):
        held = []
        while True:
            held.append(torch.ones(2**24))  # 64 MiB


class PoisonsTorch(SGD):  # otherwise right, but later subjects had better not live in its process
    def odd(self):
        torch.Tensor.lerp_ = lambda self, end, weight: self.fill_(5)
