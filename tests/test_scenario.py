"""Scenarios as plain data, their edits, and what the strategies draw."""

from __future__ import annotations

import copy
import functools
import json
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from optconform import strategies
from optconform.edits import (
    first_steps,
    isolated,
    joined_at_start,
    map_params,
    trimmed,
    with_values,
)
from optconform.errors import RequestError
from optconform.formats import FORMATS
from optconform.implementation import Implementation, resolve
from optconform.scenario import (
    GRAD_KINDS,
    INIT_KINDS,
    TILE,
    AddGroup,
    Group,
    Param,
    Recipe,
    Reload,
    Scenario,
    SetHyper,
    Step,
    as_source,
    dumps,
    from_json,
    gradient,
    initial,
    to_json,
)
from optconform.spec_file import load
from optconform.trace import Row, Trace, run

ADAM = load("adam")
QUICK = settings(
    max_examples=50,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def drawn(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    found: list[Any] = []

    @settings(QUICK, max_examples=count)
    @given(strategy)
    def collect(x: Any) -> None:
        found.append(x)

    collect()
    return found


@functools.cache
def subject() -> Implementation:
    (adam,) = resolve("reference", "adam")
    return adam


def played(scenario: Scenario) -> Trace:
    trace = run(subject(), scenario, ADAM)
    assert trace.crash is None, trace.crash
    return trace


def some(count: int, **options: Any) -> list[Scenario]:
    return drawn(strategies.scenarios(ADAM, dtype="float32", **options), count)


def same_rows(a: list[Row], b: list[Row], pick: slice = slice(None)) -> bool:
    """Whether rows of ``a``, reduced to some elements, are those of ``b``, but for their step."""
    return len(a) == len(b) and all(
        x.scalars == y.scalars
        and np.array_equal(x.grad[pick], y.grad)
        and set(x.start) == set(y.start)
        and set(x.observed) == set(y.observed)
        and all(np.array_equal(x.start[n][pick], y.start[n], equal_nan=True) for n in y.start)
        and all(
            np.array_equal(x.observed[n][pick], y.observed[n], equal_nan=True) for n in y.observed
        )
        for x, y in zip(a, b, strict=True)
    )


# ---- JSON ------------------------------------------------------------------------------------


@QUICK
@given(st.data())
def test_json_round_trip(data: st.DataObject) -> None:
    spec = load(data.draw(st.sampled_from(["adam", "sgd", "rmsprop", "adagrad"])))
    dtype = data.draw(st.sampled_from(list(FORMATS)))
    scenario = data.draw(strategies.scenarios(spec, dtype=dtype))
    assert from_json(json.loads(dumps(scenario))) == scenario
    explicit = with_values(scenario)
    again = from_json(json.loads(dumps(explicit)))
    assert dumps(again) == dumps(explicit)
    fmt = FORMATS[dtype]
    for g, h in zip(scenario.all_groups, again.all_groups, strict=True):
        for p, q in zip(g.params, h.params, strict=True):
            assert np.array_equal(initial(p, fmt), initial(q, fmt))
            for k in range(scenario.steps):
                assert np.array_equal(gradient(p, k, fmt), gradient(q, k, fmt))


def test_numbers_that_json_has_not() -> None:
    values = (math.nan, math.inf, -math.inf, -0.0, 5e-324, 0.1)
    p = Param((6,), Recipe("values", 0, values), Recipe("values", 0, (values,)))
    scenario = Scenario("adam", "float64", (Group({"lr": 0.1, "amsgrad": True}, (p,)),), (Step(),))
    again = from_json(json.loads(dumps(scenario)))
    (q,) = again.groups[0].params
    assert repr(q.init.values) == repr(values)
    assert repr(q.grad.values) == repr((values,))
    assert again.groups[0].hyper["amsgrad"] is True


def plain() -> dict[str, Any]:
    p = Param((2,), Recipe("normal", 1), Recipe("mixture", 2))
    group = Group({"lr": 0.1}, (p,))
    events = (Step(((0, 0),)), SetHyper(0, {"lr": 0.2}), AddGroup(group), Reload(), Step())
    return to_json(Scenario("adam", "float32", (group,), events))


def test_the_sample_is_read() -> None:
    assert from_json(plain()).steps == 2
    assert len(from_json(plain()).all_groups) == 2


@pytest.mark.parametrize("data", [None, [], {}, "adam", 3, {"dtype": "float32"}])
def test_what_is_no_scenario_is_refused(data: Any) -> None:
    with pytest.raises(RequestError, match=r"^not a scenario: "):
        from_json(data)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("dtype", "float33"),
        ("dtype", None),
        ("dtype", []),
        ("groups", 3),
        ("groups/0", None),
        ("groups/0/hyper", [1]),
        ("groups/0/hyper/lr", "fast"),
        pytest.param("groups/0/hyper/lr", 10**400, id="lr-beyond-doubles"),
        ("groups/0/params", None),
        ("groups/0/params/0/shape", 2),
        ("groups/0/params/0/shape", [-1]),
        ("groups/0/params/0/shape", [10**5, 10**5]),
        ("groups/0/params/0/shape", [math.inf]),
        ("groups/0/params/0/layout", "diagonal"),
        ("groups/0/params/0/init/kind", "odd"),
        ("groups/0/params/0/init/seed", "x"),
        ("groups/0/params/0/init/seed", math.inf),
        ("groups/0/params/0/init/seed", -1),
        ("groups/0/params/0/init/kind", "mixture"),
        ("groups/0/params/0/init", {"values": [1.0]}),
        ("groups/0/params/0/init", {"values": [[1.0], [2.0]]}),
        ("groups/0/params/0/grad", {}),
        ("groups/0/params/0/grad/seed", -1),
        ("groups/0/params/0/grad/kind", "ones"),
        ("groups/0/params/0/grad", {"values": [1.0, 2.0]}),
        ("groups/0/params/0/grad", {"values": [[1.0, 2.0], [1.0]]}),
        ("groups/0/params/0/grad", {"values": [["x"]]}),
        ("events", None),
        ("events/0/op", "jump"),
        ("events/0/skipped", [[0]]),
        ("events/0/skipped", None),
        ("events/1/group", "x"),
        ("events/1/hyper", None),
        ("events/1/hyper", {"lr": "fast"}),
        ("events/2/group", []),
        ("events/0", {}),
    ],
)
def test_bad_json_is_refused(path: str, value: Any) -> None:
    data = copy.deepcopy(plain())
    *way, last = (int(k) if k.isdigit() else k for k in path.split("/"))
    inner: Any = data
    for k in way:
        inner = inner[k]
    inner[last] = value
    with pytest.raises(RequestError, match=r"^not a scenario: "):
        from_json(data)


