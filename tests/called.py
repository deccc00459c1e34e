"""The command line called in this process: what it prints and its exit status, without the second
that a process of its own takes to start, and with the server that forks the subjects kept."""

from __future__ import annotations

import contextlib
import io
import subprocess
from pathlib import Path

from optconform.cli import main

ROOT = Path(__file__).parent.parent


def called(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """``optconform ARGUMENTS``; sees nothing of a traceback but the exception itself."""
    out, err, status = io.StringIO(), io.StringIO(), 0
    with (
        contextlib.chdir(cwd),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main([*map(str, arguments)])
        except SystemExit as e:
            status = e.code if isinstance(e.code, int) else 1
    return subprocess.CompletedProcess(arguments, status, out.getvalue(), err.getvalue())
