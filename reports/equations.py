"""The equations of a record: parsed against the whitelist, as MathML and as trees for the page.

A record is untrusted.  What does not parse is shown as the text it is; every name and number is
escaped on its way into the markup.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from markupsafe import Markup

from optconform import expr
from optconform.errors import SpecError
from optconform.printing import visible
from optconform.reports.view import Json, as_map, as_maps, departs, text

DEEPEST = 40  # levels of an expression; those of the specs have less than ten
MOST = 12  # followers of a rule that are named


@dataclass(frozen=True, slots=True)
class Equation:
    """One line of an algorithm box; ``math`` is None where only text is known."""

    name: str
    math: Markup | None
    text: str


@dataclass(frozen=True, slots=True)
class Program:
    """The equations of one variant: ``variant`` holds what differs from the spec's default."""

    variant: Mapping[str, str]
    forms: Mapping[str, str]
    states: Mapping[str, Json]


class Spec:
    """What a record says of a spec; whatever is derived from it is derived once."""

    def __init__(self, told: Json) -> None:
        self.told = told
        self._lines: dict[str, list[Equation]] = {}

    @cached_property
    def programs(self) -> list[Program]:
        """The programs that the record holds, malformed ones left out."""
        found = []
        for one in as_maps(self.told.get("programs")):
            forms = as_map(one.get("forms"))
            if forms and all(isinstance(f, str) for f in forms.values()):
                variant = {str(a): text(v) for a, v in as_map(one.get("variant")).items()}
                states = {str(n): as_map(s) for n, s in as_map(one.get("states")).items()}
                found.append(Program(variant, {str(n): f for n, f in forms.items()}, states))
        return found

    @cached_property
    def symbols(self) -> dict[str, str]:
        named = as_map(self.told.get("symbols")).items()
        return {str(n): visible(text(s))[:40] for n, s in named}

    def program(self, variant: object) -> Program | None:
        """The program of ``variant``, if the record holds it; values that are the spec's default
        may be named or not."""
        axes = as_map(self.told.get("axes"))
        wanted = {
            a: text(v)
            for a, v in as_map(variant).items()
            if as_map(axes.get(a)).get("default") != text(v)
        }
        return next((p for p in self.programs if p.variant == wanted), None)

    def lines(self, variant: object) -> list[Equation]:
        """The equations of ``variant``; those of the default as text where the record holds no
        more."""
        key = text(as_map(variant))
        if key not in self._lines:
            self._lines[key] = self._written(self.program(variant))
        return self._lines[key]

    def _written(self, program: Program | None) -> list[Equation]:
        if program is None:
            plain = as_map(self.told.get("equations")).items()
            return [Equation(str(n), None, text(line)) for n, line in plain]
        out = []
        for name, form in program.forms.items():
            tree = parsed(form)
            when = program.states.get(name, {}).get("when")
            condition = parsed(when) if isinstance(when, str) else None
            math = None if tree is None else _equation(name, tree, condition, self.symbols)
            out.append(Equation(name, math, f"{self.symbols.get(name, name)} ← {form}"))
        return out

    def differing(self, a: object, b: object) -> list[tuple[Equation | None, Equation | None]]:
        """The equations that two variants do not share, side by side, in their order."""
        left, right = self.program(a), self.program(b)
        if left is None or right is None:
            return []
        mine = {e.name: e for e in self.lines(a)}
        theirs = {e.name: e for e in self.lines(b)}
        names = dict.fromkeys([*right.forms, *left.forms])
        return [
            (mine.get(n), theirs.get(n)) for n in names if left.forms.get(n) != right.forms.get(n)
        ]


def parsed(form: str) -> ast.expr | None:
    """The tree of an expression that the whitelist admits, or None."""
    try:
        tree = expr.parse(form, where="the record")
    except SpecError:
        return None
    return tree if _depth(tree) <= DEEPEST else None