# ---- recipes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", list(FORMATS))
def test_recipes_are_deterministic_and_representable(dtype: str) -> None:
    fmt = FORMATS[dtype]
    drawn_before: dict[str, bytes] = {}
    for seed in (0, 7):
        for kind in INIT_KINDS:
            p = Param((3, 40), Recipe(kind, seed), Recipe("zeros"))
            x = initial(p, fmt)
            assert x.shape == (120,) and np.isfinite(x).all()
            assert np.array_equal(fmt.round(x), x)
            assert np.array_equal(initial(replace(p), fmt), x)
            random = kind not in ("zeros", "ones")
            assert (drawn_before.get(kind) != x.tobytes()) == (random or seed == 0)
            drawn_before[kind] = x.tobytes()
        for kind in GRAD_KINDS:
            p = Param((120,), Recipe("zeros"), Recipe(kind, seed))
            for step in range(4):
                x = gradient(p, step, fmt)
                assert x.shape == (120,)
                assert np.array_equal(fmt.round(x), x)
                assert np.array_equal(gradient(replace(p), step, fmt), x)
                assert np.isfinite(x).all() or (kind == "huge" and dtype == "float16")
                key = f"{kind} {step}"
                assert (drawn_before.get(key) != x.tobytes()) == (x.any() or seed == 0)
                drawn_before[key] = x.tobytes()


