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
    {source} and {output} are files, {sdk} is the folder of the SDKs, {python} this interpreter. A name in `programs` is
    found in `node_modules/.bin` of the plugin, too.
    """

    command: tuple[str, ...]
    install: Mapping[str, str]
    programs: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    probe: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Language:
    """A language: how it is called, and the ways to build it, the best one first; none: its file runs as it is."""

    title: str
    toolchains: tuple[Toolchain, ...] = ()


_WASI = ("-O3", "-msimd128", "-mexec-model=reactor", "-Wl,--strip-all", "-I", "{sdk}", "{source}", "-o", "{output}")

LANGUAGES: Mapping[str, Language] = {
    "javascript": Language("JavaScript"),
    "typescript": Language("TypeScript"),
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
