"""Hypothesis strategies for scenarios.  Public: use them in your own property tests.

What they draw often is what default settings hide: zero parameters, magnitudes over many decades,
spikes followed by zeros, eps near 1e-2, lr * weight_decay near 0.1, hyperparameters changed in
mid-run, None and late gradients, two unlike groups or two that differ in one setting, an empty
tensor at the end, an optimizer that is reloaded before its first step, sizes around SIMD widths.
"""

import ast
import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable

from . import expr
from .errors import RequestError
from .formats import FORMATS, format_named
from .scenario import (
    AddGroup,
    Event,
    Group,
    Param,
    Recipe,
    Reload,
    Scenario,
    SetHyper,
    Step,
)
from .spec import HyperSpec, Spec, Value, all_conditions

_USUAL: Mapping[str, Sequence[float]] = {
    # dyadic values are exact in every format; decimal ones show where a rounding happens
    "lr": (1e-2, 1e-2, 0.1, 1e-3, 0.5, 2.0**-7, 1.0, 0.0),
    "eps": (1e-8, 1e-2, 1e-2, 1e-3, 2.0**-10, 1.0, 1e-5, 0.0, 1e-300),
    "weight_decay": (0.0, 0.0, 0.1, 0.01, 1.0, 10.0, 0.5),
    "momentum": (0.9, 0.9, 0.0, 0.5, 0.99, 0.25, 1.0),
    "dampening": (0.0, 0.0, 0.5, 0.1, 1.0),
    "lr_decay": (0.0, 1e-2, 0.5),
    "initial_accumulator_value": (0.0, 0.0, 0.1, 1.0),
    "beta1": (0.9, 0.9, 0.5, 0.0, 0.3, 0.95),
    "beta2": (0.999, 0.99, 0.5, 0.0, 0.999999, 0.9),
    "alpha": (0.99, 0.9, 0.5, 0.0, 0.999999),
    "rho": (0.9, 0.95, 0.5, 0.0, 0.999999),
}

TRIES = 100  # seeds for a scenario, where most of what is drawn is not what a spec requires
_APART = 10**15  # between them: none is that of another scenario

# the first is the simplest: large enough for every role of a gradient mixture to occur
_SIZES = (16, 1, 1, 2, 3, 5, 7, 8, 9, 15, 17, 31, 32, 33, 63, 64, 65, 100, 128, 129)


def hyper_values(hyper: HyperSpec) -> st.SearchStrategy[Value]:
    """Values of one hyperparameter: the usual and the revealing ones inside its domain."""
    if hyper.domain is None:
        return st.sampled_from([False, False, True])
    return st.sampled_from([float(hyper.default), *usual(hyper)])


def usual(hyper: HyperSpec) -> list[float]:
    """The usual and the revealing values of a hyperparameter that is no flag."""
    domain = hyper.domain
    assert domain is not None
    some = _USUAL.get(hyper.name, (0.0, 1e-2, 0.1, 0.5, 0.9, 1.0))
    return [v for v in some if v in domain]


def refuse_unsatisfiable(spec: Spec, fixed: Mapping[str, Value], who: str = "") -> None:
    """Raise RequestError where no setting that could be drawn is what ``spec`` requires; ``fixed``
    values are kept.  ``who`` has them, if it is not the user alone."""
    named = sorted(set().union(*(expr.names(ast.parse(c, mode="eval")) for c in spec.requires)))
    free = [n for n in named if n not in fixed]
    choices = [[(n, v) for v in _drawable(spec.hypers[n])] for n in free]
    if any(
        spec.admissible({**spec.defaults, **dict(setting), **fixed})
        for setting in itertools.product(*choices)
    ):
        return
    having = ", ".join(f"{n} = {fixed[n]!r}" for n in named if n in fixed)
    having = f"; {who or 'the request'} has {having}" if having else ""
    others = f", and no value that is drawn for {' or '.join(free)} fits" if free else ""
    raise RequestError(f"spec {spec.name} requires {' and '.join(spec.requires)}{having}{others}")


