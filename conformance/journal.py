"""The journal of a run: each result as it comes, so that an interrupted run can be resumed.

It lies beside the record, as ``F.journal``: a header that tells the request, then a line for each
cell.  A line that was cut when the run died is left out.  Once the record is written the journal
goes: a record is there whole or not at all.  Anybody may have edited it meanwhile, so that what is
read is taken only if it has the shape that a run goes on with.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from . import __version__
from .errors import RequestError
from .record import plain
from .serve import Message
from .spec_file import load
from .worker import Job

SCHEMA = "optconform/journal/1"


class Journal:
    """``found`` maps the jobs (by their place) to the results of the run before."""

    def __init__(self, record: Path, jobs: Sequence[Job], *, resume: bool) -> None:
        self.path = record.with_name(record.name + ".journal")
        header = {"schema": SCHEMA, "optconform": __version__, "jobs": [_said(j) for j in jobs]}
        self.found: dict[int, Message] = _read(self.path, header, jobs) if resume else {}
        self.file = self.path.open("w", encoding="utf-8")
        self._line(header)
        for place, result in self.found.items():
            self.add(place, result)

    def add(self, place: int, result: Message) -> None:
        self._line({"place": place, "result": result})

    def _line(self, data: Mapping[str, Any]) -> None:
        self.file.write(json.dumps(plain(data), allow_nan=False) + "\n")
        self.file.flush()

    def done(self) -> None:
        """The record is written: the journal is not needed any more."""
        self.file.close()
        self.path.unlink(missing_ok=True)


def _said(job: Job) -> Any:
    return json.loads(json.dumps(plain(asdict(job))))


def _read(path: Path, header: Mapping[str, Any], jobs: Sequence[Job]) -> dict[int, Message]:
    if not path.exists():
        return {}
    try:
        first, *lines = path.read_bytes().split(b"\n")
        same = json.loads(first) == header
        # what follows the last newline was cut
        found = dict(_entry(json.loads(line), jobs) for line in lines[:-1]) if same else {}
    except (ValueError, TypeError, KeyError, OSError, RecursionError):
        raise RequestError(f"{path} is no journal; leave --resume out to begin anew") from None
    if not same:
        raise RequestError(f"{path} is of another request; leave --resume out to begin anew")
    return found


def _entry(entry: Any, jobs: Sequence[Job]) -> tuple[int, Message]:
    """The place and the result of a line.  Raises ValueError, TypeError or KeyError for what is
    none."""
    place, result = entry["place"], entry["result"]
    if type(place) is not int or not 0 <= place < len(jobs):
        raise ValueError
    job = jobs[place]
    match result:
        case {
            "implementation": job.implementation,
            "library": job.library,
            "version": job.version,
            "spec": job.spec_name,
            "dtype": job.dtype,
            "verdict": str(verdict),
            "message": str(),
            "claimed": claimed,
            "variant": variant,
            "checks": {"contracts": dict(), "tensors": dict(), **counts},
            "findings": list(findings),
        }:
            pass
        case _:
            raise ValueError
    from .reports.view import VERDICTS  # brings what renders a report

    numbers = [counts[n] for n in ("total", "undecided", "vacuous")]
    texts = [f[n] for f in findings for n in ("kind", "check", "summary")]
    texts += [f["tensor"] for f in findings if f["kind"] == "numeric"]
    texts += [name for some in result.get("replayed", []) for name in some]
    if (
        verdict not in VERDICTS
        or any(type(n) is not int for n in numbers)
        or not all(isinstance(t, str) for t in texts)
    ):
        raise ValueError
    spec = load(job.spec)
    for told in (claimed, variant, *(f.get("variant_match") for f in findings)):
        if not isinstance(told, dict | None):
            raise TypeError
        spec.variant(told or {})
    return place, result
