"""`dataflare plugin run`: rows of JSON go through a plugin as they come in; once, or again whenever a file changes."""

from __future__ import annotations

import json
import os
import signal
import sys
from typing import TYPE_CHECKING, Any, BinaryIO

from dataflare.cli.console import DIM, RED, painted, say_error, write_json
from dataflare.clock import wait_blocking
from dataflare.errors import DataError, DataFlareError, Place, UnavailableError, WorkflowError
from dataflare.plugin.manifest import MANIFEST, Manifest
from dataflare.plugin.settings_schema import misfits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from dataflare.plugin.loaded import LoadedPlugin, ProcessedRows, Say

FAILED = 1
CHUNK_BYTES, LINE_BYTES_MAX = 1 << 18, 64 << 20
LOOK_SECONDS = 0.25
STDIN = "-"

Stamps = list[tuple[int, int, int] | None]


def run_command(
    file: Path, settings: str, given: str, *, watch: bool, as_json: bool, wait: Callable[[float], None] = wait_blocking
) -> int:
    """Run the rows through, and with `watch` again at each change until Ctrl-C; return the exit code."""
    values = settings_of_text(settings)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # so that the plugin is closed
    if not watch:
        return _run(file, values, given, as_json=as_json)
    if given == STDIN:
        raise WorkflowError("rows of stdin come but once", hint="name a file that is read again: --input FILE")
    files = [str(file), given]
    while True:
        before = [_stamp(name) for name in files]
        try:
            _run(file, values, given, as_json=as_json)
        except DataFlareError as error:
            say_error(error, as_json=as_json)
        if not as_json:
            sys.stderr.write(painted("waiting for changes; Ctrl-C ends it\n", DIM, sys.stderr))
            sys.stderr.flush()
        while [_stamp(name) for name in files] == before:
            wait(LOOK_SECONDS)


def loaded(file: Path, settings: dict[str, Any], say: Say | None = None) -> LoadedPlugin:
    """Load a file, a package or an installed plugin, or what the manifest of a folder names, with its limits.

    `say` hears what it logs.
    """
    from dataflare.component import Registry, processor

    limits: dict[str, Any] = {}
    if file.is_dir() or file.name == MANIFEST:
        folder = file if file.is_dir() else file.parent
        manifest = Manifest.read(folder)
        file = folder / manifest.entry
        wished = {"memory": manifest.memory_bytes_max, "timeout": manifest.seconds_max}
        limits = {name: value for name, value in wished.items() if value is not None}
        if wrong := list(misfits(manifest.settings, settings)):
            raise WorkflowError(
                "; ".join(wrong), hint="[settings] tells what there is", place=Place(str(folder / MANIFEST))
            )
    wasm: Any = Registry.installed().find(processor, "wasm")
    plugin: LoadedPlugin = wasm.load(file, settings, instances=1, log=say, **limits)
    return plugin


def settings_of_text(text: str) -> dict[str, Any]:
    """Return settings that were typed; raise WorkflowError where they are no object of JSON."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise WorkflowError(f"the settings are no JSON: {error}", hint="""such as --settings '{"rate": 2}'""") from None
    if not isinstance(found, dict):
        raise WorkflowError("the settings are no object", hint="""such as --settings '{"rate": 2}'""")
    return found


def _run(file: Path, settings: dict[str, Any], given: str, *, as_json: bool) -> int:
    failed = 0
    with loaded(file, settings, _say) as plugin:
        stream = sys.stdin.buffer if given == STDIN else _opened(given)
        try:
            for first, lines in _chunks(stream, given):
                failed += _pass(plugin, first, lines, as_json=as_json)
                sys.stdout.flush()
        finally:
            if stream is not sys.stdin.buffer:
                stream.close()
    return FAILED if failed else 0


def _pass(plugin: LoadedPlugin, first: int, lines: list[bytes], *, as_json: bool) -> int:
    """Run some lines through; return how many rows failed. `first` is the number of the first line, from 1."""
    rows, numbers, bad = [], [], {}
    for number, line in enumerate(lines, first):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            bad[number] = f"this is no JSON: {error}"
            continue
        if isinstance(row, dict):
            rows.append(row)
            numbers.append(number)
        else:
            bad[number] = "this is no object: {...}"
    found = plugin.process_rows(rows, on_error="skip")
    _write(found, as_json=as_json)
    bad |= {numbers[n]: why for n, why in found.rejected.items()}
    for number, why in sorted(bad.items()):
        if as_json:
            write_json({"row": number, "error": why}, stream=sys.stderr)
        else:
            sys.stderr.write(f"{painted(f'row {number}:', RED, sys.stderr)} {why}\n")
    return len(bad)


def _write(found: ProcessedRows, *, as_json: bool) -> None:
    for row in found.rows:
        write_json({"output": "", "row": row} if as_json else row)
    for name, rows in found.outputs.items():
        for row in rows:
            write_json({"output": name, "row": row} if as_json else {name: row})


def _chunks(stream: BinaryIO, shown: str) -> Iterator[tuple[int, list[bytes]]]:
    """Yield the lines that there are, as soon as there are some, with the number of the first."""
    left, number = b"", 1
    while data := os.read(stream.fileno(), CHUNK_BYTES):
        *lines, left = (left + data).split(b"\n")
        if len(left) > LINE_BYTES_MAX:
            raise DataError(f"a line has more than {LINE_BYTES_MAX >> 20} MB", place=Place(shown, number + len(lines)))
        if lines:
            yield number, lines
            number += len(lines)
    if left:
        yield number, [left]


def _opened(name: str) -> BinaryIO:
    try:
        return open(name, "rb")  # noqa: PTH123 - closed by the caller
    except OSError as error:
        raise UnavailableError(f"the rows cannot be read: {error.strerror}", place=Place(name)) from error


def _say(level: str, message: str) -> None:
    sys.stderr.write(f"{painted(f'{level}:', DIM, sys.stderr)} {message}\n")


def _stamp(name: str) -> tuple[int, int, int] | None:
    try:
        found = os.stat(name)  # noqa: PTH116 - looked at again and again
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


__all__ = ["loaded", "run_command", "settings_of_text"]
