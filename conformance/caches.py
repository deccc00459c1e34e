"""Where things are kept that cost time to make anew."""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def folder() -> Path:
    """``$OPTCONFORM_CACHE``, or a folder in the user's cache."""
    named = os.environ.get("OPTCONFORM_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "optconform"


def cached(key: tuple[str, ...], suffix: str, build: Callable[[], bytes]) -> Path:
    """The file with what ``build`` returns for ``key``, built if it is not there yet.

    Whoever reads it finds it whole: it appears under its name when it is written.
    """
    digest = hashlib.sha256("\0".join(key).encode()).hexdigest()[:32]
    path = folder() / f"{digest}{suffix}"
    if not path.exists():
        made = build()
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
            file.write(made)
        os.replace(file.name, path)
    return path
