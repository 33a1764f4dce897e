"""The languages of plugins: the files of a new one, and what builds them. A language more is an entry and a folder.

The folder `templates/NAME` holds all files of a plugin that builds and passes its tests; `@NAME@` in them becomes the
name of the plugin. Its `plugin.toml` names the language, what is built (`source`) and what runs (`entry`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from importlib.resources.abc import Traversable


@dataclass(frozen=True, slots=True)
class Toolchain:
    """One way to build a plugin.

    It can be had where all `programs` are on the PATH, all `packages` of Python are installed, and `probe`, a command,
    succeeds. `install` says how to get it, by where it comes from. In `command`, which runs in the plugin's folder,
    {source} and {output} are files, {sdk} is the folder of the SDKs, {python} this interpreter. Where `install` names
    npm, programs are found in `node_modules/.bin` of the plugin, too.
    """

    command: tuple[str, ...]
    install: Mapping[str, str]
    programs: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    probe: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What it is called: its first program or package."""
        return [*self.programs, *self.packages, *self.command][0]


@dataclass(frozen=True, slots=True)
class Language:
    """A language: how it is called, and the ways to build it, the best one first; none: its file runs as it is.

    `beside`: files of the SDK that a plugin has a copy of, by their paths in its folder.
    """

    title: str
    toolchains: tuple[Toolchain, ...] = ()
    beside: Mapping[str, str] = field(default_factory=dict)


_WASI = ("-O3", "-msimd128", "-mexec-model=reactor", "-Wl,--strip-all", "-I", "{sdk}", "{source}", "-o", "{output}")

_RUST = ["--crate-type", "cdylib", "--edition", "2021", "--target", "wasm32-unknown-unknown"]
_CODE = ["-C", "opt-level=3", "-C", "panic=abort", "-C", "strip=symbols", "-C", "target-feature=+simd128,+bulk-memory"]
_DEBIAN_RUST = {"Debian": "apt install rustc libstd-rust-dev-wasm32 lld-19"}
_ZIG = [
    "-target",
    "wasm32-freestanding",
    "-mcpu",
    "generic+simd128+bulk_memory",
    "-O",
    "ReleaseFast",
    "-fno-entry",
    "-rdynamic",
    "-fstrip",
]
_ASC = ["-O3", "--enable", "simd", "--disableWarning", "235", "--use", "abort=src/dataflare/dataflare_abort"]


def _rust(program: str, install: Mapping[str, str], linker: str = "") -> Toolchain:
    linking = ("-C", f"linker={linker}") if linker else ()
    return Toolchain(
        (program, *_RUST, *_CODE, *linking, "{source}", "-o", "{output}"),
        install,
        programs=(program, *([linker] if linker else [])),
        probe=(program, *_RUST, "--emit", "asm", "-o", "-", "-"),  # its library for WebAssembly is a thing of its own
    )


def _zig(*program: str, packages: tuple[str, ...] = ()) -> Toolchain:
    files = ("{source}", "--cache-dir", "{output}.cache", "-femit-bin={output}")
    return Toolchain(
        (*program, "build-exe", *_ZIG, "--stack", "1048576", *files),
        {"PyPI": "pip install ziglang"},
        programs=() if packages else program,
        packages=packages,
    )


def _go(program: str) -> Toolchain:
    return Toolchain(
        (program, "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", "{output}", "{source}"),
        {"Debian": "apt install golang-1.24-go"},
        programs=(program,),
        environment={"GOOS": "wasip1", "GOARCH": "wasm", "GOTOOLCHAIN": "local"},
    )


LANGUAGES: Mapping[str, Language] = {
    "javascript": Language("JavaScript"),
    "typescript": Language("TypeScript", beside={"dataflare.d.ts": "dataflare.d.ts"}),
    "c": Language(
        "C",
        (
            Toolchain(
                ("clang-19", "--target=wasm32-wasi", "-Wall", "-Wl,--stack-first", *_WASI),
                {"Debian": "apt install clang-19 lld-19 wasi-libc libclang-rt-19-dev-wasm32"},
                programs=("clang-19", "wasm-ld-19"),
            ),
            Toolchain(
                ("{python}", "-m", "ziglang", "cc", "-target", "wasm32-wasi", "-Wall", *_WASI),
                {"PyPI": "pip install ziglang"},
                packages=("ziglang",),
            ),
        ),
    ),
    "rust": Language(
        "Rust",
        (
            _rust("rustc", _DEBIAN_RUST, "wasm-ld-19"),
            _rust("/usr/bin/rustc", _DEBIAN_RUST, "wasm-ld-19"),
            _rust("rustc", {"rustup": "rustup target add wasm32-unknown-unknown"}),
        ),
        beside={"src/dataflare.rs": "dataflare.rs"},
    ),
    "zig": Language(
        "Zig",
        (_zig("{python}", "-m", "ziglang", packages=("ziglang",)), _zig("zig")),
        beside={"src/dataflare.zig": "dataflare.zig"},
    ),
    "assemblyscript": Language(
        "AssemblyScript",
        (
            Toolchain(
                (
                    "asc",
                    "{source}",
                    "src/dataflare.ts",
                    *_ASC,
                    "--transform",
                    "{sdk}/dataflare-exports.mjs",
                    "-o",
                    "{output}",
                ),
                {"npm": "npm install assemblyscript"},
                programs=("asc",),
            ),
        ),
        beside={"src/dataflare.ts": "dataflare.ts"},
    ),
    "go": Language(
        "Go", (_go("go"), _go("/usr/lib/go-1.24/bin/go")), beside={"dataflare/dataflare.go": "dataflare.go"}
    ),
    "python": Language("Python"),
}
"""By the names that `plugin.toml` and `dataflare plugin new` know."""

SHORT = {"js": "javascript", "ts": "typescript", "py": "python", "rs": "rust", "as": "assemblyscript"}
"""Names that authors type."""


def templates() -> Traversable:
    """Return the folder of the files of new plugins, by language."""
    return files("dataflare.plugin").joinpath("templates")


def sdk() -> Traversable:
    """Return the folder of the SDKs, one file for each language."""
    return files("dataflare.plugin").joinpath("sdk")


__all__ = ["LANGUAGES", "SHORT", "Language", "Toolchain", "sdk", "templates"]
