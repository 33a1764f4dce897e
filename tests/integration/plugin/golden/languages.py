"""How the golden plugin is built in each language, where its tools are there."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import dataflare.plugin
from dataflare.plugin.limits import Limits

SDK = Path(dataflare.plugin.__path__[0]) / "sdk"
FOLDER = Path(__file__).parent


@lru_cache
def rustc() -> str | None:
    """Return a compiler of Rust that has the library for WebAssembly: on PATH, or Debian's."""
    for found in (shutil.which("rustc"), "/usr/bin/rustc"):
        ask = [found, "--print", "target-libdir", "--target", "wasm32-unknown-unknown"]
        if found and Path(found).exists():
            told = subprocess.run(ask, capture_output=True, text=True, check=False).stdout.strip()
            if told and Path(told).is_dir():
                return found
    return None


@dataclass(frozen=True, slots=True)
class Language:
    """A language. `sdk`: the file beside which the plugin is built; `command`: with {source} and {made}."""

    name: str
    ending: str
    sdk: str
    tool: str | None
    command: str
    limits: Limits

    def built(self, source: str, folder: Path, name: str = "plugin") -> Path:
        """Compile a plugin; warnings are errors."""
        shutil.copy(SDK / self.sdk, folder)
        (folder / f"{name}.{self.ending}").write_text(source)
        words = self.command.format(tool=self.tool, source=f"{name}.{self.ending}", made=f"{name}.wasm").split()
        done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return folder / f"{name}.wasm"

    def golden(self) -> str:
        """Return the source of the golden plugin."""
        return (FOLDER / f"golden.{self.ending}").read_text()


_SMALL = Limits(memory_bytes_max=8 << 20, seconds_max=0.5)
C = Language(
    "c",
    "c",
    "dataflare.h",
    shutil.which("clang-19"),
    "{tool} --target=wasm32-wasi -O3 -msimd128 -Wall -Wextra -Werror -mexec-model=reactor -Wl,--stack-first"
    " {source} -o {made}",
    _SMALL,
)
RUST = Language(
    "rust",
    "rs",
    "dataflare.rs",
    rustc() if shutil.which("wasm-ld-19") else None,
    "{tool} --edition 2021 --crate-type cdylib --target wasm32-unknown-unknown -C opt-level=3 -C panic=abort"
    " -C target-feature=+simd128,+bulk-memory -C strip=symbols -C linker=wasm-ld-19 -D warnings {source} -o {made}",
    _SMALL,
)
