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
    inserted,
)
from .spec_check import check

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
    path = Path(name)
    folder = path.parent  # of a file: what it extends is found from there
    key = str(path.resolve()) if name.endswith(".toml") else name
    if key in seen:
        raise SpecError(f"spec {name} extends itself: {' -> '.join((*seen, key))}")
    if name.endswith(".toml"):
        label = path.stem
        try:
            text = path.read_text(encoding="utf-8-sig")  # some editors begin a file with a mark
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
    spec = _Reader(label, data, folder).read((*seen, key))
    check(spec)
    return spec


class _Reader:
    """Turns one TOML document into a Spec, refusing whatever it does not know."""

    def __init__(self, label: str, data: dict[str, Any], folder: Path) -> None:
        self.label, self.data, self.folder = label, data, folder

    def fail(self, message: str) -> SpecError:
        return SpecError(f"spec {self.label}: {message}")

    def table(self, data: Any, where: str) -> dict[str, Any]:
        if not isinstance(data, dict):
            raise self.fail(f"{where} must be a table")
        return data

    def number(self, value: int | float, where: str) -> float:
        try:
            return float(value)
        except OverflowError:
            raise self.fail(f"{where} is beyond the largest double") from None

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
            wanted = self.text(d["extends"], "extends")
            if wanted.endswith(".toml"):
                wanted = str(self.folder / wanted)
            try:
                base = _load(wanted, seen)
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
            if not isinstance(value, str) or key not in axes or value not in axes[key].choices:
                raise self.fail(f"[default] names {key} = {value!r}, which is no variant")
            axes[key] = self.rebased(axes[key], value, equations, states)
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
        if not math.isfinite(self.number(default, f"{where}: the default")):
            raise self.fail(f"{where}: the default {default!r} is no number to begin with")
        if default not in domain:
            raise self.fail(f"{where}: the default {default!r} is outside the domain {domain}")
        return HyperSpec(name, self.number(default, f"{where}: the default"), domain, symbol)

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
        if name == "p":
            raise self.fail(f"{where}: p is the parameter, which begins as it is given")
        if not isinstance(value, dict):
            value = {"init": value}
        self.only(value, ("init", "torch_name", "symbol", "nonneg", "when"), where)
        init = value.get("init", 0)
        if isinstance(init, bool) or not isinstance(init, int | float | str):
            raise self.fail(f"{where}: init must be a number or the name of a hyperparameter")
        if not isinstance(init, str) and init < 0 and value.get("nonneg"):
            raise self.fail(f"{where} is nonneg, and begins with {init!r}")
        init = init.strip() if isinstance(init, str) else repr(self.number(init, f"{where}: init"))
        nonneg = value.get("nonneg", False)
        if not isinstance(nonneg, bool):
            raise self.fail(f"{where}: nonneg is true or false")
        when = value.get("when")
        if when is not None:
            expr.parse(self.text(when, where), where=f"spec {self.label}, {where}")
        return State(
            name=name,
            init=init,
            torch_name=self.text(value.get("torch_name", name), where),
            symbol=self.text(value.get("symbol", name), where),
            nonneg=nonneg,
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

    def values(self, data: Any, where: str) -> tuple[str, ...]:
        if not isinstance(data, list) or not data or not all(isinstance(v, str) for v in data):
            raise self.fail(f"{where} must be a list of values of that axis")
        return tuple(data)

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
                k: self.values(v, f"{where}: needs.{k}")
                for k, v in self.table(table.pop("needs", {}), f"{where} needs").items()
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
        self,
        axis: Axis,
        value: str,
        equations: dict[str, tuple[str, ...]],
        states: dict[str, State],
    ) -> Axis:
        """Make ``value`` the axis's default: what it replaces moves into ``equations`` and
        ``states``, and what they were into the other values."""
        chosen = axis.choices[value]
        if added := sorted(set(chosen.states) - set(states)):
            raise self.fail(
                f"[default] {axis.name} = {value!r} adds the state {added[0]}, "
                "which the other values would keep"
            )
        before = {n: equations[n] for n in chosen.equations if n in equations}
        held = {n: states[n] for n in chosen.states}
        swapped = inserted(equations, chosen.equations)
        equations.clear()
        equations.update(swapped)
        states.update(chosen.states)

        def beside(other: Choice) -> Choice:
            return replace(
                other,
                equations={**before, **other.equations},
                states={**held, **other.states},
            )

        choices = {k: beside(c) for k, c in axis.choices.items()}
        choices[value] = replace(chosen, equations={}, states={})
        number = None if axis.number is None else beside(axis.number)
        return replace(axis, default=value, choices=choices, number=number)


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