def _drawable(hyper: HyperSpec) -> list[Value]:
    return [True, False] if hyper.is_flag else [hyper.default, *usual(hyper)]


def hypers(
    spec: Spec, *, fixed: Mapping[str, Value] | None = None
) -> st.SearchStrategy[dict[str, Value]]:
    """Admissible settings of all hyperparameters of ``spec``; ``fixed`` ones keep their value.

    Raises RequestError when ``fixed`` names no hyperparameter, leaves its domain, or leaves nothing
    that is admissible.
    """
    fixed = dict(fixed or {})
    spec.check_hypers(fixed)
    refuse_unsatisfiable(spec, fixed)
    draws = {
        name: st.just(fixed[name]) if name in fixed else hyper_values(h)
        for name, h in spec.hypers.items()
    }
    return (
        st.fixed_dictionaries(draws)
        .map(lambda h: _reconciled(spec, h, fixed))
        .filter(spec.admissible)
    )


def _reconciled(spec: Spec, h: dict[str, Value], fixed: Mapping[str, Value]) -> dict[str, Value]:
    """Nesterov asks for momentum and no dampening: grant it, rather than draw again and again."""
    if h.get("nesterov") and not spec.admissible(h):
        for name, value in (("momentum", 0.9), ("dampening", 0.0)):
            if name in h and name not in fixed:
                h = {**h, name: h[name] or value if name == "momentum" else value}
        if not spec.admissible(h) and "nesterov" not in fixed:
            h = {**h, "nesterov": False}
    return h


def changes(spec: Spec, name: str, current: Mapping[str, Value]) -> list[Value]:
    """Other values that a hyperparameter may take between steps.

    The same conditions hold as before, so that no state has to appear in mid-run; what a state
    starts from is not changed once it may have started; nor is the base of a power of t, since no
    paper says whether b**t is then a power of the last b or the product of all of them.
    """
    if steady(spec, name):
        return []

    def truths(value: Value) -> list[bool]:
        settled = {**current, name: value, "t": 2.0, "lr0": 1.0}
        return [expr.holds(c, settled) for c in (*all_conditions(spec), *spec.requires)]

    now = truths(current[name])
    return [v for v in usual(spec.hypers[name]) if v != current[name] and truths(v) == now]


def steady(spec: Spec, name: str) -> bool:
    """Whether a hyperparameter keeps its value in every scenario."""
    return spec.hypers[name].is_flag or name in _initial(spec) | compounded(spec)


def _initial(spec: Spec) -> set[str]:
    """The names that initial states are made of, in whatever variant."""
    chosen = [c for axis in spec.axes.values() for c in axis.choices.values()]
    states = [*spec.states.values(), *(s for c in chosen for s in c.states.values())]
    return set().union(*(expr.names(ast.parse(s.init, mode="eval")) for s in states))


@functools.cache
def compounded(spec: Spec) -> frozenset[str]:
    """The names in the bases of powers of t, in whatever variant."""
    chosen = [c.equations for axis in spec.axes.values() for c in axis.choices.values()]
    sources = [f for some in (spec.equations, *chosen) for forms in some.values() for f in forms]
    return frozenset(
        name
        for source in sources
        for node in ast.walk(ast.parse(source.strip(), mode="eval"))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)
        if "t" in expr.names(node.right)
        for name in expr.names(node.left)
    )


def params(*, small: bool = False) -> st.SearchStrategy[Param]:
    """A parameter with its recipes; at most a thousand elements, or 9 to 33 if ``small``."""
    return _params(small)


