"""The component in which plugins in Python run is what its sources are built to, byte by byte."""

from __future__ import annotations

import hashlib
import lzma
import platform
import shutil
import subprocess
import sys
from pathlib import Path

import dataflare_python_runtime
import pytest
from tests.integration.plugin.python.conftest import TOP

GUEST = Path("guests") / "python"
SDK = Path("src") / "dataflare" / "plugin" / "sdk"
steady = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() != "x86_64" or shutil.which("cc") is None,
    reason="the same bytes come out on Linux, x86-64, with a C compiler",
)


def digest_of(packed: Path) -> str:
    return hashlib.sha256(lzma.decompress(packed.read_bytes())).hexdigest()


def expected() -> str:
    return (TOP / GUEST / "python.wasm.sha256").read_text().split()[0]


@steady
def test_the_python_runtime_is_built_to_the_same_bytes(tmp_path: Path) -> None:
    shutil.copytree(TOP / GUEST, tmp_path / GUEST, ignore=shutil.ignore_patterns("*.xz", "__pycache__"))
    shutil.copytree(TOP / SDK, tmp_path / SDK)
    python = TOP / ".venv-guests" / "bin" / "python"
    subprocess.run([python, tmp_path / GUEST / "build.py", tmp_path / "built"], check=True, stdin=subprocess.DEVNULL)
    built = digest_of(tmp_path / "built" / "python.wasm.xz")
    assert built == expected(), "where the sources have changed, write this into guests/python/python.wasm.sha256"


@steady
def test_what_is_kept_and_used_by_the_tests_is_that_runtime() -> None:
    assert digest_of(dataflare_python_runtime.PATH) == expected()


def test_the_package_holds_the_component_and_nothing_else(tmp_path: Path) -> None:
    command = [TOP / "scripts" / "uv.sh", "build", "--quiet", "--wheel", "--out-dir", tmp_path, TOP / GUEST]
    constraints = ["--build-constraints", TOP / "requirements" / "build.lock"]
    subprocess.run([*command, *constraints], check=True, stdin=subprocess.DEVNULL)
    (wheel,) = tmp_path.glob("*.whl")
    shutil.unpack_archive(wheel, tmp_path / "wheel", "zip")
    package = tmp_path / "wheel" / "dataflare_python_runtime"
    assert sorted(p.name for p in package.iterdir()) == ["__init__.py", "python.wasm.xz"]
    assert digest_of(package / "python.wasm.xz") == digest_of(dataflare_python_runtime.PATH)
