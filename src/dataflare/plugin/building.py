"""Building a plugin: its compiler is run, and what it made is tried before it takes the place of what was there.

A build that fails, or is killed, leaves the old file as it was.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.resources import as_file
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dataflare.errors import Finding, InvalidWorkflowError, Place, UnavailableError, WorkflowError
from dataflare.plugin.host import QuietHost
from dataflare.plugin.languages import LANGUAGES, Language, Toolchain, sdk
from dataflare.plugin.limits import Limits
from dataflare.plugin.loaded import require_wasmtime

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from dataflare.clock import Clock
    from dataflare.plugin.manifest import Manifest
    from dataflare.plugin.program import Described

CODE = "plugin.build"
"""Of what compilers find."""
FOUND_MAX = 50
_AT = r"(?P<file>[^\s:]+):(?P<line>\d+):(?P<column>\d+)"
_FORMS = [
    re.compile(form, re.MULTILINE)
    for form in (
        rf"^{_AT}: (?:fatal )?error: (?P<what>.*)$",
        rf"^error(?:\[\w+\])?: (?P<what>.*)\n(?: .*\n)*? +--> {_AT}$",
        r"^ERROR \w+: (?P<what>.*)\n(?:.*\n)*?.*in (?P<file>\S+)\((?P<line>\d+),(?P<column>\d+)\)",
        r"^(?:\./)?(?P<file>[^\s:]+\.go):(?P<line>\d+):(?P<column>\d+): (?P<what>.*)$",
    )
]
"""How compilers tell places: clang and zig, rustc, asc, go."""


@dataclass(frozen=True, slots=True)
class Built:
    """What was built, or what runs as it is: its size, and how long the compiler took; "" for the compiler if none."""

    entry: Path
    size_bytes: int
    seconds: float
    compiler: str
    said: str = ""


def build(
    folder: Path, manifest: Manifest, check: Callable[[Path], None], environ: Mapping[str, str], clock: Clock
) -> Built:
    """Build the plugin in a folder; `check` raises DataFlareError where what was built is no plugin.

    Raises InvalidWorkflowError with what the compiler says, each with its place; UnavailableError where it is missing
    or the folder cannot be written; WorkflowError where the source is not there.
    """
    language, entry = LANGUAGES.get(manifest.language), folder / manifest.entry
    if language is None or not language.toolchains or not manifest.source:
        check(entry)
        return Built(entry, entry.stat().st_size, 0.0, "")
    if not (folder / manifest.source).is_file():
        raise WorkflowError(
            f"the source {manifest.source} is not there",
            hint="`source` in plugin.toml names it",
            place=Place(str(folder / "plugin.toml")),
        )
    chain = toolchain_of(language, folder, environ)
    with tempfile.TemporaryDirectory(prefix="dataflare-build-") as made:
        output = Path(made, entry.name)
        start = clock.monotonic()
        said = _compile(chain, folder, (manifest.source, output), environ)
        seconds = clock.monotonic() - start
        check(output)
        _take(output, entry)
    return Built(entry, entry.stat().st_size, seconds, chain.title, said)


def try_plugin(path: Path, shown: str, settings: Mapping[str, Any]) -> Described:
    """Load a file as a plugin, open it and return what it says of itself; `shown` is what errors call the file.

    Raises WorkflowError, with the place, where it is none, UnavailableError where it or wasmtime is missing.
    """
    program = require_wasmtime()(path, shown)
    from dataflare.plugin.program import Settings

    with program.engine.ticking():
        return program.described(Settings(settings), QuietHost(), Limits())


def toolchain_of(language: Language, folder: Path, environ: Mapping[str, str]) -> Toolchain:
    """Return the first way to build that can be had; raise UnavailableError with what to install."""
    lacking = []
    for chain in language.toolchains:
        path = _path(chain, folder, environ)
        lacks = [p for p in chain.programs if shutil.which(p, path=path) is None]
        lacks += [f"the Python package {p}" for p in chain.packages if find_spec(p) is None]
        if not lacks and chain.probe and not _answers(chain, folder, environ):
            lacks = [f"what `{' '.join(chain.probe)}` needs"]
        if not lacks:
            return chain
        lacking.append(f"{' and '.join(lacks)}")
    ways = [how for chain in language.toolchains for how in chain.install.values()]
    raise UnavailableError(
        f"a plugin in {language.title} is not built without {', or '.join(lacking)}",
        hint=" or: ".join(dict.fromkeys(ways)),
    )


def _answers(chain: Toolchain, folder: Path, environ: Mapping[str, str]) -> bool:
    done = subprocess.run(  # noqa: S603 - a command of the table of languages
        _expanded(chain.probe, {"python": sys.executable}, _path(chain, folder, environ)),
        cwd=folder,
        env=_environment(chain, folder, environ),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    return not done.returncode


def _compile(chain: Toolchain, folder: Path, files: tuple[str, Path], environ: Mapping[str, str]) -> str:
    source, output = files
    with as_file(sdk()) as kits:
        words = {"source": source, "output": str(output), "sdk": str(kits), "python": sys.executable}
        try:
            done = subprocess.run(  # noqa: S603 - a command of the table of languages, never through a shell
                _expanded(chain.command, words, _path(chain, folder, environ)),
                cwd=folder,
                env=_environment(chain, folder, environ),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
        except OSError as error:
            raise UnavailableError(f"{chain.command[0]} cannot be run: {error.strerror}") from error
    said = done.stdout.decode(errors="replace").strip()
    if done.returncode or not output.is_file():
        raise InvalidWorkflowError(_findings(said, folder, source, f"{chain.title} ended with {done.returncode}"))
    return said


def _expanded(command: tuple[str, ...], words: Mapping[str, str], path: str) -> list[str]:
    first, *rest = (word.format_map(words) for word in command)
    return [shutil.which(first, path=path) or first, *rest]


def _findings(said: str, folder: Path, source: str, ended: str) -> list[Finding]:
    """Return the errors of a compiler with their places, or its last words where it told none."""
    found: dict[tuple[str, int, int], Finding] = {}
    for form in _FORMS:
        for one in form.finditer(said):
            file = folder / one["file"]
            place = Place(str(file), int(one["line"]), int(one["column"]))
            found.setdefault((place.file, place.line, place.column), Finding("error", CODE, one["what"], "", place))
    if not found:
        last = "\n".join(said.splitlines()[-20:])
        what = f"{ended}: {last}" if last else ended
        return [Finding("error", CODE, what, "", Place(str(folder / source)))]
    return list(found.values())[:FOUND_MAX]


def _take(made: Path, entry: Path) -> None:
    """Put a file in its place, whole or not at all."""
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=entry.parent, prefix=".", suffix=".new")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(made.read_bytes())
                os.fchmod(file.fileno(), 0o644)
            Path(name).replace(entry)
        finally:
            Path(name).unlink(missing_ok=True)
    except OSError as error:
        raise UnavailableError(
            f"what was built cannot be written: {error.strerror}", hint="check the folder", place=Place(str(entry))
        ) from error


def _path(chain: Toolchain, folder: Path, environ: Mapping[str, str]) -> str:
    """Return where programs are looked for: those that npm has put into the plugin's folder first, and no others there.

    A plugin that somebody else wrote could bring a compiler of its own, otherwise.
    """
    own = [str((folder / "node_modules" / ".bin").absolute())] if "npm" in chain.install else []
    return os.pathsep.join([*own, environ.get("PATH", "")])


def _environment(chain: Toolchain, folder: Path, environ: Mapping[str, str]) -> dict[str, str]:
    return {**environ, "PATH": _path(chain, folder, environ), **chain.environment}


__all__ = ["Built", "build", "toolchain_of", "try_plugin"]
