"""Reading specs: TOML in, validated frozen data out, one clear sentence for what is wrong."""

import ast
import functools
import math
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

from . import expr
from .errors import SpecError
from .spec import (
    Axis,
    Choice,
    Domain,
    HyperSpec,
    Spec,
    State,
    equations_of,
    inserted,
    program,
    states_of,
)

RESERVED = {"p", "grad", "t", "lr0", *expr.FUNCTIONS}
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}\Z")
_INTERVAL = re.compile(r"([\[(])\s*([^,\s]+)\s*,\s*([^,\s]+)\s*([\])])\Z")


def bundled() -> list[str]:
    """The names of the specs that come with the package."""
    root = resources.files("optconform.specs")
    return sorted(f.name.removesuffix(".toml") for f in root.iterdir() if f.name.endswith(".toml"))


@functools.cache
def load(name: str) -> Spec:
    """Read a bundled spec by name (``adam``) or a file (``path/to/spec.toml``).

    Raises SpecError, with the file and the place in it, for whatever is not well formed.
    """
    return _load(name, ())


def _load(name: str, seen: tuple[str, ...]) -> Spec:
    if name in seen:
        raise SpecError(f"spec {name} extends itself: {' -> '.join((*seen, name))}")
    if name.endswith(".toml"):
        path = Path(name)
        label = path.stem
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError, ValueError) as e:
            raise SpecError(f"cannot read the spec {name}: {e}") from None
    else:
        if name not in bundled():
            raise SpecError(f"unknown spec {name!r}; the specs are: {', '.join(bundled())}")
        label = name
        text = (resources.files("optconform.specs") / f"{name}.toml").read_text(encoding="utf-8")
    try:
        data = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as e:
        raise SpecError(f"spec {label}: not TOML: {e}") from None
    spec = _Reader(label, data).read((*seen, name))
    _check_programs(spec)
    return spec


