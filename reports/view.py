"""What both renderers share: the record checked, its verdicts in words, its numbers in figures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optconform.printing import visible

SCHEMA = "optconform/report/1"
REQUIRED = ("implementation", "spec", "dtype", "verdict")

Json = Mapping[str, Any]
Matrix = dict[str, dict[tuple[str, str, str], dict[str, list[int]]]]


@dataclass(frozen=True)
class Verdict:
    """A verdict's symbol, its verb for one and for several results, and what it means."""

    name: str
    symbol: str
    one: str
    many: str
    meaning: str


VERDICTS = {
    verdict.name: verdict
    for verdict in (
        Verdict(
            "conforms",
            "✓",
            "conforms",
            "conform",
            "Every decided check lies within its rounding bound.",
        ),
        Verdict(
            "variant",
            "≈",
            "follows an unclaimed variant",
            "follow an unclaimed variant",
            "It follows a named variant, or a precision profile, that it does not claim.",
        ),
        Verdict(
            "diverges",
            "✗",
            "diverges",
            "diverge",
            "No named variant explains what it computes, or a contract is broken.",
        ),
        Verdict(
            "undecided",
            "?",
            "is undecided",
            "are undecided",
            "No check could be decided either way.",
        ),
        Verdict(
            "unsupported",
            "–",
            "is unsupported",
            "are unsupported",
            "The implementation does not take this dtype or option.",
        ),
        Verdict(
            "error",
            "!",
            "ended in an error",
            "ended in an error",
            "The harness or the implementation crashed or hung.",
        ),
    )
}


def as_map(value: object) -> Json:
    """The value if it is a mapping, else an empty one: any optional field may be absent."""
    return value if isinstance(value, Mapping) else {}


def as_maps(value: object) -> list[Json]:
    """The mappings in a list, or nothing if it is no list."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def read_results(record: Json) -> list[Json]:
    """The record's results, or ValueError saying in one sentence why it cannot be rendered."""
    schema = record.get("schema") if isinstance(record, Mapping) else None
    if schema != SCHEMA:
        raise ValueError(f"cannot render a record of schema {schema!r}: expected {SCHEMA!r}")
    results = record.get("results")
    if not isinstance(results, list):
        raise ValueError("the record has no list of results")
    for number, result in enumerate(results, 1):
        for field in REQUIRED:
            if not isinstance(as_map(result).get(field), str):
                raise ValueError(f"result {number} has no text in its field {field!r}")
        if result["verdict"] not in VERDICTS:
            raise ValueError(f"result {number} has the unknown verdict {result['verdict']!r}")
    return results


def ordered(first: Iterable[Any], then: Iterable[str]) -> list[str]:
    """The strings of `then`, each once, those named in `first` ahead and in its order."""
    present = dict.fromkeys(then)
    ahead = [name for name in first if isinstance(name, str) and name in present]
    return list(dict.fromkeys([*ahead, *present]))


def dtypes_of(record: Json, results: Sequence[Json]) -> list[str]:
    """The matrix's columns."""
    named = as_map(record.get("run")).get("dtypes")
    return ordered(named if isinstance(named, list) else [], (r["dtype"] for r in results))


def matrix_of(record: Json, results: Sequence[Json]) -> Matrix:
    """Spec → (implementation, library, version) → dtype → positions in `results`."""
    specs = ordered(as_map(record.get("specs")), (r["spec"] for r in results))
    matrix: Matrix = {spec: {} for spec in specs}
    for position, result in enumerate(results):
        release = (str(result.get("library") or ""), str(result.get("version") or ""))
        row = matrix[result["spec"]].setdefault((result["implementation"], *release), {})
        row.setdefault(result["dtype"], []).append(position)
    return matrix


def tally(results: Iterable[Json]) -> Counter[str]:
    return Counter(result["verdict"] for result in results)


