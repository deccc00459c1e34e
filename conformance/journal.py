"""The journal of a run: each result as it comes, so that an interrupted run can be resumed.

It lies beside the record, as ``F.journal``: a header that tells the request, then a line for each
cell.  A line that was cut when the run died is left out.  Once the record is written the journal
goes: a record is there whole or not at all.
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
from .worker import Job

SCHEMA = "optconform/journal/1"


class Journal:
    """``found`` maps the jobs (by their place) to the results of the run before."""

    def __init__(self, record: Path, jobs: Sequence[Job], *, resume: bool) -> None:
        self.path = record.with_name(record.name + ".journal")
        header = {"schema": SCHEMA, "optconform": __version__, "jobs": [_said(j) for j in jobs]}
        self.found: dict[int, Message] = _read(self.path, header, len(jobs)) if resume else {}
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


def _read(path: Path, header: Mapping[str, Any], count: int) -> dict[int, Message]:
    if not path.exists():
        return {}
    found: dict[int, Message] = {}
    try:
        first, *lines = path.read_bytes().split(b"\n")
        if json.loads(first) != header:
            raise RequestError(f"{path} is of another request; leave --resume out to begin anew")
        for line in lines[:-1]:  # what follows the last newline was cut
            entry = json.loads(line)
            if not 0 <= entry["place"] < count or "verdict" not in entry["result"]:
                raise ValueError
            found[entry["place"]] = entry["result"]
    except RequestError:
        raise
    except (ValueError, TypeError, KeyError, OSError, RecursionError):
        raise RequestError(f"{path} is no journal; leave --resume out to begin anew") from None
    return found