def test_kinds_do_what_they_are_called() -> None:
    fmt = FORMATS["float32"]

    def grads(kind: str) -> np.ndarray[Any, Any]:
        p = Param((200,), Recipe("zeros"), Recipe(kind, 5))
        return np.stack([gradient(p, k, fmt) for k in range(5)])

    assert not grads("zeros").any()
    assert (grads("spike")[0] != 0).all() and not grads("spike")[1:].any()
    assert not grads("late")[:2].any() and (grads("late")[2:] != 0).all()
    assert (grads("constant") == grads("constant")[0]).all() and grads("constant").all()
    flip = grads("flip")
    assert (flip[1:] == -flip[:-1]).all() and flip.any()
    assert (np.abs(grads("subnormal")) < 8 * fmt.tiny).all()
    huge = np.abs(grads("huge"))
    assert (huge**2 > fmt.largest).any() and (huge**2 < fmt.largest).any()
    sizes = np.abs(grads("mixture"))
    assert np.log10(sizes[sizes > 0].max() / sizes[sizes > 0].min()) > 12
    ever, never = (sizes > 0).any(axis=1), (sizes == 0).any(axis=1)
    assert ever.all() and never.all()
    zeros = (initial(Param((1000,), Recipe("mostly-zero", 1), Recipe("zeros")), fmt) == 0).mean()
    assert 0.6 < zeros < 0.8
    for make in (
        lambda: initial(Param((1,), Recipe("mixture"), Recipe("zeros")), fmt),
        lambda: gradient(Param((1,), Recipe("zeros"), Recipe("wide")), 0, fmt),
    ):
        with pytest.raises(RequestError, match="unknown kind"):
            make()


# ---- edits -----------------------------------------------------------------------------------


