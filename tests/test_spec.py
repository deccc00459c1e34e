"""Specs: reading them, choosing a variant, settling conditions, writing them for people."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from optconform import expr, render
from optconform.errors import RequestError, SpecError
from optconform.expr import Hyper, Input
from optconform.oracle import exact
from optconform.oracle.structure import reachable
from optconform.spec import Domain, Spec, Value, equations_of, inserted, program, states_of
from optconform.spec_file import bundled, load

NAMES = ("adadelta", "adagrad", "adam", "adamax", "adamw", "lion", "rmsprop", "sgd")

# generic settings: nothing is zero, one or equal to something else
SETTINGS: dict[str, Value] = {
    "lr": 0.25, "weight_decay": 0.375, "eps": 0.625, "beta1": 0.75, "beta2": 0.875, "alpha": 0.875,
    "rho": 0.75, "momentum": 0.5625, "dampening": 0.3125, "lr_decay": 0.4375,
    "initial_accumulator_value": 0.1875,
}  # fmt: skip
START = {"p": 1.25, "grad": -0.6875, "m": 0.15, "v": 0.9, "v_max": 1.1, "g_avg": 0.1, "b": 0.7,
         "s": 0.8, "a": 0.5, "u": 0.6}  # fmt: skip


def flags(spec: Spec) -> list[str]:
    return [h.name for h in spec.hypers.values() if h.is_flag]


def settings(spec: Spec) -> Iterator[dict[str, Value]]:
    """Generic hyperparameters with every combination of flags, and of momentum on or off."""
    for chosen in itertools.product([False, True], repeat=len(flags(spec))):
        base = {n: SETTINGS.get(n, h.default) for n, h in spec.hypers.items()}
        base |= dict(zip(flags(spec), chosen, strict=True))
        if base.get("nesterov"):
            base["dampening"] = 0.0
        yield base
        if "momentum" in base and not base.get("nesterov"):
            yield {**base, "momentum": 0.0}


def values(spec: Spec, variant: dict[str, str], hypers: dict[str, Value], t: int) -> dict[str, str]:
    """The exact outputs of one step, to 25 digits."""
    made = program(spec, variant, hypers, t)
    scalars = {**{n: float(v) for n, v in hypers.items()}, "t": float(t), "lr0": 0.375}
    return {n: x.str(25) for n, x in exact.evaluate(made, scalars, START).items()}


def single(spec: Spec) -> Iterator[dict[str, str]]:
    """Every value of every axis but the defaults, with what it needs; and a number where one is
    taken."""
    for axis in spec.axes.values():
        for value, choice in axis.choices.items():
            if value != axis.default:
                yield {axis.name: value, **{a: v[0] for a, v in choice.needs.items()}}
        if axis.number is not None:
            yield {axis.name: "0.1"}


@cache
def cases() -> list[tuple[str, dict[str, str]]]:
    return [(n, v) for n in NAMES for v in single(load(n))]


def test_the_specs() -> None:
    assert tuple(bundled()) == NAMES
    assert load("adam") is load("adam")


# ---- programs --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_programs_for_all_flags(name: str) -> None:
    spec = load(name)
    seen = 0
    for hypers, t in itertools.product(settings(spec), (1, 2)):
        assert spec.admissible(hypers)
        spec.check_hypers(hypers)
        made = program(spec, {}, hypers, t)
        there = {
            s.name
            for s in spec.states.values()
            if s.when is None or expr.holds(s.when, {**hypers, "t": t})
        }
        assert {s.name for s in made.states} == there
        assert set(made.outputs) == {"p", *there}
        absent = set(spec.states) - there
        assert list(made.lets) == [n for n in spec.equations if n not in absent]
        assert list(made.outputs) == [n for n in made.lets if n in made.outputs]
        below = reachable(made.graph, made.outputs.values())
        inputs = {n.name for i in below if isinstance(n := made.graph.nodes[i], Input)}
        assert {"p", "grad"} <= inputs <= {"p", "grad", *there}
        used = {n.name for i in below if isinstance(n := made.graph.nodes[i], Hyper)}
        assert "lr" in used and used <= {*spec.hypers, "t"}
        assert program(spec, {}, {**hypers, "weight_decay": 0.0}, t + 8 * (t > 1)) is made
        seen += 1
    assert seen >= 2 ** (len(flags(spec)) + 1)


def test_flags_do_what_they_say() -> None:
    """By hand, in exactly representable numbers."""
    sgd = load("sgd")
    plain = {**sgd.defaults, "lr": 0.5}

    def step(spec: Spec, hypers: dict[str, Value], t: int, start: dict[str, float]) -> float:
        scalars = {**{n: float(v) for n, v in hypers.items()}, "t": float(t), "lr0": 0.5}
        return float(exact.evaluate(program(spec, {}, hypers, t), scalars, start)["p"])

    start = {"p": 3.0, "grad": 2.0, "b": 8.0}
    assert step(sgd, plain, 2, start) == 2.0
    assert step(sgd, {**plain, "maximize": True}, 2, start) == 4.0
    assert step(sgd, {**plain, "weight_decay": 1.0}, 2, start) == 0.5
    heavy: dict[str, Value] = {**plain, "momentum": 0.5}
    assert step(sgd, heavy, 1, start) == 2.0  # the first buffer is the gradient
    assert step(sgd, heavy, 2, start) == 0.0  # b = 4 + 2
    assert step(sgd, {**heavy, "dampening": 0.5}, 2, start) == 0.5  # b = 4 + 1
    assert step(sgd, {**heavy, "nesterov": True}, 2, start) == 0.5  # d = 2 + b / 2
    adam = load("adam")
    betas: dict[str, Value] = {**adam.defaults, "lr": 1.0, "beta1": 0.5, "beta2": 0.0, "eps": 0.0}
    at = {"p": 3.0, "grad": 2.0, "m": 4.0, "v": 1.0, "v_max": 36.0}
    assert step(adam, betas, 2, at) == 1.0  # m = 3, corrected 4; v = 4
    assert step(adam, {**betas, "amsgrad": True}, 2, at) == pytest.approx(3 - 4 / 6, abs=1e-15)
    rms = load("rmsprop")
    alpha: dict[str, Value] = {**rms.defaults, "lr": 1.0, "alpha": 0.5, "eps": 1.0}
    assert step(rms, alpha, 2, {"p": 3.0, "grad": 2.0, "v": 4.0}) == pytest.approx(3 - 2 / 3)
    centered = {**alpha, "centered": True}
    at = {"p": 3.0, "grad": 2.0, "v": 6.0, "g_avg": 0.0}  # 5 - 1
    assert step(rms, centered, 2, at) == pytest.approx(3 - 2 / 3, abs=1e-15)


# ---- variants --------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "variant"), cases(), ids=str)
def test_every_variant_evaluates_and_differs(name: str, variant: dict[str, str]) -> None:
    spec = load(name)
    base = {k: v for k, v in variant.items() if k != next(iter(variant))}  # what it needs
    differs = states_of(spec, variant) != states_of(spec, base)
    for hypers, t in itertools.product(settings(spec), (1, 2)):
        got = values(spec, variant, hypers, t)
        assert not any("nan" in x or "inf" in x for x in got.values())
        differs = differs or got != values(spec, base, hypers, t)
    assert differs, "an axis value without any effect"


def test_variants_are_reduced_and_ordered() -> None:
    adam = load("adam")
    assert adam.variant({}) == {}
    assert adam.variant({"eps": "outside", "decay": "l2"}) == {}
    wanted = {"amsgrad_max": "corrected", "eps": "hat", "decay": "none", "bias_correction": "both"}
    assert list(adam.variant(wanted).items()) == [
        ("decay", "none"), ("eps", "hat"), ("amsgrad_max", "corrected"),
    ]  # fmt: skip
    with pytest.raises(SpecError, match="has no axis 'nothing'; its axes are: decay, "):
        adam.variant({"nothing": "l2"})
    with pytest.raises(SpecError, match="axis eps of spec adam has no value 'x'; choose from out"):
        adam.variant({"eps": "x"})


@pytest.mark.parametrize("name", ["adam", "sgd", "adagrad"])
def test_decay_order_needs_a_decoupled_decay(name: str) -> None:
    spec = load(name)
    for decay in spec.axes["decay"].choices:
        wanted = {"decay": decay, "decay_order": "after"}
        if decay in ("l2", "none", "l2-after-momentum"):
            with pytest.raises(SpecError, match=r"decay_order=after .* needs decay to be decou"):
                spec.variant(wanted)
        else:
            assert spec.variant(wanted) == wanted
    with pytest.raises(SpecError, match="not l2"):
        spec.variant({"decay_order": "after"})
    assert spec.variant({"decay_order": "before"}) == {}


@pytest.mark.parametrize("name", NAMES)
def test_no_axis_undoes_what_another_says(name: str) -> None:
    """The last one that replaces an equation has it; so two may only if one knows of the other."""
    spec = load(name)
    values = [(axis, choice) for axis, x in spec.axes.items() for choice in x.choices.values()]
    for (a, first), (b, second) in itertools.combinations(values, 2):
        if a == b or a in second.needs or b in first.needs:
            continue
        for equation in first.equations.keys() & second.equations.keys():
            as_it_was = spec.equations[equation]
            changes = [c for c in (first, second) if c.equations[equation] != as_it_was]
            assert len(changes) < 2, f"{a} and {b} both replace {equation}"
            assert changes != [first], f"{b} comes after {a} and brings the old {equation} back"


def test_numbers_on_an_axis() -> None:
    spec = load("adagrad")
    assert states_of(spec, {"accumulator_init": "0.1"})["s"].init == "0.1"
    assert states_of(spec, {"accumulator_init": "1e-1"})["s"].init == "0.1"
    assert states_of(spec, {"accumulator_init": "one"})["s"].init == "1.0"
    assert states_of(spec, {})["s"].init == "initial_accumulator_value"
    assert spec.choice("accumulator_init", "0.25").effect == "the sum starts at 0.25"
    assert states_of(spec, {"accumulator_init": "2"})["s"].nonneg, "the rest is inherited"
    for bad in ("nan", "inf", "x", "", "0.1.2"):
        with pytest.raises(SpecError, match="or a number"):
            spec.variant({"accumulator_init": bad})
    with pytest.raises(SpecError, match=r"no value '0\.1'"):
        spec.variant({"eps": "0.1"})


def test_inserted_equations_come_before_their_reader() -> None:
    old = {"g": ("1",), "m": ("2",), "p": ("3",)}
    new = {"g": ("4",), "rate": ("5",), "half": ("6",), "p": ("7",), "last": ("8",)}
    assert list(inserted(old, new).items()) == [
        ("g", ("4",)), ("m", ("2",)), ("rate", ("5",)), ("half", ("6",)), ("p", ("7",)),
        ("last", ("8",)),
    ]  # fmt: skip
    assert list(old) == ["g", "m", "p"], "the old ones are left alone"
    adam = load("adam")
    after = {"decay": "decoupled", "decay_order": "after", "eps": "inside"}
    plain, changed = list(adam.equations), list(equations_of(adam, after))
    assert changed == [*plain[:-1], "rate", "moved", "p"]
    assert equations_of(adam, after)["denom"] == ("sqrt(v_hat + eps)",)
    sgd = list(equations_of(load("sgd"), {"nesterov_form": "old-buffer"}))
    assert sgd.index("b_old") < sgd.index("b") < sgd.index("d")


def test_adamw_is_adam_with_another_default() -> None:
    adam, adamw = load("adam"), load("adamw")
    assert adamw.axes["decay"].default == "decoupled"
    assert adam.axes["decay"].default == "l2"
    assert (adamw.defaults["weight_decay"], adam.defaults["weight_decay"]) == (1e-2, 0.0)
    assert {n: a for n, a in adamw.axes.items() if n != "decay"} == {
        n: a for n, a in adam.axes.items() if n != "decay"
    }
    assert equations_of(adamw, {}) == equations_of(adam, {"decay": "decoupled"})
    assert adamw.variant({"decay": "decoupled", "decay_order": "after"}) == {"decay_order": "after"}
    for decay in adam.axes["decay"].choices:
        for hypers, t in itertools.product(settings(adam), (1, 2)):
            variant = {"decay": decay, "eps": "hat"}
            assert values(adam, variant, hypers, t) == values(adamw, variant, hypers, t), decay


# ---- hyperparameters -------------------------------------------------------------------------


def test_domains() -> None:
    half = Domain(0.0, 1.0, True, False)
    assert [x in half for x in (-1e-300, 0.0, 0.5, 1.0, float("nan"))] == [
        False, True, True, False, False,
    ]  # fmt: skip
    assert str(half) == "[0, 1)"
    assert str(load("adam").hypers["lr"].domain) == "[0, inf)"
    open_low = Domain(0.0, 1.0, False, True)
    assert [x in open_low for x in (0.0, 1.0)] == [False, True]
    assert str(open_low) == "(0, 1]"


@pytest.mark.parametrize(
    ("hypers", "says"),
    [
        ({"lrr": 0.1}, "spec sgd has no hyperparameter 'lrr'; it has lr, momentum"),
        ({"lr": -0.1}, r"lr = -0.1 is outside its domain \[0, inf\)"),
        ({"lr": float("inf")}, "outside its domain"),
        ({"lr": float("nan")}, "outside its domain"),
        ({"lr": "0.1"}, "lr of spec sgd is a number"),
        ({"lr": True}, "lr of spec sgd is a number"),
        ({"dampening": 1.5}, r"outside its domain \[0, 1\]"),
        ({"nesterov": 1}, "nesterov of spec sgd is True or False"),
    ],
)
def test_settings_are_checked(hypers: dict[str, Value], says: str) -> None:
    with pytest.raises(RequestError, match=says):
        load("sgd").check_hypers(hypers)


def test_what_is_required_together() -> None:
    sgd = load("sgd")
    nesterov = {**sgd.defaults, "nesterov": True}
    assert not sgd.admissible(nesterov)
    assert sgd.admissible({**nesterov, "momentum": 0.9})
    assert not sgd.admissible({**nesterov, "momentum": 0.9, "dampening": 0.1})
    for name in NAMES:
        assert load(name).admissible(load(name).defaults)


# ---- files -----------------------------------------------------------------------------------

GOOD = """
name = "mine"
title = "Mine"
cite = "nobody"
requires = ["lr < 2 or not flip"]

