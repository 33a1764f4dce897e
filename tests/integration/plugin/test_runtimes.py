"""The components that come with DataFlare are what their sources are built to, byte by byte."""

from __future__ import annotations

import lzma
import shutil
import subprocess
from pathlib import Path

import pytest

TOP = Path(__file__).parents[3]
GUEST = TOP / "guests" / "javascript"
RUNTIMES = TOP / "src" / "dataflare" / "plugin" / "runtimes"


@pytest.mark.skipif(shutil.which("npm") is None or shutil.which("cc") is None, reason="needs npm and a C compiler")
def test_the_javascript_runtime_is_built_to_the_same_bytes(tmp_path: Path) -> None:
    guest = tmp_path / "guests" / "javascript"
    shutil.copytree(GUEST, guest, ignore=shutil.ignore_patterns("node_modules", "build"))
    wit = tmp_path / "src" / "dataflare" / "plugin" / "sdk"
    shutil.copytree(TOP / "src" / "dataflare" / "plugin" / "sdk", wit)
    subprocess.run(["npm", "ci", "--silent"], cwd=guest, check=True, stdin=subprocess.DEVNULL)
    subprocess.run(["node", "build.mjs", str(tmp_path / "built")], cwd=guest, check=True, stdin=subprocess.DEVNULL)

    for name in ("javascript.wasm.xz", "javascript-loader.wasm.xz"):
        built = lzma.decompress((tmp_path / "built" / name).read_bytes())
        assert built == lzma.decompress((RUNTIMES / name).read_bytes()), (
            f"{name}: cd guests/javascript && npm ci && node build.mjs ../../src/dataflare/plugin/runtimes"
        )
