"""Specs that nobody would write: random equations, run as they are written, raise no alarm."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from optconform.draws import drawn
from optconform.interpreter import Interpreted, machine
from optconform.lockstep import failing, free_judge, judge
from optconform.oracle.scalars import Profile
from optconform.spec_file import load
from optconform.trace import run

SPEC = """
    name = "random"
    title = "R"
    cite = "x"
    [hyper]
    lr = {{ default = 1e-2, domain = "[0, inf)" }}
    k = {{ default = 0.5, domain = "[0, 1]" }}
    beta = {{ default = 0.9, domain = "[0, 1)" }}
    eps = {{ default = 1e-3, domain = "[0, inf)" }}
    [state]
    m = 0
    v = 0
    [step]
    g = "{g}"
    m = "{m}"
    v = "{v}"
    u = "{u}"
    p = "{p}"
"""


class Writer:
    """Small expressions, scalar and elementwise."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def scalar(self, depth: int = 0) -> str:
        rng = self.rng
        if depth == 2 or rng.random() < 0.4:
            return rng.choice(["lr", "k", "beta", "eps", "0.5", "2", "(1 - beta)", "(1-beta**t)"])
        a, b = self.scalar(depth + 1), self.scalar(depth + 1)
        return rng.choice(
            [f"({a} * {b})", f"({a} + {b})", f"({a} - {b})", f"({a} / {b})", f"sqrt({a})",
             f"max({a}, {b})", f"abs({a})", f"sign({a})"]
        )  # fmt: skip

    def tensor(self, names: Sequence[str], depth: int = 0) -> str:
        rng = self.rng
        if depth == 3 or rng.random() < 0.2:
            return rng.choice(names)
        a, b = self.tensor(names, depth + 1), self.tensor(names, depth + 1)
        s = self.scalar()
        return rng.choice(
            [f"({a} + {b})", f"({a} - {b})", f"({a} * {b})", f"({s} * {a})", f"({a} / {s})",
             f"({a})**2", f"{a} / (sqrt(abs({b})) + eps)", f"sqrt(abs({a}))", f"max({a}, {b})",
             f"max({a}, {s})", f"abs({a})", f"sign({a})", f"ema({a}, {b}, beta)"]
        )  # fmt: skip

    def spec(self) -> str:
        choose = self.rng.choice
        return SPEC.format(
            g=choose(["grad", "grad + k*p", self.tensor(["grad", "p"], 1)]),
            m=choose(["ema(m, g, beta)", "beta*m + g", self.tensor(["m", "g"], 1)]),
            v=choose(["ema(v, g**2, beta)", "max(v, abs(g))", self.tensor(["v", "g", "m"], 1)]),
            u=self.tensor(["g", "m", "v"]),
            p=choose(["p - lr*u", "p*(1 - lr*k) - lr*u", f"p - {self.tensor(['u', 'p', 'm'], 1)}"]),
        )


@pytest.mark.parametrize("seed", range(4))
def test_random_equations_raise_no_alarm(tmp_path: Path, seed: int) -> None:
    decided = 0
    for number in range(10):
        path = tmp_path / f"{number}.toml"
        path.write_text(Writer(100 * seed + number).spec())
        spec = load(str(path))
        dtype = ("float32", "bfloat16", "float16", "float64")[number % 4]
        for scenario in drawn(spec, dtype=dtype, examples=2, seed=seed, max_steps=4):
            trace = run(Interpreted(machine(spec, {}), "written"), scenario, spec)
            assert trace.crash is None
            for judged in (
                judge(trace, spec, {}, profile=Profile()),
                free_judge(trace, spec, {}, profile=Profile()),
            ):
                assert not failing(judged), path.read_text()
                decided += sum(
                    int((~x.outcome.undecided).sum()) for j in judged for x in j.outputs.values()
                )
    assert decided > 1000
