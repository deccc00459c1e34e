"""Isolated environments for two releases of a library, made with venv and pip, kept and reused.

An environment lies over the one that optconform runs in: what the release does not ask for in
another version is the same on both sides, torch above all, and only the rest is installed.
Whatever is recorded there runs from a copy of this package, so that it needs no installation.
"""

import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path

from packaging.requirements import InvalidRequirement, Requirement

from ..caches import folder
from ..errors import RequestError
from ..record import write
from .host import Interpreter

READY = "ready.json"
INSTALL = 900.0  # seconds for pip


def requirement(text: str) -> Requirement:
    """``name==version``, and nothing that pip would take for an option, a file or an address."""
    try:
        found = Requirement(text)
    except InvalidRequirement:
        raise RequestError(f"{text!r} is not NAME==VERSION") from None
    pins = [s for s in found.specifier if s.operator == "==" and not s.version.endswith("*")]
    if found.url or len(pins) != 1 or len(found.specifier) != 1:
        raise RequestError(f"{text!r} is not NAME==VERSION")
    return found


def besides(text: str) -> Requirement:
    """A requirement that both environments have besides."""
    try:
        found = Requirement(text)
    except InvalidRequirement:
        raise RequestError(f"--with {text!r} is no requirement") from None
    if found.url:
        raise RequestError(f"--with {text!r}: an address is no requirement")
    return found


def cache_folder(given: str | None) -> Path:
    """Where environments are kept: the given folder, or one in the cache."""
    return Path(given) if given is not None else folder() / "environments"


def environment(
    wanted: Requirement,
    extra: Sequence[Requirement],
    cache: Path,
    tell: Callable[[str], None] = lambda line: None,
) -> Interpreter:
    """The interpreter of an environment with these requirements, made if it is not there yet.

    Raises RequestError with what pip says last, where it cannot be made.
    """
    bases = [p for p in sys.path if Path(p).name in ("site-packages", "dist-packages")]
    pins = [f"torch=={metadata.version('torch')}"]
    asked = [str(wanted), *sorted(map(str, extra))]
    made_of = {"asked": asked, "bases": bases, "pins": pins, "python": sys.version}
    digest = hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:12]
    version = next(iter(wanted.specifier)).version
    folder = (cache / f"{wanted.name}-{version}-{digest}").absolute()
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    if not (folder / READY).is_file():
        tell(f"making an environment with {', '.join(asked)}")
        _make(folder, python, asked, bases, pins)
        write(folder / READY, json.dumps(made_of) + "\n")
    stage = _stage(cache)
    return Interpreter(str(python), str(stage), str(folder))


def _make(
    folder: Path, python: Path, asked: Sequence[str], bases: Sequence[str], pins: Sequence[str]
) -> None:
    if folder.exists():  # an earlier attempt was interrupted
        shutil.rmtree(folder)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        venv.create(folder, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as e:
        raise RequestError(f"cannot make an environment in {folder}: {e}") from None
    found = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    write(Path(found.stdout.strip()) / "optconform-base.pth", "".join(f"{p}\n" for p in bases))
    write(folder / "constraints.txt", "".join(f"{p}\n" for p in pins))
    command = [
        str(python), "-m", "pip", "install", "--no-input", "--disable-pip-version-check", "-q",
        "-c", str(folder / "constraints.txt"), "--", *asked,
    ]  # fmt: skip
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL)
    except subprocess.TimeoutExpired:
        raise RequestError(f"pip took longer than {INSTALL:g} seconds for {asked[0]}") from None
    if done.returncode:
        errors = [x for x in done.stderr.splitlines() if x.startswith("ERROR")]
        last = " ".join((errors or done.stderr.splitlines() or ["no reason given"])[0].split())
        raise RequestError(f"{asked[0]} cannot be installed: {last[:300]}")


def _stage(cache: Path) -> Path:
    """A folder with a copy of this package, the same one for the same sources."""
    files: dict[str, Path] = {}
    for package in ("", ".specs", ".impls"):
        root = Path(str(importlib.import_module(f"optconform{package}").__file__)).parent
        for path in sorted(root.rglob("*")):
            if path.suffix in (".py", ".toml") and "__pycache__" not in path.parts:
                inside = Path("optconform", *package.split("."), path.relative_to(root))
                files[str(inside)] = path
    digest = hashlib.sha256()
    for name, path in sorted(files.items()):
        digest.update(name.encode() + b"\0" + path.read_bytes() + b"\0")
    stage = cache.absolute() / f"optconform-{digest.hexdigest()[:12]}"
    if not stage.is_dir():
        part = stage.with_name(f"{stage.name}.{os.getpid()}")
        for name, path in files.items():
            target = part / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
        try:
            part.rename(stage)
        except OSError:  # another process was first
            shutil.rmtree(part)
    return stage