def _depth(tree: ast.expr) -> int:
    deepest, level = 0, [tree]
    while level:
        deepest += 1
        level = [c for n in level for c in ast.iter_child_nodes(n) if isinstance(c, ast.expr)]
    return deepest


# ---- MathML ----------------------------------------------------------------------------------

_SUB = dict(zip("₀₁₂₃₄₅₆₇₈₉", "0123456789", strict=True))
_ACCENTS = {"\u0302": "^", "\u0304": "¯", "\u0303": "~"}
_RANK = {ast.Add: 1, ast.Sub: 1, ast.Mult: 2, ast.Div: 2, ast.Pow: 4}
_COMPARE = {ast.Eq: "=", ast.NotEq: "≠", ast.Lt: "<", ast.LtE: "≤", ast.Gt: ">", ast.GtE: "≥"}


def identifier(symbol: str) -> Markup:
    """A symbol as people write it: β₁ with its subscript, m̂ under its hat, v_max."""
    base, _, low = symbol.partition("_")
    digits = re.search("[₀-₉]+$", base)
    if not low and digits:
        base, low = base[: digits.start()], "".join(_SUB[c] for c in digits[0])
    if symbol == "∇f(p)":
        return Markup("<mrow><mo>∇</mo><mi>f</mi><mo>(</mo><mi>p</mi><mo>)</mo></mrow>")
    if len(base) == 2 and base[1] in _ACCENTS:
        accent = Markup('<mover accent="true"><mi>{}</mi><mo stretchy="false">{}</mo></mover>')
        core = accent.format(base[0], _ACCENTS[base[1]])
    else:
        core = Markup("<mi>{}</mi>").format(base)
    if not low or not base:
        return core if base else Markup("<mi>{}</mi>").format(symbol)
    kind = "mn" if low.isdigit() else "mi"
    return Markup("<msub>{}<{k}>{}</{k}></msub>").format(core, low, k=Markup(kind))


def _equation(
    name: str, tree: ast.expr, condition: ast.expr | None, names: Mapping[str, str]
) -> Markup:
    writer = _MathML(names)
    body = Markup("<mrow>{}<mo>←</mo>{}</mrow>").format(
        identifier(names.get(name, name)), writer.write(tree)
    )
    if condition is not None:
        body += Markup('<mtext class="when">if</mtext>') + writer.write(condition)
    return Markup('<math displaystyle="true">{}</math>').format(body)


