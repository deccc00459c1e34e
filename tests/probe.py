"""Run by test_adapters.py in a process of its own, for frameworks do not all live in one.

``python probe.py LIBRARY`` drives every implementation of the library through one scenario, and
prints what came of it; one of them also lends the script that replays it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from optconform.implementation import Implementation, Unsupported, lacks, resolve, world
from optconform.lockstep import blocks, failing, judge
from optconform.oracle.scalars import PROFILES
from optconform.scenario import Group, Param, Recipe, Reload, Scenario, SetHyper, Step
from optconform.spec import Value
from optconform.spec_file import load
from optconform.trace import Trace, run
from optconform.without import without

# where the page differs from what is done; test_adapters.py has the findings
DONE = {
    "keras.optimizers:RMSprop[torch]": {"eps": "inside"},
    "paddle.optimizer:Adam": {"eps": "outside"},
    "paddle.optimizer:AdamW": {"eps": "outside"},
}

# what is ignored though the page has it, or adds something else to the parameter than its decay
IGNORED: dict[str, dict[str, Value]] = {
    "bitsandbytes.optim:RMSprop": {"momentum": 0.0},
    "bitsandbytes.optim:Adam": {"amsgrad": False},
    "bitsandbytes.optim:AdamW": {"amsgrad": False},
    "torch_optimizer:SGDW": {"weight_decay": 0.0},
}


def scenario(implementation: Implementation, dtype: str = "float32") -> Scenario:
    """Two parameters, a changed lr and a reload if it has one, every hyperparameter at work."""
    spec = load(implementation.spec)
    lively: dict[str, Value] = {"lr": 0.1, "momentum": 0.9, "centered": True, "weight_decay": 0.1}
    lively |= {"eps": 1e-2, "amsgrad": True, "initial_accumulator_value": 0.5}
    chosen = {n: v for n, v in lively.items() if n in spec.hypers}
    hyper = {**spec.defaults, **chosen, **implementation.fixed(spec)}
    hyper |= IGNORED.get(implementation.name, {})
    shapes: list[tuple[int, ...]] = [(9,), (3, 2)]
    params = tuple(
        Param(shape, Recipe("normal", k), Recipe("normal", k)) for k, shape in enumerate(shapes)
    )
    events = (Step(), Step(), SetHyper(0, {"lr": 0.05}), Step(), Reload(), Step())
    made = Scenario(spec.name, dtype, (Group(hyper, params),), events)
    return without(made, lacks(implementation))


def follows(trace: Trace, implementation: Implementation) -> bool:
    """Whether it does what it declares, by some profile of its precision."""
    variant = {**implementation.variant, **DONE.get(implementation.name, {})}
    return any(
        not failing(judge(trace, load(implementation.spec), variant, profile=p))
        for p in PROFILES
        if p.harmless(trace.scenario.dtype) and p.rounding == "nearest"
    )


def refuses(implementation: Implementation) -> bool:
    """Whether what it lacks is Unsupported, and all is well without."""
    s, spec, missing = scenario(implementation), load(implementation.spec), lacks(implementation)
    pair = Scenario(s.spec, s.dtype, s.groups * 2, (Step(), Step(((0, 0), (1, 0)))))
    if run(implementation, without(pair, missing), spec).crash is not None:
        return False
    try:
        run(implementation, pair, spec)
    except Unsupported:
        return True
    return not {"groups", "none-gradient"} & missing


def main(library: str) -> None:
    told: dict[str, Any] = {}
    for implementation in resolve(library, None):
        if world(implementation) not in ("", "torch"):
            continue
        spec = load(implementation.spec)
        trace = run(implementation, scenario(implementation), spec)
        told[implementation.name] = {
            "crash": repr(trace.crash) if trace.crash is not None else "",
            "follows": follows(trace, implementation),
            "visible": blocks(trace, spec, spec.variant({})) is not None,
            "broken": trace.broken,
            "refuses": refuses(implementation),
            "script": implementation.repro(scenario(implementation), spec),
            "seen": [
                [row.observed["p"].tolist() for row in trace.rows[0, k]]
                for k in range(2)
                if (0, k) in trace.rows
            ],
        }
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
