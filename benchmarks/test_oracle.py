"""How fast the oracle judges, and what judging costs beside the step that is judged.

`make bench` prints the tables; `extra_info` carries element-steps per second and the multiple.
"""

import time

import numpy as np
import pytest
import torch

from optconform.formats import FORMATS
from optconform.implementation import resolve
from optconform.lockstep import judge
from optconform.oracle.judge import Steps, compare, outcomes
from optconform.oracle.scalars import Profile
from optconform.scenario import Group, Param, Recipe, Scenario, Step
from optconform.spec import Program, program
from optconform.spec_file import load
from optconform.trace import run

ROWS = 8  # steps of one scenario, judged at once as the harness does


def steps_of(spec_name: str, dtype: str, elements: int) -> tuple[Steps, Program]:
    spec = load(spec_name)
    hyper = {**spec.defaults, "eps": 1e-3, "weight_decay": 0.1, "lr": 1e-2}
    rng = np.random.default_rng(0)
    round_ = FORMATS[dtype].round
    scalars = [
        {**{n: float(v) for n, v in hyper.items()}, "t": float(t), "lr0": 1e-2}
        for t in range(2, ROWS + 2)
    ]
    straight = program(spec, {}, hyper, 2)
    names = ["p", *(s.name for s in straight.states)]
    observed = {n: round_(np.abs(rng.standard_normal((ROWS, elements)))) for n in names}
    start = {**observed, "grad": round_(rng.standard_normal((ROWS, elements)))}
    return Steps(scalars, start, observed), straight


@pytest.mark.parametrize("elements", [64, 1000, 100_000])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("spec", ["adam", "sgd"])
def test_element_steps_per_second(benchmark, spec, dtype, elements):
    benchmark.group = f"oracle, {spec}, {dtype}"
    steps, straight = steps_of(spec, dtype, elements)

    def work():
        answer = outcomes(steps, [straight], fmt=FORMATS[dtype], profile=Profile())[0]
        for name, outcome in answer.items():
            compare(outcome, steps.observed[name], steps.start[name])

    benchmark(work)
    rate = ROWS * elements / benchmark.stats["median"]
    benchmark.extra_info["element-steps per second"] = rate
    print(f"\n{spec} {dtype} {elements} elements: {rate:.3g} element-steps/s")


@pytest.mark.parametrize("elements", [64, 1000, 100_000])
def test_harness_beside_the_step(benchmark, elements):
    """The whole of running and judging a scenario, as a multiple of the bare optimizer steps."""
    benchmark.group = "harness beside torch.optim.Adam"
    torch.set_num_threads(1)
    spec = load("adam")
    (single,) = [i for i in resolve("torch.optim:Adam", None) if "single" in i.name]
    param = Param((elements,), Recipe("normal"), Recipe("normal"))
    scenario = Scenario("adam", "float32", (Group(spec.defaults, (param,)),), (Step(),) * ROWS)

    def whole():
        judge(run(single, scenario, spec), spec, {}, profile=Profile())

    p = torch.nn.Parameter(torch.randn(elements))
    optimizer = torch.optim.Adam([p], foreach=False)
    p.grad = torch.randn(elements)
    optimizer.step()

    def bare():
        for _ in range(ROWS):
            optimizer.step()

    times = []
    for _ in range(20):
        begin = time.perf_counter()
        bare()
        times.append(time.perf_counter() - begin)
    benchmark(whole)
    multiple = benchmark.stats["median"] / float(np.median(times))
    benchmark.extra_info["multiple of the bare steps"] = multiple
    print(f"\n{elements} elements: running and judging takes {multiple:.1f} times the bare steps")
