"""Equations for people: plain text and LaTeX from the expressions of a spec."""

import ast
import re
from collections.abc import Mapping

from .spec import Spec, Variant, equations_of, states_of

_SUPERSCRIPT = str.maketrans("0123456789t", "⁰¹²³⁴⁵⁶⁷⁸⁹ᵗ")

_LATEX = {
    "η": r"\eta", "β₁": r"\beta_1", "β₂": r"\beta_2", "ε": r"\varepsilon", "λ": r"\lambda",
    "μ": r"\mu", "τ": r"\tau", "α": r"\alpha", "ρ": r"\rho", "γ": r"\gamma", "s₀": "s_0",
    "m̂": r"\hat{m}", "v̂": r"\hat{v}", "c₁": "c_1", "c₂": "c_2", "ḡ": r"\bar{g}", "Δ": r"\Delta",
    "η̃": r"\tilde{\eta}",
}  # fmt: skip


def symbols(spec: Spec, variant: Variant) -> dict[str, str]:
    """Name in the spec to the symbol that people write."""
    out = {"grad": "∇f(p)", "lr0": "η₀"}
    out |= {n: h.symbol for n, h in spec.hypers.items() if not h.is_flag}
    out |= {n: s.symbol for n, s in states_of(spec, variant).items()}
    return out | dict(spec.symbols)


def equation_text(spec: Spec, variant: Variant, name: str) -> str:
    """One equation as a person would write it: ``v ← β₂·v + (1 − β₂)·g²``."""
    form = equations_of(spec, variant)[name][0]
    names = symbols(spec, variant)
    return f"{names.get(name, name)} ← {_Text(names).write(_parse(form))}"


def equations(spec: Spec, variant: Variant) -> dict[str, str]:
    """Every equation, in order, as text; mere renamings are written out."""
    return {n: equation_text(spec, variant, n) for n in equations_of(spec, variant)}


def box(spec: Spec, variant: Variant) -> str:
    """The algorithm box, as a paper would print it."""
    names = symbols(spec, variant)
    lines = [spec.title, f"  {spec.cite}"]
    if variant:
        lines.append("  variant: " + ", ".join(f"{a} = {v}" for a, v in variant.items()))
    if spec.hypers:
        lines += ["", "Hyperparameters"]
    width = max(map(len, spec.hypers), default=0)
    for h in spec.hypers.values():
        if h.is_flag:
            lines.append(f"  {h.name:<{width}}      {str(h.default).lower()}")
        else:
            mark = h.symbol if h.symbol != h.name else ""
            lines.append(f"  {h.name:<{width}}  {mark:<2}  {h.default:g}  in {h.domain}")
    states = states_of(spec, variant)
    if states:
        lines += ["", "State"]
        for s in states.values():
            when = f"  if {_condition(s.when, names)}" if s.when else ""
            init = names.get(s.init, s.init.removesuffix(".0"))
            lines.append(f"  {s.symbol} ← {init}  ({s.torch_name}){when}")
    lines += ["", "For t = 1, 2, …"]
    known = states_of(spec, variant)
    for name, text in equations(spec, variant).items():
        state = known.get(name)
        when = f"   if {_condition(state.when, names)}" if state and state.when else ""
        lines.append(f"  {text}{when}")
    for note in spec.notes:
        lines += ["", *_wrapped(note)]
    if spec.axes:
        lines += ["", "Variants (the default of each axis first)"]
        for axis in spec.axes.values():
            lines.append(f"  {axis.name}")
            ordered = sorted(axis.choices, key=lambda v: v != axis.default)
            for value in ordered:
                lines.append(f"    {value:<22} {axis.choices[value].effect}")
            if axis.number is not None:
                effect = axis.number.effect.replace("{value}", "that number")
                lines.append(f"    {'(a number)':<22} {effect}")
    return "\n".join(lines)


def latex(spec: Spec, variant: Variant) -> str:
    """The equations as an ``align*`` environment."""
    names = symbols(spec, variant)
    writer = _Latex(names)
    known = states_of(spec, variant)
    rows = []
    for name, forms in equations_of(spec, variant).items():
        state = known.get(name)
        when = ""
        if state and state.when:
            when = rf" &&\text{{if }} {writer.write(_parse(state.when))}"
        rows.append(f"  {writer.name(name)} &\\leftarrow {writer.write(_parse(forms[0]))}{when}")
    return (
        "% "
        + spec.title
        + ", "
        + spec.cite
        + "\n\\begin{align*}\n"
        + " \\\\\n".join(rows)
        + "\n\\end{align*}"
    )


def _wrapped(text: str, width: int = 92) -> list[str]:
    import textwrap

    return textwrap.wrap(text, width, initial_indent="  ", subsequent_indent="  ")


def _parse(form: str) -> ast.expr:
    return ast.parse(form.strip(), mode="eval").body


def _condition(text: str, names: Mapping[str, str]) -> str:
    return _Text(names).write(_parse(text))


_RANK = {ast.Add: 1, ast.Sub: 1, ast.Mult: 2, ast.Div: 2, ast.Pow: 4}
_COMPARE = {ast.Eq: "=", ast.NotEq: "≠", ast.Lt: "<", ast.LtE: "≤", ast.Gt: ">", ast.GtE: "≥"}


