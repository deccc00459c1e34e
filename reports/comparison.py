"""A comparison in words and figures: what the terminal, Markdown and HTML have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from optconform.reports.view import Json, as_map, as_maps

SCHEMA = "optconform/compare/1"
NONE = "—"


@dataclass(frozen=True)
class Table:
    """Cells as text, a heading over each column."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def checked(record: Json) -> Json:
    """The record itself; ValueError when it is none of a comparison."""
    if record.get("schema") != SCHEMA:
        raise ValueError(
            f"cannot render a record of schema {record.get('schema')!r}: expected {SCHEMA!r}"
        )
    return record


def labels(record: Json) -> tuple[str, str]:
    a, b = (str(s["label"]) for s in record["sides"])
    return (a, b) if a != b else (f"{a} (first)", f"{b} (second)")


def number(x: object, digits: int = 4) -> str:
    """A number as short as it can be written, or a dash."""
    if x is None:
        return NONE
    if isinstance(x, bool):
        return "on" if x else "off"
    return f"{float(str(x)):.{digits}g}"


def plain(x: float) -> str:
    """0.01 and 100 rather than 1e-02 and 1e+02; 1e-08 as it is."""
    return f"{x:g}"


def settings(hypers: Json, *, without: Sequence[str] = ()) -> str:
    """``lr = 0.001, beta1 = 0.9, amsgrad on``; flags that are off are not mentioned."""
    said = []
    for name, value in hypers.items():
        if name in without or value is False:
            continue
        said.append(f"{name} on" if value is True else f"{name} = {plain(float(value))}")
    return ", ".join(said)


# ---- on paper --------------------------------------------------------------------------------


def defaults_table(record: Json) -> Table:
    rows = [(d["name"], number(d["a"], 6), number(d["b"], 6)) for d in record["defaults"]]
    return Table(("default of", *labels(record)), tuple(rows))


def equations_table(record: Json, *, only: bool = True) -> Table:
    """The equations side by side: those that differ, or all of them."""
    rows = [
        (e["a"] or NONE, e["b"] or NONE) for e in record["equations"] if e["differs"] or not only
    ]
    return Table(labels(record), tuple(rows))


def axes(record: Json) -> list[tuple[str, list[tuple[str, str, str, list[str]]]]]:
    """Axis -> for each side its label, value, effect and links."""
    out = []
    for axis in record["axes"]:
        sides = []
        for label, key in zip(labels(record), ("a", "b"), strict=True):
            about = as_map(axis[key])
            links = [str(x) for x in about["links"]]
            sides.append((label, str(about["value"]), str(about["effect"]), links))
        out.append((str(axis["axis"]), sides))
    return out


# ---- proofs ----------------------------------------------------------------------------------


def headline(record: Json) -> str:
    a, b = labels(record)
    found = record["coincide"]
    if found["always"]:
        return f"{a} and {b} are the same formula."
    if found["asked"]:
        return f"With {_listed(found['asked']['when'])}, {a} and {b} are the same formula."
    if record["separation"] is None and record["trajectories"] is None:
        return f"Nothing that was tried tells {a} and {b} apart, and no proof says why."
    return f"{a} and {b} are different formulas."


def proofs(record: Json) -> list[str]:
    """Where the sides coincide, one sentence each."""
    found = record["coincide"]
    out = []
    if found["always"]:
        out.append(f"Under every setting: {_what(found['always'])}.")
    asked = [found["asked"]] if found["asked"] else []
    for one in [*asked, *(c for c in found["named"] if c not in asked)]:
        out.append(f"With {_listed(one['when'])}: {_what(one)}.")
    if found["first_step"]:
        first = {**found["first_step"], "state": True}
        out.append(f"In the first step, under every setting: {_what(first, 'parameters')}.")
    if not out:
        out.append(
            "No proof was found that they coincide, be it always, in the first step, or with a "
            "flag on or off, one or two hyperparameters at 0, or lr constant."
        )
    return out


def _what(proof: Json, same: str = "parameters and state") -> str:
    what = same if proof["state"] else "parameters, while the state differs"
    cases = "1 case" if proof["cases"] == 1 else f"each of {proof['cases']} cases"
    how = "the same expressions" if proof["identical"] else "the same rational functions"
    open_ = ", so equal wherever neither divides by zero"
    caveat = open_ if proof["divides"] and not proof["identical"] else ""
    return f"the same {what}; proved: {how} in {cases}{caveat}"


