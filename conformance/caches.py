"""Where things are kept that cost time to make anew."""

import os
from pathlib import Path


def folder() -> Path:
    """``$OPTCONFORM_CACHE``, or a folder in the user's cache."""
    named = os.environ.get("OPTCONFORM_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "optconform"
