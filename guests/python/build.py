"""Builds the component in which plugins in Python run, the same bytes every time: python build.py [FOLDER].

It runs in the environment of requirements/python-runtime.lock (scripts/python-runtime.sh). What was built of the same
files is kept in .cache. `python.wasm.sha256` tells what comes out of it on Linux, x86-64, with a C compiler.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
WIT = TOP / "src" / "dataflare" / "plugin" / "sdk" / "dataflare.wit"
NAME = "python.wasm.xz"


def main(folder: Path) -> None:
    """Put the component into a folder."""
    kept = TOP / ".cache" / "python-runtime" / digest()[:16] / NAME
    if not kept.exists():
        put(lzma.compress(built(), preset=6), kept)
    packed = kept.read_bytes()
    if not (folder / NAME).exists() or (folder / NAME).read_bytes() != packed:
        put(packed, folder / NAME)


def put(data: bytes, path: Path) -> None:
    """Write a file, whole or not at all: two may build at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(data)
    unfinished.replace(path)


def digest() -> str:
    """Return what changes whenever one of the inputs does."""
    found = hashlib.sha256()
    for path in [Path(__file__), HERE / "steady.c", WIT, *sorted((HERE / "guest").rglob("*.py"))]:
        found.update(path.relative_to(TOP).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    found.update(f"{version('componentize-py')} {version('tzdata')}".encode())
    return found.hexdigest()


def built() -> bytes:
    """Return the component."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        guest = folder / "guest"
        shutil.copytree(HERE / "guest", guest, ignore=shutil.ignore_patterns("__pycache__"))
        (guest / "dataflare_zones.py").write_text(zones())
        tool = Path(sys.executable).with_name("componentize-py")
        world = ["-q", "-d", WIT, "-w", "plugin"]
        command = [tool, *world, "componentize", "-p", ".", "dataflare_app", "-o", "../made.wasm"]
        subprocess.run(command, check=True, cwd=guest, env={"TMPDIR": name, **steadied(folder)})
        return (folder / "made.wasm").read_bytes()


def steadied(folder: Path) -> dict[str, str]:
    """Return what makes the tool see the same at every build; nothing where this is not to be had."""
    if sys.platform != "linux" or platform.machine() != "x86_64" or shutil.which("cc") is None:
        return {}
    made = folder / "steady.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", made, HERE / "steady.c"], check=True)
    return {"LD_PRELOAD": str(made), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0"}


def zones() -> str:
    """Return a module with the rules of all time zones."""
    there = files("tzdata")
    names = (there / "zones").read_text().split()
    rules = {name: (there / "zoneinfo" / name).read_bytes() for name in sorted(names)}
    return f"ZONES = {rules!r}\n"


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else HERE / "dataflare_python_runtime"))