@functools.cache  # Hypothesis validates each strategy that is made
def _params(small: bool) -> st.SearchStrategy[Param]:
    size = st.sampled_from([n for n in _SIZES if 9 <= n <= 33 or not small])
    flat = size.map(lambda n: (n,))
    odd: list[tuple[int, ...]] = [(), (0,), (3, 5), (4, 8), (2, 3, 5), (1000,), (7, 11)]
    shape = flat if small else st.one_of(flat, flat, st.sampled_from(odd))
    # Hypothesis slips in numbers above 99 that it finds in the source of the loaded modules: no two
    # subjects would see the same draws
    seeds = st.tuples(st.integers(0, 99), st.integers(0, 99)).map(lambda ab: 100 * ab[0] + ab[1])
    inits = st.sampled_from(["mostly-zero", "mostly-zero", "zeros", "normal", "wide", "ones"])
    grads = st.sampled_from(
        ["mixture"] * 5
        + ["normal", "spike", "late", "flip", "constant", "zeros", "subnormal", "huge"]
    )
    layouts = st.sampled_from(["contiguous"] * 4 + ["transposed", "strided", "grad-strided"])
    return st.builds(
        Param,
        shape,
        st.builds(Recipe, inits, seeds),
        st.builds(Recipe, grads, seeds),
        layouts,
    )


def groups(
    spec: Spec, *, fixed: Mapping[str, Value] | None = None, small: bool = False
) -> st.SearchStrategy[Group]:
    """A parameter group of one to four parameters and perhaps an empty one, or one if ``small``."""
    return st.builds(Group, hypers(spec, fixed=fixed), _several(small))


@functools.cache
def _several(small: bool) -> st.SearchStrategy[tuple[Param, ...]]:
    if small:
        return params(small=True).map(lambda p: (p,))
    some = st.lists(params(), min_size=1, max_size=4).map(tuple)
    # lists of tensors are worked through in runs, and what ends a run may be empty
    empty = Param((0,), Recipe("zeros"), Recipe("zeros"))
    return st.tuples(some, st.integers(0, 7)).map(lambda s: (*s[0], empty) if s[1] == 7 else s[0])


@st.composite
def _another(draw: Any, spec: Spec, group: Group, fixed: Mapping[str, Value]) -> Group:
    """A group beside ``group``: unlike it, or with its settings but for one."""
    made: Group = draw(groups(spec, fixed=fixed))
    names = [n for n in spec.hypers if n not in fixed]
    if not names or draw(st.booleans()):
        return made
    # what sets groups apart in practice is lr
    name = draw(st.sampled_from([names[0]] * len(names) + names))
    twin = {**group.hyper, name: made.hyper[name]}
    return Group(twin, made.params) if spec.admissible(twin) else made


def scenarios(
    spec: Spec,
    *,
    dtype: str,
    max_steps: int = 8,
    fixed: Mapping[str, Value] | None = None,
    changeable: Sequence[str] | None = None,
    small: bool = False,
) -> st.SearchStrategy[Scenario]:
    """Scenarios for ``spec``: groups, then steps with changes between them.

    ``dtype`` is one of float32, float64, bfloat16, float16; ``fixed`` holds hyperparameters at a
    value; ``changeable`` names those that may change in mid-run, by default lr and weight_decay;
    ``small`` draws groups of one parameter each and at most four plain steps, for subjects that
    are slow to start.  Raises RequestError, at once, for an unknown dtype or hyperparameter and for
    ``max_steps`` below 1.
    """
    format_named(dtype)
    if max_steps < 1:
        raise RequestError(f"max_steps must be at least 1, not {max_steps}")
    spec.check_hypers(fixed or {})
    if changeable is None:
        changeable = [n for n in ("lr", "weight_decay") if n in spec.hypers]
    if unknown := [n for n in changeable if n not in spec.hypers]:
        raise RequestError(
            f"changeable: spec {spec.name} has no hyperparameter {unknown[0]!r}; "
            f"it has {', '.join(spec.hypers)}"
        )
    return _scenarios(spec, dtype, max_steps, dict(fixed or {}), tuple(changeable), small)