def headline(results: Sequence[Json]) -> str:
    """The plain verdict of the whole record, in one sentence."""
    total, counts = len(results), tally(results)
    if not total:
        return "This record holds no results."
    pairs_conform = "pair of implementation and dtype conforms"
    if total > 1:
        pairs_conform = "pairs of implementation and dtype conform"
    parts = [f"{count(counts['conforms'])} of {count(total)} {pairs_conform}"]
    for name, verdict in VERDICTS.items():
        if name != "conforms" and counts[name]:
            verb = verdict.one if counts[name] == 1 else verdict.many
            parts.append(f"{count(counts[name])} {verb}")
    return "; ".join(parts) + "."


def number_of(value: object) -> float | None:
    """The value as a float if it is a number or one of "nan", "inf", "-inf"."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str) and value not in ("nan", "inf", "-inf"):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf


def text(value: object) -> str:
    """Any value as text."""
    if value is None:
        return "—"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(text(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return pairs(value)
    return str(value)


def count(value: object) -> str:
    """1234567 → 1,234,567."""
    if isinstance(value, bool) or not isinstance(value, int):
        return text(value)
    return f"{value:,}"


def plural(value: object, noun: str) -> str:
    return f"{count(value)} {noun}{'s' * (value != 1)}"


def times(value: object) -> str:
    return "once" if value == 1 else f"{count(value)} times"


def exact(value: object) -> str:
    """Every digit needed to get the same float back."""
    return repr(value) if isinstance(value, float) else text(value)


def short(value: object) -> str:
    """Three digits, or more where three would move the number across or onto 1."""
    number = number_of(value)
    if number is None:
        return text(value)
    brief = f"{number:.3g}"
    return repr(number) if brief == "1" and number != 1 else brief


def ratio(value: object) -> str:
    """Three digits of an error in units of its bound, on the right side of 1."""
    number = number_of(value)
    if number is None or number == math.inf:
        return text(value) if number is None else "∞"
    brief = f"{number:.3g}"
    return brief if brief != "1" or number == 1 else "< 1" if number < 1 else "> 1"


def share(part: object, whole: object) -> str:
    """A percentage that says neither 0 nor 100 unless it is exactly that."""
    a, b = number_of(part), number_of(whole)
    if a is None or b is None or not (math.isfinite(a) and math.isfinite(b)) or b <= 0:
        return "—"
    percent = 100 * a / b
    if percent == 0 or percent == 100:
        return f"{percent:.0f} %"
    if percent < 0.1:
        return "< 0.1 %"
    if 99.9 < percent < 100:
        return "> 99.9 %"
    return f"{percent:.1f} %"


def duration(value: object) -> str:
    """Seconds as a person says them."""
    seconds = number_of(value)
    if seconds is None or not math.isfinite(seconds):
        return text(value)
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def pairs(value: object) -> str:
    """{"eps": "hat", "wd": "coupled"} → eps = hat, wd = coupled."""
    return ", ".join(f"{key} = {text(item)}" for key, item in as_map(value).items())


SAYERS = {"name": "its name", "docstring": "its docstring"}


def decay(result: Json) -> str:
    """Which decay was seen, and what the implementation says of it; empty where nothing is told."""
    found = as_map(result.get("decay"))
    if not found:
        return ""
    applies, alike = found.get("applies"), found.get("alike")
    out = f"{text(applies)}: {text(found.get('effect'))}"
    if not applies:
        out = f"unknown: {text(found.get('why'))}"
    elif isinstance(alike, list) and alike:
        out += f"; in these runs the same formula as {', '.join(map(text, alike))}"
    if applies and found.get("why"):
        out += f" ({text(found['why'])})"
    says = as_map(found.get("says"))
    told = [f"{who} says {says[key]}" for key, who in SAYERS.items() if says.get(key)]
    if isinstance(says.get("default"), int | float):
        told.append(f"by default weight_decay = {short(says['default'])}")
    return "; ".join([out, *told])


def decays(record: Json, results: Sequence[Json]) -> dict[tuple[str, str, str, str], Json]:
    """(spec, implementation, library, version) → its decay, from the first dtype that knows it."""
    out: dict[tuple[str, str, str, str], Json] = {}
    for spec, rows in matrix_of(record, results).items():
        for release, cells in rows.items():
            found = [as_map(results[n].get("decay")) for some in cells.values() for n in some]
            known = [d for d in found if d.get("applies")] or [d for d in found if d]
            if known:
                out[(spec, *release)] = known[0]
    return out


def decay_rows(record: Json, results: Sequence[Json]) -> list[Json]:
    """Which decay each implementation applies, beside what is said of it."""
    found = decays(record, results)
    return [
        {**one, "implementation": name, "spec": spec, "release": f"{library} {version}".strip()}
        for (spec, name, library, version), one in found.items()
    ]


NEIGHBOURS = {
    "apart": "told apart",
    "same": "the same formula in these runs",
    "open": "not told apart: no input did",
}


def neighbours(result: Json) -> dict[str, list[str]]:
    """The variants next to the claimed one, by what the runs could say of them."""
    found = as_map(result.get("neighbours"))
    lists = {said: found.get(key) for key, said in NEIGHBOURS.items()}
    return {
        said: [text(v) for v in some]
        for said, some in lists.items()
        if isinstance(some, list) and some
    }


def contracts(result: Json) -> dict[str, list[str]]:
    """The names of a result's contracts by their status, the broken ones first; behind the name of
    one that is not applicable stands why."""
    by_status: dict[str, list[str]] = {"broken": [], "held": [], "not applicable": []}
    for name, said in as_map(as_map(result.get("checks")).get("contracts")).items():
        status, _, why = text(said).partition(": ")
        by_status.setdefault(status, []).append(f"{name} ({why})" if why else str(name))
    return {status: names for status, names in by_status.items() if names}


USUAL = {
    "scalars": "float64",
    "hypers": "exact",
    "memory": "shown",
    "subnormals": "kept",
    "rounding": "nearest",
}


def unusual(profile: object) -> dict[str, object]:
    """What is special about a precision profile."""
    return {k: v for k, v in as_map(profile).items() if USUAL.get(k) != v}


def departs(result: Json) -> dict[str, object]:
    """The axes in which what a result follows is not what it claims."""
    claimed, follows = as_map(result.get("claimed")), as_map(result.get("variant"))
    if not isinstance(result.get("variant"), Mapping):
        return {}
    values = {a: follows.get(a, "the spec's default") for a in [*follows, *claimed]}
    return {a: value for a, value in values.items() if claimed.get(a) != value}


def notes(result: Json) -> list[str]:
    """What a matrix cell says below its verdict."""
    said = []
    if result.get("mode") not in (None, "lockstep"):
        said.append(text(result["mode"]))
    profile = pairs(unusual(result.get("profile")))
    if result["verdict"] in ("variant", "diverges"):
        said += filter(None, [pairs(departs(result))])
    if result["verdict"] in ("variant", "conforms") and profile:
        said.append(profile)
    if found := len(as_maps(result.get("findings"))):
        said.append("1 finding" if found == 1 else f"{count(found)} findings")
    checks = as_map(result.get("checks"))
    total = number_of(checks.get("total")) or 0
    for kind in ("undecided", "vacuous"):
        part = number_of(checks.get(kind)) or 0
        if result["verdict"] != "undecided" and 0 < total < 2 * part:
            said.append(f"{share(part, total)} {kind}")
    return said


def versions(record: Json) -> str:
    """What a run was made with, in a line."""
    named = {**as_map(record.get("environment"))}
    run = as_map(record.get("run"))
    named |= {k: run[k] for k in ("seed", "examples", "steps") if k in run}
    return visible(", ".join(f"{text(k)} {text(v)}" for k, v in named.items())[:600])


def words(result: Json) -> str:
    """What a search looks through, in small letters."""
    said = [result[k] for k in REQUIRED]
    said += [text(result.get(k)) for k in ("library", "version", "message") if result.get(k)]
    said += [pairs(result.get("variant")), pairs(unusual(result.get("profile")))]
    for finding in as_maps(result.get("findings")):
        said += [text(finding.get(k)) for k in ("kind", "check", "summary") if finding.get(k)]
        said += [text(finding.get(k)) for k in ("tensor", "equation") if finding.get(k)]
    return visible(" ".join(part[:300] for part in dict.fromkeys(said)))[:2000].lower()