[hyper]
lr = { default = 0.1, domain = "[0, inf)", symbol = "η" }
flip = { default = false }

[state]
v = { init = 0, torch_name = "sq", nonneg = true }

[symbols]
denom = "D"

[step]
v = "v + grad**2"
denom = "sqrt(v)"
p = "p + lr * grad / denom if flip else p - lr * grad / denom"

[variant.root]
plain = { effect = "as written" }
none = { effect = "no root", denom = "v" }
"""


def written(folder: Path, text: str, name: str = "mine") -> str:
    path = folder / f"{name}.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_spec_of_ones_own(tmp_path: Path) -> None:
    spec = load(written(tmp_path, GOOD))
    assert (spec.name, spec.title, spec.cite) == ("mine", "Mine", "nobody")
    assert spec.states["v"].init == "0.0"
    assert equations_of(spec, {"root": "none"})["denom"] == ("v",)
    assert float(exact.evaluate(
        program(spec, {}, spec.defaults, 1), {"lr": 0.5, "flip": 0, "t": 1, "lr0": 0.5},
        {"p": 1.0, "grad": 3.0, "v": 16.0},
    )["p"]) == 0.7  # fmt: skip
    child = 'name = "child"\ntitle = "Child"\ncite = "x"\nextends = "%s"\n[default]\nroot = "none"'
    derived = load(written(tmp_path, child % (tmp_path / "mine.toml"), "child"))
    assert equations_of(derived, {})["denom"] == ("v",)
    assert equations_of(derived, {"root": "plain"})["denom"] == ("sqrt(v)",)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('title = "Mine"', "", "title must be a non-empty string"),
        ('title = "Mine"', "title = 3", "title must be a non-empty string"),
        ('title = "Mine"', 'title = "Mine"\nextra = 1', "the spec has the unknown key 'extra'"),
        ("[hyper]", "[hyper", "not TOML"),
        ('domain = "[0, inf)"', 'domain = "[0; 1]"', "hyper lr has the bad domain"),
        ('domain = "[0, inf)"', 'domain = "[2, 1]"', "hyper lr has the bad domain"),
        ('domain = "[0, inf)"', 'domain = "[1, 2]"', "the default 0.1 is outside the domain"),
        (', domain = "[0, inf)"', "", "hyper lr needs a domain"),
        ("default = 0.1", 'default = "0.1"', "hyper lr needs a default"),
        ("default = 0.1, ", "", "hyper lr needs a default"),
        ("default = false", 'default = false, domain = "[0, 1]"', "is a flag and has no domain"),
        ("lr = {", "sqrt = {", "has the name 'sqrt', which is reserved or not a name"),
        ("lr = {", '"a b" = {', "has the name 'a b', which is reserved or not a name"),
        ("init = 0", "init = true", "state v: init must be a number or the name"),
        ("init = 0", 'init = "nothing"', "state v: init 'nothing' is neither a number nor a hyp"),
        ("init = 0", 'init = "2 * lr"', r"state v: init '2 \* lr' is neither a number nor a hyp"),
        ("init = 0", "init = inf", "state v: init 'inf' is neither a number nor a hyperparameter"),
        ("init = 0", f"init = 1{'0' * 400}", "state v: init is beyond the largest double"),
        ("default = 0.1", f"default = 1{'0' * 400}", "lr: the default is beyond the largest doub"),
        ("init = 0", "initial = 0", "state v has the unknown key 'initial'"),
        ("nonneg = true", 'when = "p > 0"', "state v: when 'p > 0' uses 'p', which is not a"),
        ("nonneg = true", 'when = "lr + 1 > 0"', r"state v: when 'lr \+ 1 > 0' is not a condition"),
        ('denom = "sqrt(v)"', 'denom = "root(v)"', r"equation denom: root\(\) is not one of"),
        ('denom = "sqrt(v)"', "denom = []", "denom: at least one expression"),
        ('denom = "sqrt(v)"', 'grad = "v"', "assigns 'grad', which is reserved"),
        ('denom = "sqrt(v)"', 'denom = "sqrt(w)"', "equation denom: unknown name 'w'"),
        (
            'denom = "sqrt(v)"',
            'denom = "later"\nlater = "v"',
            "it uses 'later' before that is comp",
        ),
        ('denom = "sqrt(v)"', 'denom = "loop"\nloop = "denom"', "a cycle, denom -> loop -> denom,"),
        ('v = "v + grad**2"', "", "state v is never assigned"),
        ('\np = "p + lr', '\nq = "p + lr', r"\[step\] must assign p"),
        ("if flip else", "if v > 0 else", "condition 'v > 0' uses 'v', which is not a hyperparam"),
        ("lr < 2", "rate < 2", "requires uses the unknown name 'rate'"),
        ("[step]", '[step]\nlr = "2 * lr"', "lr is a hyperparameter, and nothing else"),
        ('effect = "no root", ', "", "effect of .* must be a non-empty string"),
        ('denom = "v" }', 'denom = "v[0]" }', "equation denom: .* is not allowed"),
        ('denom = "v" }', 'denom = "w" }', "equation denom: unknown name 'w'"),
        ('denom = "v" }', 'needs = { eps = ["x"] } }', "root=none: needs names 'eps', which is no"),
        (
            'denom = "v" }',
            'needs = { root = ["plain"] } }',
            "root=none: needs names 'root', which is",
        ),
        ('denom = "v" }', "needs = { root = 3 } }", r"root.none\]: needs.root must be a list"),
        ('denom = "v" }', "needs = { root = [] } }", r"root.none\]: needs.root must be a list"),
        ('denom = "v" }', 'denom = "v if v > 0 else 1" }', "root=none, equation denom: the condit"),
        ('denom = "v" }', 'state.v = { when = "zz" } }', "root=none, state v: when 'zz' uses 'zz'"),
        ('denom = "v" }', 'state.v = { init = "zz" } }', "root=none, state v: init 'zz' is neith"),
        ('denom = "v" }', "state.w = { init = 0 } }", "root=none: the state w is never assigned"),
        ('"no root", ', '"no root", default = true, ', "the default 'none' replaces nothing"),
        ('"as written"', '"as written", denom = "v"', "axis root: the default 'plain' replaces no"),
        ('"as written"', '"as written", state.v = 1', r"\[variant.root.plain\] must be a table"),
        ('"as written"', '"as written", state.v = {}', "axis root: the default 'plain' replaces"),
        ("[variant.root]", '[default]\nroot = ["none"]\n[variant.root]', "which is no variant"),
        ('denom = "v" }', f'denom = "v * 1{"0" * 400}" }}', "denom: a constant is beyond"),
        ("lr < 2", "lr < 1e999", "requires: a constant is beyond the largest double"),
        ('denom = "v" }', f'denom = "{"-" * 950}v" }}', "denom: the expression is nested more"),
        ("[variant.root]", '[default]\nroot = "no"\n[variant.root]', "which is no variant"),
        ('name = "mine"', 'name = "mine"\nextends = "nothing"', "unknown spec 'nothing'"),
        ("if flip else", "if lr is t else", "is not a condition|not allowed"),
        ("lr < 2", "lr + 1 < 2", "is not a condition|not allowed"),
        ("lr < 2 or not flip", "lr > 2", "its defaults are not what it requires, lr > 2"),
        (
            'default = 0.1, domain = "[0, inf)"',
            'default = inf, domain = "[0, inf]"',
            "the default inf is no number to begin with",
        ),
        ("nonneg = true", 'nonneg = "false"', "state v: nonneg is true or false"),
        ('init = 0, torch_name = "sq"', "init = -1", "state v is nonneg, and begins with -1"),
        ("[step]", "[state.p]\ninit = 0\n[step]", "state p: p is the parameter"),
        (
            "[step]",
            '[state.w]\ninit = 0\ntorch_name = "sq"\n[step]\nw = "v"',
            "the states v and w are both called sq",
        ),
    ],
)
def test_refusals_name_the_place(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert GOOD.count(old) >= 1
    path = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(SpecError, match=says) as refused:
        load(path)
    assert "mine" in str(refused.value) or "unknown spec" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_equations_that_are_put_into_each_other_nest(tmp_path: Path) -> None:
    """A chain of equations is as deep for what walks it as one expression."""

    def chain(length: int) -> str:
        links = [f'x{k + 1} = "sqrt(x{k} + lr)"' for k in range(length)]
        last = f'denom = "x{length}"'
        return GOOD.replace('denom = "sqrt(v)"', "\n".join(['x0 = "v"', *links, last]))

    load(written(tmp_path, chain(25), "short"))
    with pytest.raises(SpecError, match=r"put into each other are \d+ levels deep"):
        load(written(tmp_path, chain(60), "long"))


def test_a_file_is_extended_from_where_the_extending_one_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "else" / "where").mkdir(parents=True)
    written(tmp_path, GOOD)
    child = 'name = "%s"\ntitle = "Child"\ncite = "x"\nextends = "%s"\n[default]\nroot = "none"'
    path = written(tmp_path / "specs", child % ("child", "../mine.toml"), "child")
    monkeypatch.chdir(tmp_path / "else" / "where")
    assert equations_of(load(path), {})["denom"] == ("v",)
    assert equations_of(load("../../specs/child.toml"), {})["denom"] == ("v",)
    itself = written(tmp_path / "specs", child % ("it", "../specs/it.toml"), "it")
    with pytest.raises(SpecError, match="extends itself"):
        load(itself)


def test_the_default_of_an_extending_spec_takes_its_states_along(tmp_path: Path) -> None:
    base = GOOD.replace('denom = "v" }', 'state.v = { init = 1 } }\nnumber = { effect = "x" }')
    written(tmp_path, base)
    child = 'name = "child"\ntitle = "Child"\ncite = "x"\nextends = "mine.toml"\n[default]\n'
    spec = load(written(tmp_path, child + 'root = "none"', "child"))
    assert states_of(spec, {})["v"].init == "1.0"
    assert states_of(spec, {"root": "plain"})["v"].init == "0.0"
    assert states_of(spec, {"root": "plain"})["v"].nonneg
    assert states_of(spec, {"root": "3"})["v"].init == "3.0"
    adds = base.replace("state.v = {", 'w = "v", state.w = {')
    written(tmp_path, adds, "adds")
    with pytest.raises(SpecError, match=r"\[default\] root = 'none' adds the state w"):
        load(written(tmp_path, child.replace("mine", "adds") + 'root = "none"', "other"))


def test_a_condition_on_the_first_lr(tmp_path: Path) -> None:
    spec = load(written(tmp_path, GOOD.replace("if flip else", "if lr == lr0 else"), "first"))
    hypers: dict[str, Value] = {"lr": 0.5, "flip": False}
    unchanged = program(spec, {}, hypers, 2)
    assert program(spec, {}, {**hypers, "lr0": 0.5}, 2) is unchanged
    assert program(spec, {}, {**hypers, "lr0": 0.25}, 2) is not unchanged


def test_no_such_spec(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="unknown spec 'nothing'; the specs are: adadelta, adagrad"):
        load("nothing")
    with pytest.raises(SpecError, match="cannot read the spec"):
        load(str(tmp_path / "missing.toml"))
    itself = GOOD.replace('name = "mine"', f'name = "mine"\nextends = "{tmp_path / "it.toml"}"')
    with pytest.raises(SpecError, match="extends itself"):
        load(written(tmp_path, itself, "it"))


# ---- for people ------------------------------------------------------------------------------


def test_symbols() -> None:
    names = render.symbols(load("adam"), {})
    assert {n: names[n] for n in ("lr", "beta1", "eps", "m_hat", "v", "grad", "lr0")} == {
        "lr": "η", "beta1": "β₁", "eps": "ε", "m_hat": "m̂", "v": "v", "grad": "∇f(p)", "lr0": "η₀",
    }  # fmt: skip
    assert "maximize" not in names
    assert render.symbols(load("rmsprop"), {})["g_avg"] == "ḡ"


LINES = {
    "sgd": ["  b ← u if t = 1 else μ·b + gain·u   if μ ≠ 0", "  p ← p − update"],
    "adam": ["  v ← β₂·v + (1 − β₂)·g²", "  m̂ ← m / c₁", "  c₂ ← 1 − β₂ᵗ", "  denom ← √v̂ + ε",
             "  v_max ← max(v_max, v)   if amsgrad"],
    "adamw": ["  rate ← η·λ", "  p ← p·(1 − rate) − update", "  g ← −∇f(p) if maximize else ∇f(p)"],
    "rmsprop": ["  v ← α·v + (1 − α)·g²", "  denom ← √variance + ε",
                "  variance ← v − ḡ² if centered else v"],
    "adagrad": ["  s ← s + g²", "  η̃ ← η / (1 + (t − 1)·γ)", "  s ← s₀  (sum)"],
    "adamax": ["  u ← max(β₂·u, |g| + ε)", "  denom ← u", "  u ← 0  (exp_inf)"],
    "lion": ["  c ← β₁·m + (1 − β₁)·g", "  update ← η·sign(c)"],
    "adadelta": ["  Δ ← √(a + ε) / √(v + ε)·g", "  a ← ρ·a + (1 − ρ)·Δ²"],
}  # fmt: skip

LATEX = {
    "sgd": r"  p &\leftarrow p - \mathrm{update}",
    "adam": r"  \hat{m} &\leftarrow \frac{m}{c_1}",
    "adamw": r"  p &\leftarrow p \, (1 - \mathrm{rate}) - \mathrm{update}",
    "rmsprop": r"  v &\leftarrow \alpha \, v + (1 - \alpha) \, g^{2}",
    "adagrad": r"  \tilde{\eta} &\leftarrow \frac{\eta}{1 + (t - 1) \, \gamma}",
    "adamax": r"  u &\leftarrow \max(\beta_2 \, u, |g| + \varepsilon)",
    "lion": r"  c &\leftarrow \beta_1 \, m + (1 - \beta_1) \, g",
    "adadelta": r"  \Delta &\leftarrow \frac{\sqrt{a + \varepsilon}}{\sqrt{v + \varepsilon}} \, g",
}


@pytest.mark.parametrize("name", NAMES)
def test_the_box(name: str) -> None:
    spec = load(name)
    box = render.box(spec, {}).splitlines()
    assert box[0] == spec.title
    assert set(LINES[name]) <= set(box)
    for axis in spec.axes.values():
        k = box.index(f"  {axis.name}")
        assert box[k + 1].startswith(f"    {axis.default} ")
    assert list(render.equations(spec, {})) == list(spec.equations)


@pytest.mark.parametrize("name", NAMES)
def test_latex(name: str) -> None:
    spec = load(name)
    assert LATEX[name] in [x.removesuffix(r" \\") for x in render.latex(spec, {}).splitlines()]
    for variant in ({}, *single(spec)):
        text = render.latex(spec, variant)
        body = text.replace(r"\{", "").replace(r"\}", "")
        depth = 0
        for c in body:
            depth += (c == "{") - (c == "}")
            assert depth >= 0
        assert depth == 0
        begins, ends = (re.findall(rf"\\{w}{{(\w+\*?)}}", text) for w in ("begin", "end"))
        assert sorted(begins) == sorted(ends) and begins[0] == ends[-1] == "align*"
        assert text.count(r"\leftarrow") == len(equations_of(spec, variant))
        assert text.count("(") == text.count(")")
        math = text.split("\n", 1)[1]
        assert not set(math) & set("←·√−²ᵗ₁₂β≠"), "no Unicode in the formulas"


def test_variants_are_written() -> None:
    adam = load("adam")
    variant = {"decay": "decoupled", "eps": "inside"}
    box = render.box(adam, variant)
    assert "  variant: decay = decoupled, eps = inside" in box.splitlines()
    assert "  denom ← √(v̂ + ε)" in box.splitlines()
    assert render.equation_text(adam, {"eps": "clamp"}, "denom") == "denom ← max(√v̂, ε)"
    assert r"\max(\sqrt{\hat{v}}, \varepsilon)" in render.latex(adam, {"eps": "clamp"})


def test_a_spec_needs_no_hyperparameter(tmp_path: Path) -> None:
    file = tmp_path / "steady.toml"
    file.write_text('name = "steady"\ntitle = "x"\ncite = "y"\n[step]\np = "p - 0.125 * grad"\n')
    assert render.box(load(str(file)), {}).splitlines()[3:] == [
        "For t = 1, 2, …",
        "  p ← p − 0.125·∇f(p)",
    ]


def test_a_start_below_what_it_can_be_is_refused() -> None:
    with pytest.raises(SpecError, match=r"accumulator_init=-0\.5 .*: it never turns negative"):
        load("adagrad").variant({"accumulator_init": "-0.5"})
    assert load("adagrad").variant({"accumulator_init": "0.5"})