class _MathML:
    """Presentation MathML with fractions, roots and cases."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names
        self.inside = 0  # fractions and roots around: there is no room for cases in them

    def write(self, n: ast.expr) -> Markup:
        return self.at(n, 0)

    def within(self, n: ast.expr) -> Markup:
        self.inside += 1
        try:
            return self.write(n)
        finally:
            self.inside -= 1

    def at(self, n: ast.expr, rank: int) -> Markup:
        """``n``, in parentheses when it binds weaker than ``rank``."""
        body, own = self.of(n)
        if own >= rank:
            return body
        return Markup("<mrow><mo>(</mo>{}<mo>)</mo></mrow>").format(body)

    def of(self, n: ast.expr) -> tuple[Markup, int]:
        match n:
            case ast.Name(id=name):
                return identifier(self.names.get(name, visible(name))), 9
            case ast.Constant(value=v):
                number = f"{v:g}" if isinstance(v, int | float) and abs(v) < 1e300 else str(v)[:40]
                return Markup("<mn>{}</mn>").format(number), 9
            case ast.UnaryOp(op=ast.USub(), operand=x):
                return self._row("<mo>−</mo>", self.at(x, 2)), 2
            case ast.UnaryOp(op=ast.Not(), operand=x):
                return self._row(_word("not"), self.at(x, 1)), 0
            case ast.BinOp(left=a, op=ast.Pow(), right=b):
                return Markup("<msup>{}{}</msup>").format(self.at(a, 5), self.write(b)), 4
            case ast.BinOp(left=a, op=ast.Div(), right=b):
                return Markup("<mfrac>{}{}</mfrac>").format(self.within(a), self.within(b)), 8
            case ast.BinOp(left=a, op=op, right=b):
                rank = _RANK[type(op)]
                sign = {ast.Add: "<mo>+</mo>", ast.Sub: "<mo>−</mo>"}.get(
                    type(op), '<mo lspace="0.1em" rspace="0.1em">·</mo>'
                )
                right = self.at(b, rank + isinstance(op, ast.Sub))
                return self._row(self.at(a, rank), sign, right), rank
            case ast.Call(func=ast.Name(id="ema"), args=[m, x, beta]):
                β, dot = self.at(beta, 3), '<mo lspace="0.1em" rspace="0.1em">·</mo>'
                rest = self._row("<mo>(</mo><mn>1</mn><mo>−</mo>", β, "<mo>)</mo>")
                old, new = self.at(m, 3), self.at(x, 3)
                return self._row(β, dot, old, "<mo>+</mo>", rest, dot, new), 1
            case ast.Call(func=ast.Name(id="sqrt"), args=[x]):
                return Markup("<msqrt>{}</msqrt>").format(self.within(x)), 9
            case ast.Call(func=ast.Name(id="abs"), args=[x]):
                return self._row("<mo>|</mo>", self.write(x), "<mo>|</mo>"), 9
            case ast.Call(func=ast.Name(id=f), args=args):
                inner = Markup("<mo>,</mo>").join(self.write(a) for a in args)
                return self._row(Markup("<mi>{}</mi><mo>(</mo>").format(f), inner, "<mo>)</mo>"), 9
            case ast.IfExp(test=test, body=a, orelse=b) if self.inside:
                parts = self.at(a, 1), _word("if"), self.write(test), _word("else"), self.at(b, 0)
                return self._row(*parts), 0
            case ast.IfExp(test=test, body=a, orelse=b):
                row = Markup("<mtr><mtd>{}</mtd><mtd>{}</mtd></mtr>")
                first = row.format(self.write(a), self._row(_word("if"), self.write(test)))
                other = row.format(self.write(b), _word("otherwise"))
                table = Markup('<mtable class="cases">{}{}</mtable>').format(first, other)
                return self._row(table), 9
            case ast.BoolOp(op=op, values=parts):
                joint = _word("and" if isinstance(op, ast.And) else "or")
                return self._row(joint.join(self.at(p, 1) for p in parts)), 0
            case ast.Compare(left=a, ops=[op], comparators=[b]):
                sign = Markup("<mo>{}</mo>").format(_COMPARE[type(op)])
                return self._row(self.write(a), sign, self.write(b)), 1
        return Markup("<mtext>{}</mtext>").format(ast.unparse(n)), 0

    def _row(self, *parts: str) -> Markup:
        """``parts`` side by side; those that are plain strings are this module's own markup."""
        return Markup("<mrow>") + Markup("").join(Markup(p) for p in parts) + Markup("</mrow>")


def _word(word: str) -> Markup:
    space = Markup('<mspace width="0.4em"/>')
    return space + Markup("<mtext>{}</mtext>").format(word) + space


# ---- trees for the page ------------------------------------------------------------------------

