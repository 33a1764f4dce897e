"""`dataflare plugin new` and `build`: writes a plugin to start from; makes of a plugin what runs."""

from __future__ import annotations

import os
import shlex
import signal
import sys
from typing import TYPE_CHECKING

from dataflare.cli.console import GREEN, painted, write, write_json
from dataflare.clock import SystemClock
from dataflare.errors import WorkflowError
from dataflare.plugin.languages import LANGUAGES
from dataflare.plugin.manifest import Manifest
from dataflare.plugin.new_plugin import language_of, write_plugin

if TYPE_CHECKING:
    from pathlib import Path


def new_command(name: str, language: str, folder: Path, *, as_json: bool) -> int:
    """Write the files; without a language say which there are."""
    if not language:
        raise WorkflowError("a plugin has a language", hint=f"--language {'|'.join(LANGUAGES)}")
    written = write_plugin(folder, name, language)
    if as_json:
        write_json({"folder": str(folder), "language": language_of(language), "files": written})
        return 0
    shown = shlex.quote(str(folder))
    write(f"{painted('wrote', GREEN, sys.stdout)} {name} into {folder}: {', '.join(written)}")
    build = f"  dataflare plugin build {shown}\n" if LANGUAGES[language_of(language)].toolchains else ""
    write(f"\nnext:\n{build}  dataflare plugin test {shown}")
    return 0


def build_command(folder: Path, *, as_json: bool) -> int:
    """Build, and say how large it is and how long it took; warnings of the compiler go to stderr."""
    from dataflare.plugin.building import build, try_plugin
    from dataflare.testing.plugin_cases.cases import settings_of

    signal.signal(signal.SIGINT, signal.default_int_handler)  # so that what is half built is taken away
    manifest = Manifest.read(folder)
    entry = folder / manifest.entry
    settings = settings_of(folder)

    def check(path: Path) -> None:
        try_plugin(path, str(entry), settings)

    built = build(folder, manifest, check, os.environ, SystemClock())
    if as_json:
        write_json(
            {
                "entry": str(entry),
                "size_bytes": built.size_bytes,
                "seconds": round(built.seconds, 3),
                "compiler": built.compiler,
                "said": built.said,
            }
        )
        return 0
    if built.said:
        sys.stderr.write(f"{built.said}\n")
    how = f"built by {built.compiler} in {built.seconds:.2f} s" if built.compiler else "runs as it is"
    write(f"{entry}  {size_text(built.size_bytes)}, {how}")
    return 0


def size_text(size_bytes: int) -> str:
    """Return a size as people read it."""
    if size_bytes < 1 << 10:
        return f"{size_bytes} bytes"
    return f"{size_bytes / (1 << 10):,.1f} KB" if size_bytes < 1 << 20 else f"{size_bytes / (1 << 20):,.1f} MB"


__all__ = ["build_command", "new_command", "size_text"]