class _Reader:
    """Turns one TOML document into a Spec, refusing whatever it does not know."""

    def __init__(self, label: str, data: dict[str, Any]) -> None:
        self.label, self.data = label, data

    def fail(self, message: str) -> SpecError:
        return SpecError(f"spec {self.label}: {message}")

    def table(self, data: Any, where: str) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise self.fail(f"{where} must be a table")
        return data

    def text(self, value: Any, where: str) -> str:
        if not isinstance(value, str) or not value.strip():
            raise self.fail(f"{where} must be a non-empty string")
        return value

    def only(self, data: dict[str, Any], allowed: Iterable[str], where: str) -> None:
        unknown = sorted(set(data) - set(allowed))
        if unknown:
            raise self.fail(f"{where} has the unknown key {unknown[0]!r}")

    def name(self, name: str, where: str) -> str:
        if not _NAME.match(name) or name in RESERVED - {"p"}:
            raise self.fail(f"{where} has the name {name!r}, which is reserved or not a name")
        return name

    def read(self, seen: tuple[str, ...]) -> Spec:
        d = self.data
        self.only(
            d,
            (
                "name",
                "title",
                "cite",
                "notes",
                "extends",
                "hyper",
                "state",
                "step",
                "requires",
                "symbols",
                "variant",
                "default",
            ),
            "the spec",
        )
        base = None
        if "extends" in d:
            try:
                base = _load(self.text(d["extends"], "extends"), seen)
            except SpecError as e:
                raise self.fail(f"extends: {e}") from None
        name = self.text(d.get("name"), "name")
        hypers = dict(base.hypers) if base else {}
        for key, value in self.table(d.get("hyper", {}), "[hyper]").items():
            hypers[self.name(key, "[hyper]")] = self.hyper(key, value, hypers.get(key))
        states = dict(base.states) if base else {}
        for key, value in self.table(d.get("state", {}), "[state]").items():
            states[self.name(key, "[state]")] = self.state(key, value)
        equations = dict(base.equations) if base else {}
        equations |= self.equations(d.get("step", {}), "[step]")
        axes = dict(base.axes) if base else {}
        for key, value in self.table(d.get("variant", {}), "[variant]").items():
            axes[key] = self.axis(key, self.table(value, f"[variant.{key}]"), axes.get(key), states)
        for key, value in self.table(d.get("default", {}), "[default]").items():
            if key not in axes or value not in axes[key].choices:
                raise self.fail(f"[default] names {key} = {value!r}, which is no variant")
            axes[key] = self.rebased(axes, key, value, equations)
        if "p" not in equations:
            raise self.fail("[step] must assign p")
        for state in states:
            if state not in equations:
                raise self.fail(f"state {state} is never assigned in [step]")
        symbols = dict(base.symbols) if base else {}
        symbols |= {
            self.name(k, "[symbols]"): self.text(v, f"symbol of {k}")
            for k, v in self.table(d.get("symbols", {}), "[symbols]").items()
        }
        requires = d.get("requires", list(base.requires) if base else [])
        notes = d.get("notes", [])
        if not isinstance(requires, list) or not isinstance(notes, list):
            raise self.fail("requires and notes must be lists of strings")
        for condition in requires:
            tree = expr.parse(self.text(condition, "requires"), where=f"spec {name}, requires")
            if unknown := expr.names(tree) - set(hypers):
                raise self.fail(f"requires uses the unknown name {min(unknown)!r}")
            try:
                expr.holds(ast.unparse(tree), {n: h.default for n, h in hypers.items()})
            except SpecError as e:
                raise self.fail(f"requires: {e}") from None
        return Spec(
            name=name,
            title=self.text(d.get("title"), "title"),
            cite=self.text(d.get("cite"), "cite"),
            notes=tuple(self.text(n, "notes") for n in notes),
            hypers=hypers,
            states=states,
            equations=equations,
            symbols=symbols,
            requires=tuple(requires),
            axes=axes,
        )

    def hyper(self, name: str, value: Any, base: HyperSpec | None) -> HyperSpec:
        where = f"hyper {name}"
        value = self.table(value, where)
        self.only(value, ("default", "domain", "symbol"), where)
        default = value.get("default", base.default if base else None)
        if default is None or not isinstance(default, bool | int | float):
            raise self.fail(f"{where} needs a default, a number or true or false")
        symbol = value.get("symbol", base.symbol if base else name)
        self.text(symbol, f"symbol of {where}")
        if isinstance(default, bool):
            if "domain" in value:
                raise self.fail(f"{where} is a flag and has no domain")
            return HyperSpec(name, default, None, symbol)
        inherited = None if base is None else base.domain
        domain = self.domain(value["domain"], where) if "domain" in value else inherited
        if domain is None:
            raise self.fail(f'{where} needs a domain such as "[0, 1)"')
        if default not in domain:
            raise self.fail(f"{where}: the default {default!r} is outside the domain {domain}")
        return HyperSpec(name, float(default), domain, symbol)

    def domain(self, text: Any, where: str) -> Domain:
        match = _INTERVAL.match(text.strip()) if isinstance(text, str) else None
        try:
            if match is None:
                raise ValueError
            low, high = float(match[2]), float(match[3])
            if math.isnan(low) or math.isnan(high) or low > high:
                raise ValueError
        except ValueError:
            raise self.fail(f'{where} has the bad domain {text!r}; write it as "[0, 1)"') from None
        return Domain(low, high, match[1] == "[", match[4] == "]")

    def state(self, name: str, value: Any) -> State:
        where = f"state {name}"
        if not isinstance(value, dict):
            value = {"init": value}
        self.only(value, ("init", "torch_name", "symbol", "nonneg", "when"), where)
        init = value.get("init", 0)
        if isinstance(init, bool) or not isinstance(init, int | float | str):
            raise self.fail(f"{where}: init must be a number or the name of a hyperparameter")
        init = str(init) if isinstance(init, str) else repr(float(init))
        expr.parse(init, where=f"spec {self.label}, {where}")
        when = value.get("when")
        if when is not None:
            expr.parse(self.text(when, where), where=f"spec {self.label}, {where}")
        return State(
            name=name,
            init=init,
            torch_name=self.text(value.get("torch_name", name), where),
            symbol=self.text(value.get("symbol", name), where),
            nonneg=bool(value.get("nonneg", False)),
            when=None if when is None else ast.unparse(ast.parse(when.strip(), mode="eval")),
        )

    def equations(self, data: Any, where: str) -> dict[str, tuple[str, ...]]:
        out: dict[str, tuple[str, ...]] = {}
        for name, forms in self.table(data, where).items():
            if not _NAME.match(name) or name in RESERVED - {"p"}:
                raise self.fail(f"{where} assigns {name!r}, which is reserved or not a name")
            forms = forms if isinstance(forms, list) else [forms]
            if not forms:
                raise self.fail(f"{where}, {name}: at least one expression is needed")
            out[name] = tuple(self.text(f, f"{where}, {name}") for f in forms)
            for form in out[name]:
                expr.parse(form, where=f"spec {self.label}, equation {name}")
        return out

    def axis(
        self, name: str, data: dict[str, Any], base: Axis | None, states: Mapping[str, State]
    ) -> Axis:
        choices = dict(base.choices) if base else {}
        number = base.number if base else None
        default = base.default if base else None
        for value, table in data.items():
            where = f"[variant.{name}.{value}]"
            table = dict(self.table(table, where))
            effect = self.text(table.pop("effect", None), f"effect of {where}")
            links = table.pop("links", [])
            if not isinstance(links, list) or not all(isinstance(x, str) for x in links):
                raise self.fail(f"{where}: links must be a list of addresses")
            needs = {
                k: tuple(v) for k, v in self.table(table.pop("needs", {}), f"{where} needs").items()
            }
            new_states = {
                k: self.state(k, {**_as_table(states.get(k)), **self.table(v, where)})
                for k, v in self.table(table.pop("state", {}), f"{where} state").items()
            }
            is_default = table.pop("default", False)
            choice = Choice(effect, tuple(links), self.equations(table, where), new_states, needs)
            if value == "number":
                number = choice
                continue
            choices[value] = choice
            if is_default or default is None:
                default = value
        if default is None:
            raise self.fail(f"[variant.{name}] has no values")
        return Axis(name, default, choices, number)

    def rebased(
        self, axes: Mapping[str, Axis], name: str, value: str, equations: dict[str, tuple[str, ...]]
    ) -> Axis:
        """Make ``value`` the axis's default.  The equations stay those of the base; the default
        choice of a rebased axis is applied like any other (see ``equations_of``)."""
        axis = axes[name]
        chosen = axis.choices[value]
        before = {n: equations[n] for n in chosen.equations if n in equations}
        swapped = inserted(equations, chosen.equations)
        equations.clear()
        equations.update(swapped)
        choices: dict[str, Choice] = {}
        for key, choice in axis.choices.items():
            if key == value:
                choices[key] = replace(choice, equations={})
            else:
                choices[key] = replace(choice, equations={**before, **choice.equations})
        return replace(axis, default=value, choices=choices)