def test_isolating_keeps_the_trace() -> None:
    elements = groups = 0
    for scenario in some(30, max_steps=4):
        rows = played(scenario).rows
        for (g, k), before in rows.items():
            p = scenario.all_groups[g].params[k]
            whole = isolated(scenario, g, k)
            assert same_rows(before, played(whole).rows[0, 0])
            groups += g > 0
            for index in {0, p.size // 2, p.size - 1} if p.size else set():
                alone = isolated(scenario, g, k, index)
                assert alone.groups[0].params[0].shape == (1,) and len(alone.all_groups) == 1
                after = played(alone).rows[0, 0]
                assert same_rows(before, after, slice(index, index + 1)), (g, k, index)
                elements += 1
    assert elements > 30 and groups >= 5


def test_an_empty_parameter_has_no_element_to_isolate() -> None:
    param = Param((0,), Recipe("ones"), Recipe("normal"))
    spec = load("sgd")
    alone = isolated(
        Scenario("sgd", "float32", (Group(dict(spec.defaults), (param,)),), (Step(),)), 0, 0, 0
    )
    (kept,) = alone.groups[0].params
    assert kept.shape == (0,) and initial(kept, FORMATS["float32"]).size == 0


def test_first_steps_are_a_prefix() -> None:
    for scenario in some(10, max_steps=6):
        whole = played(scenario).rows
        for count in range(1, scenario.steps + 1):
            short = first_steps(scenario, count)
            assert short.steps == count and isinstance(short.events[-1], Step)
            rows = played(short).rows
            for key, before in whole.items():
                kept = [r for r in before if r.step < count]
                assert same_rows(kept, rows.get(key, []))
        assert first_steps(scenario, 0).events == ()
        assert first_steps(scenario, 99) == scenario


def test_a_late_look_sees_the_rest() -> None:
    """Saved and loaded, with groups that join and gradients that are None, before it or after."""
    for scenario in some(10, max_steps=6):
        whole = played(scenario).rows
        for first in range(1, scenario.steps):
            rows = run(subject(), scenario, ADAM, first=first).rows
            for key, before in whole.items():
                kept = [r for r in before if r.step >= first]
                assert same_rows(kept, rows.get(key, []))


def test_trimming_drops_what_is_not_used() -> None:
    dropped = 0
    for scenario in some(10, max_steps=6):
        short = first_steps(with_values(scenario), 2)
        cut = trimmed(short)
        for g in cut.all_groups:
            assert all(len(p.grad.values) <= 2 for p in g.params)
        dropped += len(dumps(cut)) < len(dumps(short))
        assert trimmed(scenario) == scenario, "recipes are left alone"
        a, b = played(short).rows, played(cut).rows
        assert set(a) == set(b) and all(same_rows(a[k], b[k]) for k in a)
    assert dropped >= 3


def test_joining_at_the_start() -> None:
    joined = 0
    for scenario in some(60, max_steps=4):
        if scenario.groups == scenario.all_groups:
            assert joined_at_start(scenario) == scenario
            continue
        joined += 1
        early = joined_at_start(scenario)
        assert early.groups == early.all_groups == scenario.all_groups
        assert early.steps == scenario.steps
        a, b = played(scenario).rows, played(early).rows
        for key, rows in a.items():
            if key[0] < len(scenario.groups):
                assert same_rows(rows, b[key])
            else:
                assert len(rows) < len(b[key]) or not rows
    assert joined >= 3


def test_changing_all_parameters() -> None:
    scenario = next(s for s in some(60) if s.groups != s.all_groups)
    plain = map_params(scenario, lambda p: replace(p, layout="strided"))
    assert {p.layout for g in plain.all_groups for p in g.params} == {"strided"}
    assert [len(g.params) for g in plain.all_groups] == [len(g.params) for g in scenario.all_groups]


# ---- strategies ------------------------------------------------------------------------------


def test_what_is_fixed_stays() -> None:
    fixed = {"lr": 0.125, "eps": 0.25, "amsgrad": True}
    for scenario in some(40, fixed=fixed, max_steps=3, changeable=("lr", "eps", "beta1")):
        assert 1 <= scenario.steps <= 3
        for g in scenario.all_groups:
            assert {n: g.hyper[n] for n in fixed} == fixed
        for e in scenario.events:
            assert not isinstance(e, SetHyper) or set(e.hyper) == {"beta1"}


@pytest.mark.parametrize("most", [1, 2, 4])
def test_steps_are_limited(most: int) -> None:
    counts = {s.steps for s in some(30, max_steps=most)}
    assert max(counts) == most and min(counts) >= min(2, most)
    small = some(20, max_steps=most, small=True)
    assert {s.steps for s in small} <= set(range(1, 5)) and max(s.steps for s in small) <= most
    for s in small:
        assert all(len(g.params) == 1 and 9 <= g.params[0].size <= 33 for g in s.groups)
        assert all(e == Step() for e in s.events)


def test_drawn_scenarios_are_well_formed() -> None:
    for name in ("sgd", "adam", "rmsprop"):
        spec = load(name)
        for scenario in drawn(strategies.scenarios(spec, dtype="bfloat16"), 40):
            count = len(scenario.groups)
            for g in scenario.all_groups:
                assert set(g.hyper) == set(spec.hypers) and spec.admissible(g.hyper)
                spec.check_hypers(g.hyper)
            for e in scenario.events:
                count += isinstance(e, AddGroup)
                if isinstance(e, SetHyper):
                    assert e.group < count
                    spec.check_hypers(e.hyper)
                if isinstance(e, Step):
                    for g, k in e.skipped:
                        assert g < count and k < len(scenario.all_groups[g].params)


@pytest.mark.parametrize(
    "make",
    [
        lambda: strategies.hypers(ADAM, fixed={"momentum": 0.9}),
        lambda: strategies.hypers(ADAM, fixed={"lr": -1.0}),
        lambda: strategies.hypers(ADAM, fixed={"amsgrad": 1}),
        lambda: strategies.groups(ADAM, fixed={"lr": "x"}),
        lambda: strategies.scenarios(ADAM, dtype="float128"),
        lambda: strategies.scenarios(ADAM, dtype="float32", max_steps=0),
        lambda: strategies.scenarios(ADAM, dtype="float32", fixed={"lr": math.nan}),
        lambda: strategies.scenarios(ADAM, dtype="float32", fixed={"nope": 1}),
        lambda: strategies.scenarios(ADAM, dtype="float32", changeable=["lr", "nope"]),
    ],
)
def test_bad_arguments_are_refused_early(make: Callable[[], Any]) -> None:
    """When the strategy is made, and not when it is drawn from."""
    with pytest.raises(RequestError):
        make()


def test_the_promised_regimes_are_reached() -> None:
    scenarios = some(200)
    params = [p for s in scenarios for g in s.all_groups for p in g.params]
    hypers = [g.hyper for s in scenarios for g in s.all_groups]
    fmt = FORMATS["float32"]
    joint = {
        "zero parameters": sum((initial(p, fmt) == 0).any() for p in params) / len(params),
        "spikes": sum(p.grad.kind in ("spike", "mixture") for p in params) / len(params),
        "large eps": sum(float(h["eps"]) >= 1e-2 for h in hypers) / len(hypers),
        "decay that shows": sum(
            0.01 <= float(h["lr"]) * float(h["weight_decay"]) <= 1 for h in hypers
        ) / len(hypers) * 2,
        "amsgrad": sum(bool(h["amsgrad"]) for h in hypers) / len(hypers),
    }  # fmt: skip
    assert {n: x for n, x in joint.items() if x < 0.2} == {}

    def changes(s: Scenario) -> bool:
        return any(
            isinstance(e, SetHyper) and e.hyper.get("lr", lr) != lr
            for e in s.events
            for lr in [s.all_groups[e.group].hyper["lr"] if isinstance(e, SetHyper) else None]
        )

    rare: dict[str, Callable[[Scenario], bool]] = {
        "lr changed": changes,
        "None gradients": lambda s: any(isinstance(e, Step) and e.skipped for e in s.events),
        "two unlike groups": lambda s: len({repr(g.hyper) for g in s.groups}) > 1,
        "a late group": lambda s: any(isinstance(e, AddGroup) for e in s.events),
        "a reload": lambda s: Reload() in s.events,
        "late gradients": lambda s: any(p.grad.kind == "late" for p in s.groups[0].params),
        "lr zero": lambda s: any(g.hyper["lr"] == 0 for g in s.groups),
        "a scalar": lambda s: any(p.shape == () for p in s.groups[0].params),
        "an empty tensor": lambda s: any(p.size == 0 for p in s.groups[0].params),
    }  # fmt: skip
    counts = {n: sum(map(test, scenarios)) for n, test in rare.items()}
    assert {n: c for n, c in counts.items() if c < 5} == {}
    odd = {p.layout for p in params if len(p.shape) >= 2 and p.size > 1}
    assert odd == {"contiguous", "transposed", "strided", "grad-strided"}
    assert {7, 8, 9, 15, 16, 17, 31, 32, 33} <= {p.size for p in params}
    # what is tiled is for tensors that are too large to be drawn
    assert {p.grad.kind for p in params} == set(GRAD_KINDS) - {"tiled"}
    assert {p.init.kind for p in params} == set(INIT_KINDS) - {"tiled"}


@pytest.mark.parametrize(
    "values",
    [
        [], [0.1], [0.0] * 30, [0.0, -0.0] * 20, [-0.0] * 11 + [0.0] * 20,
        [math.nan, math.inf] * 30, [float(k % TILE) for k in range(100)],
        [float(k % 7) for k in range(100)],
    ],
)  # fmt: skip
def test_numbers_are_written_to_the_last_bit(values: list[float]) -> None:
    assert list(map(repr, eval(as_source(values)))) == list(map(repr, values))


def test_what_is_tiled_is_written_once() -> None:
    large = Param((65_553,), Recipe("tiled", 1), Recipe("tiled", 1))
    for x in (initial(large, FORMATS["float32"]), gradient(large, 0, FORMATS["float32"])):
        assert len(set(x)) == TILE
        assert len(as_source(x.tolist())) < 400
