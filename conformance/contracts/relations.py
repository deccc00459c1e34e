"""Contracts between runs, for any implementation: they need its ``Session`` and nothing else.

Runs of one scenario must agree in every bit.  Runs that a faithful implementation may compute in
another order (many tensors together, say) are held against the oracle: broken is what leaves its
bound in one run and not in the other.  Where both leave it the equations are at fault, and lockstep
has told so.
"""

from collections.abc import Callable
from dataclasses import replace

from ..edits import map_params, with_values
from ..formats import FORMATS
from ..lockstep import blocks
from ..minimise import Focus
from ..scenario import AddGroup, Group, Param, Reload, Scenario, Step
from ..spec import Hypers, Value
from .bench import Bench, Breach, Raised, differing, param
from .contract import NotApplicable, Relation
from .edges import nonfinite, shapes
from .effects import hyper_change, hyper_effect

MANY = 130  # more tensors than any multi-tensor kernel takes in one launch
LONG = 600  # steps; a counter in bfloat16 stops at 256
TAIL = 40  # the last of them are judged


def determinism(bench: Bench) -> Breach | None:
    if bench.profile.rounding == "faithful":
        raise NotApplicable("it rounds by chance")

    def again(scenario: Scenario) -> str | None:
        at = differing(bench.run(scenario), bench.run(scenario))
        return at and f"two runs of one scenario differ from {_where(at)} on"

    return _smallest(
        again,
        bench.scenario([param(1, 1)], steps=1),
        bench.scenario([param(1, 17), param(2, 5)], [param(3, 9)]),
        runs=lambda s: {"one run": s, "the same once more": s},
    )


def resume(bench: Bench) -> Breach | None:
    some: list[Param] = [param(1, 17), param(2, 5)]
    joined = AddGroup(Group(bench.lively, (param(3, 9),)))
    step, load = Step(), Reload()
    events = (step, joined, step, load, step, step, load, step)
    # a state wider than the parameter may be rounded when it is loaded: no bits are compared here
    return _compared(
        bench,
        "saving and loading",
        bench.fit(replace(bench.scenario(some), events=events), "reload"),
        lambda s: replace(s, events=tuple(e for e in s.events if e != load)),
    )


def joint_separate(bench: Bench) -> Breach | None:
    shapes = [(1,), (2,), (3,), (5,), (17,)]
    params = [param(k, *shapes[k % 5], grad="normal") for k in range(MANY)]
    other = [param(k, 7) for k in (MANY, MANY + 1, MANY + 2)]

    def scenario(count: int) -> Scenario:
        made = bench.scenario(params[:count], other, steps=2)
        rest = tuple(replace(g, hyper=_slower(g.hyper)) for g in made.groups[1:])
        return replace(made, groups=(made.groups[0], *rest))

    def fault(count: int) -> tuple[str, Scenario] | None:
        """A parameter that is wrong among the others and right alone."""
        joint = scenario(count)
        for miss in bench.misses(bench.run(joint)):
            group = joint.groups[miss.group]
            alone = replace(joint, groups=(replace(group, params=(group.params[miss.param],)),))
            if bench.right(alone):
                return str(miss), alone
        return None

    if fault(MANY) is None:
        return None
    low, high = 0, MANY
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fault(middle) else (middle, high)
    found = fault(high)
    assert found is not None
    said, alone = found
    joint = scenario(high)
    beside = "" if len(joint.groups) == 1 else f" and {len(other)} in the second"
    return Breach(
        f"with {high} parameter{'s' * (high > 1)} in the first group{beside}, {said}, and is right "
        "alone",
        {"together": joint, "alone": alone},
    )


def empty_tensor(bench: Bench) -> Breach | None:
    a, b, empty = param(1, 17), param(2, 5), param(3, 0)
    beside = bench.scenario([empty, a, empty, b], [empty])

    def without(scenario: Scenario) -> Scenario:
        kept = [replace(g, params=tuple(p for p in g.params if p.size)) for g in scenario.groups]
        return replace(scenario, groups=tuple(g for g in kept if g.params))

    return _compared(bench, "an added empty tensor", beside, without)


def late_gradient(bench: Bench) -> Breach | None:
    plain = bench.scenario([param(1, 3), param(2, 5), param(3, 17)], [param(4, 9)], steps=6)
    late = ((0, 0), (0, 2), (1, 0))
    events = (Step(late), Step(late), Step(((0, 2),)), Step(), Step(((0, 1),)), Step())
    return _compared(
        bench,
        _which_is_missing,
        bench.fit(replace(plain, events=events), "none-gradient"),
        lambda s: replace(s, events=tuple(Step() if isinstance(e, Step) else e for e in s.events)),
    )