def _as_table(state: State | None) -> dict[str, Any]:
    if state is None:
        return {}
    table = {
        "init": state.init,
        "torch_name": state.torch_name,
        "symbol": state.symbol,
        "nonneg": state.nonneg,
    }
    return table if state.when is None else {**table, "when": state.when}


def _check_programs(spec: Spec) -> None:
    """Every name is known where it is used, in the spec and in each single deviation from it."""
    scalars = {*spec.hypers, "t", "lr0"}
    for state in spec.states.values():
        tree = expr.parse(state.init, where=f"spec {spec.name}, state {state.name}")
        if unknown := expr.names(tree) - set(spec.hypers):
            raise SpecError(
                f"spec {spec.name}, state {state.name}: init uses the unknown name {min(unknown)!r}"
            )
        if state.when and (
            unknown := expr.names(ast.parse(state.when, mode="eval")) - set(spec.hypers)
        ):
            raise SpecError(
                f"spec {spec.name}, state {state.name}: when uses the unknown name {min(unknown)!r}"
            )
    for name, forms in spec.equations.items():
        for form in forms:
            _check_conditions(
                spec, name, expr.parse(form, where=f"spec {spec.name}, equation {name}")
            )
    for axis in spec.axes.values():
        for choice in axis.choices.values():
            for other, allowed in choice.needs.items():
                if other not in spec.axes or not set(allowed) <= set(spec.axes[other].choices):
                    raise SpecError(f"spec {spec.name}, axis {axis.name}: needs names no variant")
    deviations: list[dict[str, str]] = [{}]
    for axis in spec.axes.values():
        for value, choice in axis.choices.items():
            if value != axis.default:
                deviations.append({axis.name: value, **{k: v[0] for k, v in choice.needs.items()}})
    for variant in deviations:
        known = scalars | {"p", "grad", *states_of(spec, variant)}
        equations = equations_of(spec, variant)
        for name, forms in equations.items():
            used = set().union(
                *(
                    expr.names(expr.parse(f, where=f"spec {spec.name}, equation {name}"))
                    for f in forms
                )
            )
            for missing in sorted(used - known):
                if missing in equations:
                    cycle = _cycle(name, equations, known)
                    how = f"the cycle {cycle}" if cycle else "used before it is computed"
                    raise SpecError(f"spec {spec.name}, equation {name}: {missing!r}: {how}")
                raise SpecError(f"spec {spec.name}, equation {name}: unknown name {missing!r}")
            known.add(name)
        program(spec, variant, spec.defaults, 1)
        program(spec, variant, spec.defaults, 2)
        # with every state there the graph is complete: no bound depends on what was built before
        for flag in (False, True):
            on = {
                h.name: flag if h.domain is None else 0.5 if 0.5 in h.domain else h.default
                for h in spec.hypers.values()
            }
            program(spec, variant, on, 1)
            program(spec, variant, on, 2)


def _check_conditions(spec: Spec, name: str, tree: ast.expr) -> None:
    for condition in expr.conditions(tree):
        unknown = expr.names(ast.parse(condition, mode="eval")) - {*spec.hypers, "t", "lr0"}
        if unknown:
            raise SpecError(
                f"spec {spec.name}, equation {name}: the condition {condition!r} uses "
                f"{min(unknown)!r}, which is not a hyperparameter"
            )


def _cycle(start: str, equations: Mapping[str, tuple[str, ...]], known: set[str]) -> str:
    """``a -> b -> a`` when ``start`` depends on itself through equations not yet computed."""
    stack: list[tuple[str, tuple[str, ...]]] = [(start, (start,))]
    while stack:
        name, path = stack.pop()
        for form in equations[name]:
            for used in sorted(expr.names(ast.parse(form.strip(), mode="eval"))):
                if used == start:
                    return " -> ".join((*path, start))
                if used in equations and used not in known and used not in path:
                    stack.append((used, (*path, used)))
    return ""
