"""The difference between two recordings, told by the equations.

Bits first.  Where they differ, both sides are judged from the recordings alone: either one follows
what the other follows, and only rounds otherwise; or it does not, and the equation is named.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import RequestError
from ..formats import EXTENDED
from ..scenario import from_json
from ..spec_file import load
from .apart import (
    CHANGED,
    DIVERGING,
    EQUAL,
    FIXED,
    LEVELS,
    MARKS,
    NEW,
    NOT_RUN,
    SAME,
    UNJUDGED,
    UNSTEADY,
    WITHIN,
    Pair,
    Row,
    judged,
)
from .corpus import name_of
from .make import ANY, spec_path
from .played import arrays
from .tape import Floats, Recording, Track
from .traits import telling

SCHEMA = "optconform/diff/1"


def difference(before: Recording, after: Recording) -> Row:
    """Everything that differs, as strict JSON.  Raises RequestError where the two recordings have
    nothing in common that could be compared."""
    sides = [_by_name(r) for r in (before, after)]
    names = list(dict.fromkeys([*sides[0], *sides[1]]))
    rows = [_implementation(n, sides[0].get(n), sides[1].get(n)) for n in names]
    if not any(n in sides[1] for n in sides[0]):
        raise RequestError("the recordings have no implementation in common")
    old, new = before.header["environment"], after.header["environment"]
    return {
        "schema": SCHEMA,
        "before": _side(before),
        "after": _side(after),
        "environment": [
            {"name": n, "before": old.get(n), "after": new.get(n)}
            for n in sorted({*old, *new}, key=str.lower)
            if old.get(n) != new.get(n)
        ],
        "levels": LEVELS,
        "marks": MARKS,
        "implementations": rows,
    }


def _side(recording: Recording) -> Row:
    return {"name": str(recording.header.get("name", "")),
            "environment": dict(recording.header["environment"])}  # fmt: skip


def _by_name(recording: Recording) -> dict[str, dict[str, Track]]:
    found: dict[str, dict[str, Track]] = {}
    for track in recording.tracks:
        name, dtype = track.label
        found.setdefault(str(name), {})[str(dtype)] = track
    return found


def worse(data: Row, *, bits: bool = False) -> list[str]:
    """One sentence for whatever an upgrade may break: numerics, defaults, names; with ``bits``,
    rounding as well."""
    out = []
    for row in data["implementations"]:
        name = row["implementation"]
        if row["presence"] == "removed":
            out.append(f"{name} is gone")
        out += [f"{name}: {sentence}" for sentence in broken_options(row["signature"])]
        gone = [s["name"] for s in row["states"] if s["change"] == "removed"]
        out += [f"{name}: the state {s} is gone" for s in gone]
        for cell in row["dtypes"]:
            noticed = (DIVERGING, UNJUDGED, WITHIN) if bits else (DIVERGING, UNJUDGED)
            if cell["level"] in noticed or cell["mark"] == NEW:
                out.append(f"{name} ({cell['dtype']}): {cell['summary']}")
    return out


def broken_options(changes: Sequence[Row]) -> list[str]:
    """What changes of the signature break a call."""
    gone = [c["name"] for c in changes if c["change"] == "removed"]
    must = [
        c["name"]
        for c in changes
        if c["change"] == "added" and c["after"] is None and not c["name"].startswith("*")
    ]
    out = [f"options gone: {', '.join(gone)}"] if gone else []
    out += [f"options that must be given now: {', '.join(must)}"] if must else []
    return out + [
        f"the default of {c['name']} was {c['before']}, is {c['after']}"
        for c in changes
        if c["change"] == "changed"
    ]


# ---- an implementation -----------------------------------------------------------------------


def _implementation(
    name: str, old: Mapping[str, Track] | None, new: Mapping[str, Track] | None
) -> Row:
    there = old or new
    assert there is not None
    first = next(iter(there.values()))
    row: Row = {
        "implementation": name,
        "spec": first.about["spec"],
        "presence": "both" if old and new else "removed" if old else "added",
        "signature": [],
        "states": [],
        "refusals": [],
        "dtypes": [],
    }
    if old is None or new is None:
        return row
    a, b = next(iter(old.values())).about, next(iter(new.values())).about
    options = [x.get("signature", {}) for x in (a, b)]
    if all(options):  # some have none that can be read
        row["signature"] = _changes(*options)
    held = [x.get("states", {}) for x in (a, b)]
    if all(held):  # where one side never got to a step, its runs tell
        row["states"] = _changes(*held)
    said = [x.get("refusals", {}) for x in (a, b)]
    row["refusals"] = [
        {"what": w, "before": said[0][w], "after": said[1][w]}
        for w in said[0]
        if w in said[1] and said[0][w] != said[1][w]
    ]
    one_spec = a["spec"] == b["spec"]
    row["dtypes"] = [_cell(old[d], new[d], one_spec=one_spec) for d in old if d in new]
    if not (a.get("steady", True) and b.get("steady", True)):
        for cell in row["dtypes"]:
            if cell["differing"]:
                cell |= {"level": UNSTEADY, "mark": SAME}
                cell["summary"] = "a rerun of the same release differs as well"
    return row


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Row]:
    rows = []
    for name in dict.fromkeys([*old, *new]):
        here = {"name": name, "before": old.get(name), "after": new.get(name)}
        if name not in new:
            rows.append({**here, "change": "removed"})
        elif name not in old:
            rows.append({**here, "change": "added"})
        elif old[name] != new[name]:
            rows.append({**here, "change": "changed"})
    return rows


# ---- a cell ----------------------------------------------------------------------------------


def _cell(old: Track, new: Track, *, one_spec: bool) -> Row:
    """One implementation in one dtype."""
    pairs = _pairs(old, new)
    both = [p for p in pairs if _ran(old, p[0]) and _ran(new, p[1])]
    cell: Row = {
        "dtype": old.about["dtype"],
        "scenarios": len(pairs),
        "ran": len(both),
        "level": EQUAL if both else NOT_RUN,
        "mark": SAME,
        "summary": "",
        "differing": 0,
    }
    if not pairs:
        return {**cell, "level": UNJUDGED, "mark": CHANGED,
                "summary": "the two were recorded in other scenarios"}  # fmt: skip
    told = _statuses(old, new, pairs)
    differing = [p for p in both if _differ(old, new, p)]
    cell["differing"] = len(differing)
    if differing:
        spec = load(spec_path(str(old.about["spec"])))
        judgeable = spec.name != ANY and one_spec
        if judgeable and old.about["dtype"] == "float64" and not EXTENDED:
            judgeable = False
        told_by = judged(old, new, differing, spec) if judgeable else None
        cell |= told_by or _unjudged(old, new, pairs, differing)
        cell["summary"] += f" ({_where(old, pairs, differing)})"
    if not both and not told:
        cell["summary"] = f"on both sides {old.runs[pairs[0][0]]['status']}"
    if told:
        cell |= {"mark": told["mark"] if cell["mark"] == SAME else cell["mark"]}
        cell["summary"] = "; ".join(x for x in (told["summary"], cell["summary"]) if x)
    return cell


def _pairs(old: Track, new: Track) -> list[Pair]:
    """The runs of the same scenario."""
    there = {name_of(run["scenario"]): k for k, run in enumerate(new.runs)}
    names = [name_of(run["scenario"]) for run in old.runs]
    return [(k, there[n]) for k, n in enumerate(names) if n in there]


def _where(track: Track, pairs: Sequence[Pair], differing: Sequence[Pair]) -> str:
    """In which scenarios two sides differ, as far as a word can tell."""
    scenarios = {k: from_json(track.runs[k]["scenario"]) for k, _ in pairs}
    odd = {k for k, _ in differing}
    ran = [k for k, _ in pairs if _ran(track, k)]
    words = telling([scenarios[k] for k in ran if k in odd],
                    [scenarios[k] for k in ran if k not in odd])  # fmt: skip
    return f"{len(differing)} of {len(pairs)} scenarios" + (f": {words}" if words else "")


def _ran(track: Track, number: int) -> bool:
    return bool(track.runs[number]["status"] == "done")


def _statuses(old: Track, new: Track, pairs: Sequence[Pair]) -> Row | None:
    """What raises on one side alone, or for another reason."""
    worse: dict[str, int] = {}
    better: dict[str, int] = {}
    other: dict[str, int] = {}
    for k, m in pairs:
        a, b = str(old.runs[k]["status"]), str(new.runs[m]["status"])
        if _kind(a) == _kind(b):
            continue
        table = worse if a == "done" else better if b == "done" else other
        key = f"{b}" if a == "done" else a if b == "done" else f"{a}; now {b}"
        table[key] = table.get(key, 0) + 1
    if not worse and not better and not other:
        return None
    parts = [f"now {t}{_times(n, pairs)}" for t, n in worse.items()]
    parts += [f"no longer {t}{_times(n, pairs)}" for t, n in better.items()]
    parts += [f"was {t}{_times(n, pairs)}" for t, n in other.items()]
    mark = NEW if worse else FIXED if better and not other else CHANGED
    return {"mark": mark, "summary": "; ".join(parts[:3])}


def _times(n: int, pairs: Sequence[Pair]) -> str:
    return f" ({n} of {len(pairs)} scenarios)"


def _kind(status: str) -> str:
    """A status without what a message says: ``raised TypeError``."""
    return status if status == "done" else status.partition(":")[0]


def _differ(old: Track, new: Track, pair: Pair) -> bool:
    a, b = arrays(old, pair[0]), arrays(new, pair[1])
    shared = [n for n in a if n in b]
    return any(not _same_bits(a[n], b[n]) for n in shared)


def _same_bits(a: Any, b: Any) -> bool:
    """The same numbers, zeros by their sign; one NaN is as good as another."""
    return bool(
        a.shape == b.shape
        and np.array_equal(a, b, equal_nan=True)
        and np.array_equal(np.signbit(a) & (a == 0), np.signbit(b) & (b == 0))
    )


def _unjudged(old: Track, new: Track, pairs: Sequence[Pair], differing: Sequence[Pair]) -> Row:
    """How far apart two sides are that no spec describes."""
    apart = {k: _apart(arrays(old, k)["param"], arrays(new, m)["param"]) for k, m in differing}
    plain = apart.pop(0, None)  # the first scenario is the plainest
    others = _Apart(
        max((a.most for a in apart.values()), default=0.0), any(a.one_sided for a in apart.values())
    )
    where = "the plain run at the defaults"
    if 0 not in dict(pairs):
        parts = [f"{where} cannot be compared, for {_set_otherwise(old, new)}"]
    elif not (_ran(old, 0) and _ran(new, dict(pairs)[0])):
        parts = [f"{where} did not end on both sides"]
    elif plain:
        parts = [f"parameters {plain.told('')} in {where}"]
    else:
        parts = [f"parameters are the same in {where}"]
    if others:
        parts.append(f"in others they {others.told('up to ')}")
    elif not plain:
        parts.append("only the state differs")
    return {"level": UNJUDGED, "mark": CHANGED, "summary": "; ".join(parts)}


def _set_otherwise(old: Track, new: Track) -> str:
    """Why the first scenarios are two."""
    first = [t.runs[0]["scenario"]["groups"][0]["hyper"] for t in (old, new)]
    names = [c["name"] for c in _changes(*first)]
    return "the defaults differ" + (f" ({', '.join(names)})" if names else "")


@dataclass(frozen=True, slots=True)
class _Apart:
    """The largest difference of finite parameters, in units of the largest one; and whether some
    are finite on one side alone."""

    most: float
    one_sided: bool

    def __bool__(self) -> bool:
        return bool(self.most or self.one_sided)

    def told(self, at_most: str) -> str:
        said = [f"differ by {at_most}{self.most:.2g} of the largest"] if self.most else []
        said += ["are finite on one side alone here and there"] if self.one_sided else []
        return " and ".join(said)


def _apart(a: Floats, b: Floats) -> _Apart:
    if a.shape != b.shape:  # what is there on one side alone is finite there alone
        return _Apart(0.0, True)
    both = np.isfinite(a) & np.isfinite(b)
    one_sided = bool((np.isfinite(a) != np.isfinite(b)).any())
    a, b = a[both], b[both]
    with np.errstate(all="ignore"):
        scale = max(np.abs(a).max(initial=0.0), np.abs(b).max(initial=0.0))
        most = float(np.abs(a / scale - b / scale).max(initial=0.0)) if scale else 0.0
    return _Apart(most, one_sided)
