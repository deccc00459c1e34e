"""A torch-like optimizer that a table describes: its words, its groups, its script."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from optconform.implementation import Unsupported, documented
from optconform.impls.adapters.driven import Entry
from optconform.impls.adapters.torch_declared import Declared
from optconform.lockstep import failing, judge
from optconform.oracle.scalars import Profile
from optconform.scenario import Group, Param, Recipe, Reload, Scenario, SetHyper, Step
from optconform.spec_file import load
from optconform.trace import run

MODULE = """
import torch


class Renamed(torch.optim.Optimizer):
    '''Adam without bias correction; groups know betas as b1 and b2, and a start that stays.'''

    def __init__(self, params, rate, betas=(0.9, 0.99), eps=1e-6, start=None):
        group = dict(rate=rate, b1=betas[0], b2=betas[1], eps=eps, start=start or rate)
        super().__init__(params, group)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None:
                    continue
                held = self.state[p]
                if not held:
                    held["first"] = torch.zeros_like(p)
                    held["second"] = torch.zeros_like(p)
                held["first"].lerp_(p.grad, 1 - group["b1"])
                held["second"].mul_(group["b2"]).addcmul_(p.grad, p.grad, value=1 - group["b2"])
                p.mul_(1 - 0.5 * group["rate"] / group["start"])
                denom = held["second"].sqrt() + group["eps"]
                p.addcdiv_(held["first"], denom, value=-group["rate"])
"""


def _words(keywords: dict[str, Any]) -> dict[str, Any]:
    if keywords["rate"] > 1:
        raise Unsupported("it refuses a rate above 1")
    rest = {n: v for n, v in keywords.items() if n not in ("b1", "b2")}
    return {**rest, "betas": (keywords["b1"], keywords["b2"])}


ENTRY = Entry(
    "Renamed",
    "renamed_subject.Renamed",
    "adamw",
    {"lr": "rate", "beta1": "b1", "beta2": "b2", "eps": "eps"},
    {"m": "first", "v": "second"},
    "https://example.org",
    {"bias_correction": "none", "decay": "decoupled-relative-lr"},
    fixed={"weight_decay": 0.5},
    adjust=_words,
)


@pytest.fixture
def declared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Declared:
    (tmp_path / "renamed_subject.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    return Declared(
        subject=importlib.import_module("renamed_subject").Renamed,
        name="renamed:Renamed",
        module="renamed_subject",
        spec="adamw",
        variant=ENTRY.variant,
        entry=ENTRY,
        distribution="torch",
        regroup=lambda k: {"b1": k["betas"][0], "b2": k["betas"][1], "start": k["rate"]},
        settled=("start",),
    )


def _scenario(declared: Declared) -> Scenario:
    spec = load("adamw")
    fixed = declared.fixed(spec)
    assert fixed == {"weight_decay": 0.5, "amsgrad": False, "maximize": False}
    one = {**spec.defaults, **fixed, "lr": 0.5, "eps": 1e-2}
    two = {**one, "lr": 0.25, "beta1": 0.5, "beta2": 0.75}
    param = Param((5,), Recipe("normal", 1), Recipe("normal", 2))
    groups = (Group(one, (param,)), Group(two, (param,)))
    events = (Step(), SetHyper(1, {"lr": 0.125, "beta2": 0.5}), Step(), Reload(), Step())
    return Scenario("adamw", "float32", groups, events)


def test_it_is_driven_by_its_own_words(declared: Declared) -> None:
    trace = run(declared, _scenario(declared), load("adamw"))
    assert trace.crash is None and not trace.broken
    judged = judge(trace, load("adamw"), declared.variant, profile=Profile())
    assert judged and not any(part.free for part in judged) and not failing(judged)
    # and would not be if the group's words were not passed
    assert failing(judge(trace, load("adamw"), {"decay": "decoupled"}, profile=Profile()))


def test_its_page_is_told(declared: Declared) -> None:
    assert documented(declared) == {"link": "https://example.org", "silent": []}


def test_its_script_shows_the_same(declared: Declared, tmp_path: Path) -> None:
    spec, scenario = load("adamw"), _scenario(declared)
    trace = run(declared, scenario, spec)
    script = tmp_path / "repro.py"
    script.write_text(declared.repro(scenario, spec))
    assert "optconform" not in script.read_text()
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for k in range(2):
        lines = [x for x in done.stdout.splitlines() if x.startswith(f"  p{k} param:")]
        seen = [row.observed["p"].tolist() for row in trace.rows[k, 0]]
        assert [json.loads(x.partition(": ")[2]) for x in lines] == seen


def test_what_it_refuses_is_unsupported(declared: Declared) -> None:
    spec = load("adamw")
    group = Group(
        {**spec.defaults, **declared.fixed(spec), "lr": 2.0},
        (Param((2,), Recipe("normal"), Recipe("normal")),),
    )
    with pytest.raises(Unsupported, match="above 1"):
        run(declared, Scenario("adamw", "float32", (group,), (Step(),)), spec)