@st.composite
def _scenarios(
    draw: Any,
    spec: Spec,
    dtype: str,
    max_steps: int,
    fixed: Mapping[str, Value],
    changeable: Sequence[str],
    small: bool,
) -> Scenario:
    if small:  # unlike groups side by side cost one start
        count = draw(st.integers(2, 3))
        group_list = [draw(groups(spec, fixed=fixed, small=True)) for _ in range(count)]
        steps = draw(st.integers(min(2, max_steps), min(4, max_steps)))
        return Scenario(spec.name, dtype, tuple(group_list), (Step(),) * steps)
    group_list = [draw(groups(spec, fixed=fixed))]
    if draw(st.integers(0, 2)) == 2:
        group_list.append(draw(_another(spec, group_list[0], fixed)))
    count = draw(st.integers(min(2, max_steps), max_steps))
    out: list[Event] = []
    total = list(group_list)
    changeable = [n for n in changeable if n not in fixed]
    now = [dict(g.hyper) for g in group_list]
    if draw(st.integers(0, 11)) == 11:
        out.append(Reload())
    for k in range(count):
        if k:
            # what costs most comes last: the plainest scenario has steps and nothing else
            what = draw(st.integers(0, 19))
            if 12 <= what < 17 and changeable:
                g = draw(st.integers(0, len(total) - 1))
                which = draw(st.integers(0, 2))  # the first, any other, or all of them at once
                rest = changeable[1:] or changeable
                names = changeable[:1] if which == 0 else changeable
                if which == 1:
                    names = [draw(st.sampled_from(rest))]
                changed: dict[str, Value] = {}
                for name in names:
                    if others := changes(spec, name, now[g]):
                        now[g][name] = changed[name] = draw(st.sampled_from(others))
                if changed:
                    out.append(SetHyper(g, changed))
            elif what in (17, 18) and len(total) < 3:
                joining = draw(_another(spec, total[0], fixed))
                total.append(joining)
                now.append(dict(joining.hyper))
                out.append(AddGroup(joining))
            elif what == 19:
                out.append(Reload())
        skipped: tuple[tuple[int, int], ...] = ()
        if draw(st.integers(0, 5 if k else 2)) == (5 if k else 2):
            g = draw(st.integers(0, len(total) - 1))
            skipped = ((g, draw(st.integers(0, len(total[g].params) - 1))),)
        out.append(Step(skipped))
    return Scenario(spec.name, dtype, tuple(group_list), tuple(out))


def look_at_each(
    strategy: st.SearchStrategy[Scenario],
    look: Callable[[Scenario], None],
    *,
    spec: Spec,
    dtype: str,
    examples: int,
    seed: int,
) -> None:
    """Draw so many scenarios, the same ones for the same seed and dtype, and look at each.

    Each dtype has its own: what one set of scenarios happens to leave out, another shows.  And each
    scenario is drawn by a run of Hypothesis of its own: within one run most examples are mutations
    of earlier ones, which is good for shrinking and bad for us, since what is drawn one time in ten
    would be in half of the examples under one seed and in none under another.

    Raises RequestError when hardly a setting that is drawn is what ``spec`` requires.
    """
    first = (len(FORMATS) * seed + list(FORMATS).index(dtype)) * 1_000_003
    for k in range(examples):
        tries = (_drawn(strategy, first + k + _APART * further) for further in range(TRIES))
        found = next(filter(None, tries), [])
        if not found:
            raise RequestError(
                f"spec {spec.name} requires {' and '.join(spec.requires)}: "
                f"no such setting was drawn in {TRIES} tries"
            )
        for scenario in found:
            look(scenario)


def _drawn(strategy: st.SearchStrategy[Scenario], seed: int) -> list[Scenario]:
    """What a run of Hypothesis draws after the first scenario, which is the plainest there is,
    always; nothing where so few are admissible that there is no other."""
    found: list[Scenario] = []

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=2,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(strategy)
    def body(scenario: Scenario) -> None:
        found.append(scenario)

    try:
        body()
    except Unsatisfiable:
        return []
    return found[1:]