_SIGNS: dict[type[ast.AST], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**",
    ast.And: "and", ast.Or: "or", ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=",
    ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip


def tree(form: str) -> Any:
    """An expression as nested lists (operator first), names and numbers, or None: what the page's
    script evaluates."""
    found = parsed(form)
    return None if found is None else _tree(found)


def _tree(n: ast.expr) -> Any:
    match n:
        case ast.Name(id=name):
            return name
        case ast.Constant(value=v):
            return v
        case ast.UnaryOp(op=op, operand=x):
            return ["not" if isinstance(op, ast.Not) else "neg", _tree(x)]
        case ast.BinOp(left=a, op=op, right=b):
            return [_SIGNS[type(op)], _tree(a), _tree(b)]
        case ast.BoolOp(op=op, values=parts):
            return [_SIGNS[type(op)], *map(_tree, parts)]
        case ast.Compare(left=a, ops=[op], comparators=[b]):
            return [_SIGNS[type(op)], _tree(a), _tree(b)]
        case ast.IfExp(test=test, body=a, orelse=b):
            return ["if", _tree(test), _tree(a), _tree(b)]
        case ast.Call(func=ast.Name(id=f), args=args):
            return [f, *map(_tree, args)]
    raise ValueError(f"an expression with {type(n).__name__} has no tree")


def rules(specs: Mapping[str, Spec], results: Iterable[Json]) -> list[dict[str, Any]]:
    """Every program of the record for the page's script, with the implementations that follow it;
    those that could not be run are left out."""
    out = []
    followed: dict[tuple[str, str], dict[str, None]] = {}
    for r in results:
        follows = r.get("variant")
        if r["verdict"] == "conforms":
            follows = follows or r.get("claimed") or {}
        spec = specs.get(r["spec"])
        found = spec.program(follows) if spec and isinstance(follows, Mapping) else None
        if found is not None and r["verdict"] in ("conforms", "variant", "diverges"):
            place = followed.setdefault((r["spec"], text(found.variant)), {})
            place[visible(r["implementation"][:120])] = None
    for name, spec in specs.items():
        hypers = as_map(spec.told.get("hypers"))
        defaults = {str(h): as_map(about).get("default") for h, about in hypers.items()}
        for one in spec.programs:
            try:
                steps = [[n, tree(form)] for n, form in one.forms.items()]
                starts = [[n, tree(text(s.get("init")))] for n, s in one.states.items()]
            except ValueError:
                continue
            if any(t is None for _, t in [*steps, *starts]):
                continue
            said = ", ".join(f"{a} = {v}" for a, v in one.variant.items())
            label = visible(f"{name}[{said}]" if said else name)[:120]
            followers = list(followed.get((name, text(one.variant)), {}))
            if len(followers) > MOST:
                followers = [*followers[:MOST], f"{len(followers) - MOST} more"]
            out.append({"label": label, "spec": name, "variant": dict(one.variant),
                        "followers": followers, "hypers": defaults, "states": starts,
                        "steps": steps})  # fmt: skip
    return out


def opening(
    found: Sequence[Json], specs: Mapping[str, Spec], results: Iterable[Json]
) -> tuple[int, int]:
    """The places of the two of ``rules`` that tell most to begin with: what is claimed and what is
    followed instead; Adam and AdamW, where both are followed and several such pairs or none are
    there; or what is followed and another decay."""
    places = {(rule["spec"], text(rule["variant"])): k for k, rule in enumerate(found)}

    def place(spec: str, variant: object) -> int:
        program = specs[spec].program(variant) if spec in specs else None
        return -1 if program is None else places.get((spec, text(program.variant)), -1)

    apart = [
        (place(r["spec"], r.get("claimed")), place(r["spec"], r.get("variant")))
        for r in results
        if r["verdict"] in ("variant", "diverges") and departs(r)
    ]
    pairs = list(dict.fromkeys((a, b) for a, b in apart if -1 not in (a, b) and a != b))
    classic = place("adam", {}), place("adamw", {})
    shown = all(k >= 0 and found[k]["followers"] for k in classic)
    if pairs and not (shown and len(pairs) > 1):
        return pairs[0]
    if shown:
        return classic
    first = next((k for k, rule in enumerate(found) if rule["followers"]), 0)
    spec = found[first]["spec"] if found else ""
    decays = [place(spec, v) for v in ({}, {"decay": "decoupled"}, {"decay": "l2"})]
    return first, next((k for k in decays if k not in (-1, first)), 0 if first else len(found) - 1)
