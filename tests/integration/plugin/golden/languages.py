"""How the golden plugin is built in each language: in the place of the plugin that a new one begins with."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from dataflare.clock import SystemClock
from dataflare.errors import UnavailableError
from dataflare.plugin.building import build, toolchain_of
from dataflare.plugin.languages import LANGUAGES
from dataflare.plugin.limits import Limits
from dataflare.plugin.manifest import Manifest
from dataflare.plugin.new_plugin import write_plugin

FOLDER = Path(__file__).parent
TOOLS = Path(__file__).parents[4] / ".cache" / "toolchains"
"""Where scripts/toolchains.sh puts what no package of Debian has."""


DEBIAN_GO = "/usr/lib/go-1.24/bin"


@dataclass(frozen=True, slots=True)
class Language:
    """A language of plugins, and limits within which the golden plugin works."""

    name: str
    limits: Limits

    def built(self, folder: Path, source: str = "") -> Path:
        """Compile the golden plugin, or another source, without a warning; skip the test where nothing does."""
        write_plugin(folder, "golden", self.name)
        manifest = Manifest.read(folder)
        suffix = Path(manifest.source).suffix
        (folder / manifest.source).write_text(source or (FOLDER / f"golden{suffix}").read_text())
        try:
            toolchain_of(LANGUAGES[self.name], folder, tools())
        except UnavailableError as error:
            pytest.skip(f"{error.what}: {error.hint}")
        made = build(folder, manifest, lambda _: None, tools(), SystemClock())
        assert made.said == ""
        return made.entry


def tools() -> dict[str, str]:
    """Return the environment in which compilers are found."""
    path = [str(TOOLS / "zig" / "ziglang"), str(TOOLS / "node_modules" / ".bin"), os.environ["PATH"], DEBIAN_GO]
    return {**os.environ, "PATH": os.pathsep.join(path)}


def rustc_folder() -> str:
    """Return the folder of a compiler of Rust that has the library for WebAssembly; skip the test without one."""
    try:
        found = toolchain_of(LANGUAGES["rust"], FOLDER, tools()).programs[0]
    except UnavailableError as error:
        pytest.skip(f"{error.what}: {error.hint}")
    return str(Path(shutil.which(found) or found).parent)


_SMALL = Limits(memory_bytes_max=8 << 20, seconds_max=0.5)
C = Language("c", _SMALL)
RUST = Language("rust", _SMALL)
ZIG = Language("zig", _SMALL)
ASSEMBLYSCRIPT = Language("assemblyscript", _SMALL)
GO = Language("go", Limits(memory_bytes_max=48 << 20, seconds_max=2))
"""Its runtime has some megabytes for itself, and lets the heap grow to twice what is used."""
