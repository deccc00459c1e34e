"""How a recording lies on disk: a folder with ``recording.jsonl`` and safetensors files.

The first line is the header, the last one the footer: a recording without it was cut short.  Each
line between is an implementation in a dtype, with the digest of its file of tensors; the footer has
that of all lines before it.  So whatever was changed by accident, or lost, is noticed; a digest is
no signature, and whoever can write the folder can also write another footer.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from ..errors import RequestError

SCHEMA = "optconform/recording/1"
LINES = "recording.jsonl"

Floats = NDArray[np.float64]
Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Track:
    """An implementation in a dtype: what it is, its runs, and the tensors of all of them."""

    about: Mapping[str, Any]
    runs: Sequence[Mapping[str, Any]]
    tensors: Tensors = field(repr=False)

    @property
    def label(self) -> tuple[str, str]:
        return self.about["implementation"], self.about["dtype"]


@dataclass(frozen=True)
class Recording:
    header: Mapping[str, Any]
    tracks: Sequence[Track]


def slim(x: Floats) -> NDArray[Any]:
    """The same numbers in half the space, where float32 holds all of them."""
    with np.errstate(all="ignore"):
        single = x.astype(np.float32)
    return single if np.array_equal(single, x, equal_nan=True) else x


class Writer:
    """Writes a recording track by track, in the place of one that is there; without :meth:`close`
    it has no footer."""

    def __init__(self, folder: Path, header: Mapping[str, Any]) -> None:
        folder.mkdir(exist_ok=True)
        for old in filter(_recorded, folder.iterdir()):
            old.unlink()
        self.folder, self.count = folder, 0
        self.digest = hashlib.sha256()
        self.file = (folder / LINES).open("w", encoding="utf-8")
        self._line({"schema": SCHEMA, **header})

    def add(
        self, about: Mapping[str, Any], runs: Sequence[Mapping[str, Any]], packed: bytes
    ) -> None:
        name = f"{self.count:04}.safetensors"
        (self.folder / name).write_bytes(packed)
        self.count += 1
        digest = hashlib.sha256(packed).hexdigest()
        self._line({"about": about, "runs": runs, "file": name, "sha256": digest})

    def close(self) -> None:
        digest = self.digest.hexdigest()
        self._line({"tracks": self.count, "sha256": digest})
        self.file.close()

    def _line(self, data: Mapping[str, Any]) -> None:
        line = json.dumps(data, allow_nan=False) + "\n"
        self.digest.update(line.encode())
        self.file.write(line)
        self.file.flush()


def packed(tensors: Mapping[str, Floats]) -> bytes:
    return bytes(save({k: slim(x) for k, x in tensors.items()}))


def read(folder: Path) -> Recording:
    """A whole recording, every digest checked.  Raises RequestError with one sentence."""
    path = folder / LINES
    try:
        raw = path.read_bytes()
    except OSError:
        raise RequestError(f"{folder} is no recording: it has no {LINES}") from None
    lines = raw.splitlines(keepends=True)
    try:
        header, *entries, footer = [json.loads(line) for line in lines]
        if header["schema"] != SCHEMA:
            raise RequestError(f"{folder}: the schema is {header['schema']!r}, not {SCHEMA}")
        if "tracks" not in footer:
            raise RequestError(f"{folder} was cut short: it has no footer; record it again")
        if (footer["tracks"], footer["sha256"]) != (
            len(entries),
            hashlib.sha256(b"".join(lines[:-1])).hexdigest(),
        ):
            raise RequestError(f"{folder}: {LINES} was changed after it was recorded")
        return Recording(header, [_track(folder, e) for e in entries])
    except RequestError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise RequestError(f"{folder} is no whole recording; record it again") from None


def _track(folder: Path, entry: Mapping[str, Any]) -> Track:
    name = entry["file"]
    if not re.fullmatch(r"\d{4,}\.safetensors", name):
        raise RequestError(f"{folder}: {name!r} is no file of a recording")
    try:
        data = (folder / name).read_bytes()
    except OSError:
        raise RequestError(f"{folder}: {name} is missing") from None
    if hashlib.sha256(data).hexdigest() != entry["sha256"]:
        raise RequestError(f"{folder}: {name} was changed after it was recorded")
    try:
        return Track(entry["about"], entry["runs"], load(data))
    except SafetensorError as e:
        raise RequestError(f"{folder}: {name}: {e}") from None


def _recorded(path: Path) -> bool:
    """Whether a file has the name of a recording's."""
    return path.name == LINES or bool(re.fullmatch(r"\d{4,}\.safetensors", path.name))


def folder_for(path: str) -> Path:
    """A folder to record into: new, empty, or one that holds a recording, which goes when another
    is written."""
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise RequestError(f"cannot record into {path}: it is a file")
    if folder.is_dir():
        strange = [p.name for p in folder.iterdir() if not _recorded(p)]
        if strange:
            raise RequestError(
                f"cannot record into {path}: it holds {min(strange)}, which is no recording"
            )
    elif not folder.parent.is_dir():
        raise RequestError(f"cannot record into {path}: there is no folder {folder.parent}")
    return folder
