"""Environments of their own for third-party packages, and wheels written by hand."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import sys
import venv
import zipfile
from pathlib import Path


def environment(folder: Path) -> Path:
    """The interpreter of a fresh environment over the one that the tests run in."""
    venv.create(folder, with_pip=False)
    python = folder / "bin" / "python"
    found = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True,
        text=True,
        check=True,
    )
    bases = [p for p in sys.path if Path(p).name == "site-packages"]
    lines = [f"import site; site.addsitedir({p!r})\n" for p in bases]
    (Path(found.stdout.strip()) / "base.pth").write_text("".join(lines))
    return python


def wheel(folder: Path, name: str, version: str, modules: dict[str, str]) -> Path:
    """A wheel with these modules."""
    info = f"{name}-{version}.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    files = {
        **{f"{module}.py": text for module, text in modules.items()},
        f"{info}/METADATA": metadata,
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\n"
        "Tag: py3-none-any\n",
    }
    record = "".join(f"{path},sha256={_digest(text)},{len(text.encode())}\n"
                     for path, text in files.items())  # fmt: skip
    files[f"{info}/RECORD"] = record + f"{info}/RECORD,,\n"
    out = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(out, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return out


def install(python: Path, file: Path) -> None:
    """Unpack a wheel of pure Python where the interpreter finds it."""
    (target,) = (python.parent.parent / "lib").glob("python*/site-packages")
    zipfile.ZipFile(file).extractall(target)


def _digest(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