class _Text:
    """Unicode, one line."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names

    def write(self, n: ast.expr) -> str:
        return self.at(n, 0)

    def at(self, n: ast.expr, rank: int) -> str:
        """The text of ``n``, in parentheses when it binds weaker than ``rank``."""
        text, own = self.of(n)
        return f"({text})" if own < rank else text

    def of(self, n: ast.expr) -> tuple[str, int]:
        match n:
            case ast.Name(id=name):
                return self.names.get(name, name), 9
            case ast.Constant(value=v):
                return (f"{v:g}" if isinstance(v, int | float) else str(v)), 9
            case ast.UnaryOp(op=ast.USub(), operand=x):
                return f"−{self.at(x, 2)}", 2
            case ast.UnaryOp(op=ast.Not(), operand=x):
                return f"not {self.at(x, 1)}", 0
            case ast.BinOp(left=a, op=ast.Pow(), right=b):
                power = self.at(b, 5)
                if re.fullmatch(r"[0-9t]+", power):
                    return self.at(a, 5) + power.translate(_SUPERSCRIPT), 4
                return f"{self.at(a, 5)}^{power}", 4
            case ast.BinOp(left=a, op=op, right=b):
                rank = _RANK[type(op)]
                sign = {ast.Add: " + ", ast.Sub: " − ", ast.Mult: "·", ast.Div: " / "}[type(op)]
                return (
                    self.at(a, rank) + sign + self.at(b, rank + isinstance(op, ast.Sub | ast.Div)),
                    rank,
                )
            case ast.Call(func=ast.Name(id="ema"), args=[m, x, beta]):
                β = self.at(beta, 3)
                return f"{β}·{self.at(m, 3)} + (1 − {β})·{self.at(x, 3)}", 1
            case ast.Call(func=ast.Name(id="sqrt"), args=[x]):
                text, own = self.of(x)
                return (f"√{text}" if own == 9 else f"√({text})"), 8
            case ast.Call(func=ast.Name(id="abs"), args=[x]):
                return f"|{self.write(x)}|", 9
            case ast.Call(func=ast.Name(id=f), args=args):
                return f"{f}({', '.join(self.write(a) for a in args)})", 9
            case ast.IfExp(test=test, body=a, orelse=b):
                return f"{self.at(a, 1)} if {self.write(test)} else {self.at(b, 0)}", 0
            case ast.BoolOp(op=op, values=parts):
                word = " and " if isinstance(op, ast.And) else " or "
                return word.join(self.at(p, 1) for p in parts), 0
            case ast.Compare(left=a, ops=[op], comparators=[b]):
                return f"{self.write(a)} {_COMPARE[type(op)]} {self.write(b)}", 1
        return ast.unparse(n), 0


class _Latex(_Text):
    """LaTeX, with fractions and cases."""

    def name(self, name: str) -> str:
        if name == "grad":
            return r"\nabla f(p)"
        if name == "lr0":
            return r"\eta_0"
        text = self.names.get(name, name)
        if text in _LATEX:
            return _LATEX[text]
        return text if len(text) == 1 else r"\mathrm{" + text.replace("_", r"\_") + "}"

    def of(self, n: ast.expr) -> tuple[str, int]:
        match n:
            case ast.Name(id=name):
                return self.name(name), 9
            case ast.UnaryOp(op=ast.USub(), operand=x):
                return f"-{self.at(x, 2)}", 2
            case ast.UnaryOp(op=ast.Not(), operand=x):
                return rf"\text{{not }} {self.at(x, 1)}", 0
            case ast.BinOp(left=a, op=ast.Pow(), right=b):
                return f"{self.at(a, 5)}^{{{self.write(b)}}}", 4
            case ast.BinOp(left=a, op=ast.Div(), right=b):
                return rf"\frac{{{self.write(a)}}}{{{self.write(b)}}}", 8
            case ast.BinOp(left=a, op=ast.Mult(), right=b):
                return rf"{self.at(a, 2)} \, {self.at(b, 2)}", 2
            case ast.BinOp(left=a, op=op, right=b):
                sign = "+" if isinstance(op, ast.Add) else "-"
                return f"{self.at(a, 1)} {sign} {self.at(b, 2 if sign == '-' else 1)}", 1
            case ast.Call(func=ast.Name(id="ema"), args=[m, x, beta]):
                β = self.at(beta, 3)
                return rf"{β} \, {self.at(m, 3)} + (1 - {β}) \, {self.at(x, 3)}", 1
            case ast.Call(func=ast.Name(id="sqrt"), args=[x]):
                return rf"\sqrt{{{self.write(x)}}}", 9
            case ast.Call(func=ast.Name(id="max"), args=args):
                return rf"\max({', '.join(self.write(a) for a in args)})", 9
            case ast.IfExp(test=test, body=a, orelse=b):
                return (
                    rf"\begin{{cases}} {self.write(a)} & \text{{if }} {self.write(test)} \\ "
                    rf"{self.write(b)} & \text{{otherwise}} \end{{cases}}"
                ), 9
            case ast.BoolOp(op=op, values=parts):
                word = r" \text{ and } " if isinstance(op, ast.And) else r" \text{ or } "
                return word.join(self.at(p, 1) for p in parts), 0
            case ast.Compare(left=a, ops=[op], comparators=[b]):
                sign = (
                    _COMPARE[type(op)]
                    .replace("≠", r"\neq")
                    .replace("≤", r"\leq")
                    .replace("≥", r"\geq")
                )
                return f"{self.write(a)} {sign} {self.write(b)}", 1
        return super().of(n)
