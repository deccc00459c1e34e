"""The power of the suite, from what its trials wrote: mutants, detectability, re-enacted bugs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optconform.reports.view import Json, as_map, as_maps, count, number_of, pairs, text


@dataclass(frozen=True, slots=True)
class Table:
    """A trial as a heading, a sentence or two, and cells as text."""

    title: str
    said: str
    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def tables(trial: Mapping[str, Any]) -> Table:
    """The table of one trial's JSON; ValueError for what is none."""
    schema = trial.get("schema") if isinstance(trial, Mapping) else None
    if schema == "optconform/mutants/1":
        return _mutants(trial)
    if schema == "optconform/detectability/1":
        return _detectability(trial)
    if schema is None and isinstance(trial, Mapping) and isinstance(trial.get("cases"), list):
        return _bugs(trial)
    raise ValueError(
        f"cannot show a trial of schema {schema!r}: expected what the commands mutants and "
        "detectability or the re-enacted bugs write"
    )


def _program(row: Json) -> str:
    variant = pairs(row.get("variant"))
    return text(row.get("spec")) + (f"[{variant}]" if variant else "")


def _mutants(trial: Json) -> Table:
    programs = as_maps(trial.get("programs"))
    kinds = ("killed", "equivalent", "survived")
    sums = {k: sum(int(number_of(p.get(k)) or 0) for p in programs) for k in kinds}
    said = ", ".join(f"{count(n)} {k}" for k, n in sums.items())
    return Table(
        "Mutants",
        f"{count(sum(sums.values()))} mutants of {count(len(programs))} programs: {said}. "
        f"{text(trial.get('definition') or '')}",
        ("program", *kinds, "scenarios to kill: median", "largest"),
        tuple(
            (_program(p), *(count(p.get(k)) for k in kinds),
             *(text(as_map(p.get("scenarios")).get(k)) for k in ("median", "max")))
            for p in programs
        ),
    )  # fmt: skip


def _detectability(trial: Json) -> Table:
    rows = as_maps(trial.get("thresholds"))
    return Table(
        "Detectability",
        text(trial.get("definition") or ""),
        ("spec", "dtype", "hyperparameter", "default", "optconform", "p", "p and state"),
        tuple(
            (text(r.get("spec")), text(r.get("dtype")), text(r.get("hyper")),
             text(r.get("default")),
             *(_least(r.get(k)) for k in ("judge", "close_parameters", "close_all")))
            for r in rows
        ),
    )  # fmt: skip


def _least(value: object) -> str:
    number = number_of(value)
    return "never" if number is None else f"{number:.1g}"


def _bugs(trial: Json) -> Table:
    scores = trial.get("scores")
    said = ". ".join(map(text, scores)) + "." if isinstance(scores, list) and scores else ""
    return Table(
        "Re-enacted bugs",
        said,
        ("mistake", "kind", "spec", "optconform", "assert_close"),
        tuple(
            (text(c.get("mistake")), text(c.get("kind")), text(c.get("spec")),
             _flag(c.get("optconform")), text(c.get("assert_close")))
            for c in as_maps(trial.get("cases"))
        ),
    )  # fmt: skip


def _flag(value: object) -> str:
    flagged = as_map(value).get("flagged")
    return "—" if flagged is None else "caught" if flagged else "missed"