def _which_is_missing(scenario: Scenario) -> str:
    steps = [e for e in scenario.events if isinstance(e, Step)]
    late = steps[0].skipped if steps else ()
    return "a first gradient that comes late" if late else "a gradient that is missing for a step"


def maximize(bench: Bench) -> Breach | None:
    if "maximize" not in bench.flags:
        raise NotApplicable("it has no option maximize")
    some = [param(1, 17), param(2, 5, grad="normal")]

    def down(scenario: Scenario) -> Scenario:
        groups = tuple(
            replace(g, hyper={**g.hyper, "maximize": not g.hyper["maximize"]})
            for g in scenario.groups
        )
        return _negated(with_values(replace(scenario, groups=groups)))

    up = bench.scenario(some, hyper={"maximize": True})
    return _compared(bench, "maximize on g in place of minimize on -g", up, down)


def long_run(bench: Bench) -> Breach | None:
    some = [param(1, 5, grad="normal", init="zeros")]
    early = bench.run(bench.scenario(some, steps=TAIL))
    if blocks(early, bench.spec, bench.follows) is None:
        raise NotApplicable(f"its state cannot be seen, and {LONG} steps are too many without")
    if bench.misses(early):
        return None
    long = bench.scenario(some, steps=LONG)
    missed = bench.misses(bench.run(long, first=LONG - TAIL))
    return Breach(str(missed[0]), {"the run": long}) if missed else None


RELATIONS = (
    Relation("determinism", "the same scenario gives the same bits again", determinism),
    Relation(
        "resume",
        "a run that is saved and loaded goes on as it should",
        resume,
    ),
    Relation(
        "joint-separate",
        f"{MANY} parameters in unlike groups move as each moves alone",
        joint_separate,
    ),
    Relation("empty-tensor", "an added empty tensor changes nothing", empty_tensor),
    Relation(
        "late-gradient",
        "a parameter whose first gradient comes late starts then, and the others do not mind",
        late_gradient,
    ),
    Relation("maximize", "to maximize on g is to minimize on -g", maximize),
    Relation("hyper-effect", "every hyperparameter has an effect", hyper_effect),
    Relation(
        "hyper-change",
        "a hyperparameter that is changed between steps has its new value from then on",
        hyper_change,
    ),
    Relation(
        "shapes",
        "an element moves alike in a tensor of any size and shape",
        shapes,
        dtypes=tuple(FORMATS),
    ),
    Relation(
        "non-finite",
        "a NaN in a gradient shows in its own element, and in no other",
        nonfinite,
        dtypes=tuple(FORMATS),
    ),
    Relation(
        "long-run",
        f"in a 16-bit dtype, step {LONG} is as right as the first ones",
        long_run,
        dtypes=("bfloat16", "float16"),
    ),
)


# ---- helpers ---------------------------------------------------------------------------------


def _smallest(
    broken: Callable[[Scenario], str | None],
    *scenarios: Scenario,
    runs: Callable[[Scenario], dict[str, Scenario]],
) -> Breach | None:
    """The first of ``scenarios`` that is broken, if the last and hardest one is."""
    if broken(scenarios[-1]) is None:
        return None
    for scenario in scenarios:
        said = broken(scenario)
        if said is not None:
            return Breach(said, runs(scenario))
    return None


def _compared(
    bench: Bench,
    what: str | Callable[[Scenario], str],
    hard: Scenario,
    plain: Callable[[Scenario], Scenario],
) -> Breach | None:
    """Whether ``hard`` leaves the bound, or raises, where ``plain`` of it does not; ``what`` they
    differ in, or what tells that of the smallest that does."""
    if not bench.right(plain(hard)):
        return None

    def fails(scenario: Scenario) -> Focus | None:
        try:
            missed = bench.misses(bench.run(scenario))
            return missed[0].focus if missed and bench.right(plain(scenario)) else None
        except Raised:
            return None  # another fault

    missed = bench.misses(bench.run(hard))
    if not missed:
        return None
    small = bench.minimised(hard, missed[0].focus, fails)
    seen = bench.misses(bench.run(small))[0]
    name = what if isinstance(what, str) else what(small)
    return Breach(f"{name} changes the run: {seen}", {name: small, "without": plain(small)})


def _where(at: tuple[int, int, int]) -> str:
    return f"step {at[0]}, parameter {at[2]} of group {at[1]}"


def _slower(hyper: Hypers) -> dict[str, Value]:
    return {**hyper, "lr": float(hyper["lr"]) / 2} if "lr" in hyper else dict(hyper)


def _negated(scenario: Scenario) -> Scenario:
    def turned(p: Param) -> Param:
        rows = tuple(tuple(-x for x in row) for row in p.grad.values)
        return replace(p, grad=replace(p.grad, values=rows))

    return map_params(scenario, turned)