def _listed(words: Sequence[str]) -> str:
    return " and ".join(words)


# ---- the smallest input ----------------------------------------------------------------------


def separation_facts(record: Json) -> list[tuple[str, str]]:
    """The input and both values, as (what, text)."""
    found = record["separation"]
    a, b = labels(record)
    steps = found["steps"]
    gradients = ", then ".join(plain(g) for g in found["gradients"])
    facts = [
        ("steps", str(steps)),
        ("parameter", plain(found["start"])),
        ("gradient" if steps == 1 else "gradients", gradients),
    ]
    lrs = found["lrs"]
    changes = len(set(lrs)) > 1
    if changes:
        facts.append(("lr", ", then ".join(plain(x) for x in lrs)))
    facts.append(("settings", settings(found["hypers"], without=("lr",) if changes else ())))
    facts += [(f"{a} gives", number(found["value_a"], 10)),
              (f"{b} gives", number(found["value_b"], 10))]  # fmt: skip
    return facts


def separation_table(record: Json) -> Table:
    a, b = labels(record)
    found = record["separation"]
    rows = []
    for d in found["dtypes"]:
        if d["apart"]:
            says = "told apart"
        elif d["others"]:
            says = "not by this input, but by another of this size"
        else:
            says = f"nothing of this size separates them ({found['tried']} inputs tried)"
        rows.append((d["dtype"], number(d["bound_a"], 2), number(d["bound_b"], 2),
                     apart_by(d["ratio"]), says))  # fmt: skip
    heads = ("dtype", f"bound of {a}", f"bound of {b}", "apart by", "")
    return Table(heads, tuple(rows))


def apart_by(ratio: float) -> str:
    """A distance in units of both bounds together."""
    if ratio == 0:
        return NONE
    size = f"{ratio:,.0f}" if 100 <= ratio < 1e7 else f"{ratio:.2g}"
    return f"{size} bounds"


NOTHING_SEPARATES = "No plain input of one element and up to 4 steps separates them in any dtype."

BOUNDS = (
    "A bound says how far a faithful implementation in that dtype, its scalars in double "
    "precision, may be from the exact value. "
    "The distance of the exact values is told in units of both bounds together: above 1, no "
    "faithful implementation of one can be taken for one of the other."
)


# ---- trajectories ----------------------------------------------------------------------------


def conditions(record: Json) -> str:
    """What all trajectories have in common, in a sentence."""
    found = record["trajectories"]
    setting = found["setting"]
    out = (
        f"Both sides run at {settings(setting['hypers'])} unless a table says otherwise, from the "
        f"same N(0, 1) parameters (seed {record['run']['seed']}), on the same gradients."
    )
    if setting["halvings"]:
        steps = [str(x) for x in setting["halvings"]]
        out += f" lr is halved after steps {', '.join(steps[:-1])} and {steps[-1]}."
    return out


def distances_by_gradient(record: Json) -> Table:
    """Relative distances for each kind and scale of gradients."""
    found = record["trajectories"]
    lr, value = middle(record)
    rows = [
        (_gradients(r), *map(number3, r["distance"]), _parts(r, found))
        for r in found["rows"]
        if r["lr"] == lr and r["value"] == value
    ]
    return Table(("gradients", *_step_heads(found), PARTS), tuple(rows))


def distances_by_setting(record: Json) -> Table | None:
    """Relative distances of N(0, 1) gradients for each lr and value of the knob."""
    found = record["trajectories"]
    chosen = [r for r in found["rows"] if r["gradients"] == "normal" and r["scale"] == 1]
    if len(chosen) < 2:
        return None
    rows = [(*_turned(r), *map(number3, r["distance"]), _parts(r, found)) for r in chosen]
    return Table((*_turned_heads(found), *_step_heads(found), PARTS), tuple(rows))


def every_distance(record: Json) -> Table:
    """Relative distances of every trajectory."""
    found = record["trajectories"]
    heads = ("gradients", *_turned_heads(found), *_step_heads(found), PARTS)
    rows = [
        (_gradients(r), *_turned(r), *map(number3, r["distance"]), _parts(r, found))
        for r in found["rows"]
    ]
    return Table(heads, tuple(rows))


def _turned_heads(found: Json) -> tuple[str, ...]:
    """What is turned from trajectory to trajectory."""
    lr = ("lr",) if found["rows"][0]["lr"] is not None else ()
    return (*lr, found["knob"]) if found["knob"] else lr


def _turned(row: Json) -> list[str]:
    return [plain(x) for x in (row["lr"], row["value"]) if x is not None]


PARTS = "parts at step"
DISTANCE = "|p_a − p_b| / |p_a − p_0|"


def distance_meaning(record: Json) -> str:
    a, b = labels(record)
    judged = record["trajectories"]["judged_steps"]
    return (
        f"The figures are {DISTANCE} with p_a of {a} and p_b of {b}: 1 says that they are as far "
        f"apart as the first has come. They part at the first step in which an element is farther "
        f"apart than both float32 bounds, as far as the first {judged} steps show it."
    )


def number3(x: float | None) -> str:
    return number(x, 3)


def middle(record: Json) -> tuple[float, float | None]:
    """The lr and the value of the knob that the first table shows: the setting's own."""
    found = record["trajectories"]
    hypers = found["setting"]["hypers"]
    values = list(dict.fromkeys(r["value"] for r in found["rows"]))
    lrs = list(dict.fromkeys(r["lr"] for r in found["rows"]))
    own = hypers.get(found["knob"])
    lr = hypers.get("lr", lrs[0])
    return lr if lr in lrs else lrs[0], own if own in values else values[len(values) // 2]


def _gradients(row: Json) -> str:
    if row["gradients"] == "constant":
        return f"constant {plain(row['scale'])}"
    return "N(0, 1)" if row["scale"] == 1 else f"N(0, 1) · {plain(row['scale'])}"


def _step_heads(found: Json) -> tuple[str, ...]:
    return tuple("1 step" if n == 1 else f"{n} steps" for n in found["steps"])


def _parts(row: Json, found: Json) -> str:
    return f"> {found['judged_steps']}" if row["parts"] is None else str(row["parts"])


def own_defaults(record: Json) -> str | None:
    """The distance with each side at its own defaults."""
    found = record["trajectories"]
    if found["own"] is None:
        return None
    told = [
        f"{number3(x)} after {n} step{'s' * (n > 1)}"
        for n, x in zip(found["steps"], found["own"], strict=True)
    ]
    return f"With each side at its own defaults, N(0, 1) gradients: {', '.join(told)}."


def decay_table(record: Json) -> Table | None:
    """What weight_decay takes away of a parameter, by the scale of the gradients."""
    found = record["trajectories"]
    if not found["decay"]:
        return None
    heads = ("weight_decay takes away", *(f"gradients · {plain(s)}" for s in found["scales"]))
    rows = [(d["label"], *(percent(x) for x in d["taken"])) for d in found["decay"]]
    return Table(heads, tuple(rows))


def percent(x: float) -> str:
    return f"{100 * x:.3g} %"


def decay_sentences(record: Json) -> list[str]:
    """What the table says, for each side."""
    found = record["trajectories"]
    wd = plain(found["setting"]["hypers"]["weight_decay"])
    out = [
        f"The share of a parameter that weight_decay = {wd} takes away within "
        f"{found['decay_steps']} steps of N(0, 1) gradients."
    ]
    for d in found["decay"]:
        if not d["rescaled"]:
            said = "what it takes away does not depend on the scale of the gradients"
        elif d["root"]:
            said = (
                "the decay is divided by the root of the mean squared gradient like any gradient, "
                "so its effect depends on the scale of the gradients"
            )
        else:
            said = "what it takes away depends on the scale of the gradients"
        out.append(f"{d['label']}: {said}.")
    return out


def notes(record: Json) -> list[str]:
    """What the specs themselves remark on an axis that differs, each remark once."""
    words = [str(axis["axis"]).replace("_", " ") for axis in record["axes"]]
    said = [str(n) for s in as_maps(record["sides"]) for n in s["notes"]]
    return [n for n in dict.fromkeys(said) if any(w in n for w in words)]


def sides(record: Json) -> list[dict[str, Any]]:
    return [{**s, "label": label} for s, label in zip(record["sides"], labels(record), strict=True)]
