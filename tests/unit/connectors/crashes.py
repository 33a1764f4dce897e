"""Kills a file destination before every step on the file system, lets the next attempts recover, and looks at the rows.

Run as a program: `crashes.py FOLDER PATH WRITE_MODE [COLUMN]`, the column one to partition by. A child process is
forked for each step and dies there; another attempt is killed once more; the last one completes. Prints one JSON line
a step: the rows that a reader sees.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb  # noqa: F401 - once here, not once a child
import pyarrow.parquet  # noqa: F401

from dataflare.component import Epoch
from dataflare.connectors.file.destination import FileDestination, FileDestinationConfig
from dataflare.connectors.file.source import FileSource, FileSourceConfig
from dataflare.errors import DataFlareError
from dataflare.testing.destination_suite import SUITE_SCHEMA, rows
from dataflare.testing.source_suite import rows_of
from dataflare.testing.stage import batches_of, splits_of, staged

if TYPE_CHECKING:
    from collections.abc import Callable

EPOCHS = [[1, 2], [3], []]
WATCHED = ("open", "os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir", "fcntl.flock")


class Steps:
    """Counts steps on the file system and dies at one of them."""

    def __init__(self, folder: Path, die_at: int) -> None:
        self.folder, self.left = str(folder), die_at
        sys.addaudithook(self.hook)

        def half(source, target, length=0):
            data = source.read()
            target.write(data[: len(data) // 2])
            target.flush()
            self.step()
            target.write(data[len(data) // 2 :])

        shutil.copyfileobj = half

    def hook(self, event, arguments):
        if event in WATCHED and (event == "fcntl.flock" or self.folder in str(arguments[0])):
            self.step()

    def step(self):
        self.left -= 1
        if self.left == 0:
            os._exit(7)


def attempt(folder: Path, path: str, mode: str, columns: list[str]) -> None:
    """Do what the engine does: take the next attempt, commit the decided epoch again, go on, finish."""
    log = folder / "log.json"
    state = json.loads(log.read_text()) if log.exists() else {"attempt": 0, "sealed": None, "finished": False}
    state["attempt"] += 1
    note(log, state)
    kind = None if Path(path).suffix else "csv"
    head = staged(
        FileDestination(FileDestinationConfig(path=path, format=kind, file_rows_max=1, partition_by=columns)),
        folder,
        schemas={"0": SUITE_SCHEMA},
        attempt=state["attempt"],
        write_mode=mode,
    )
    carry_on(head, state, lambda: note(log, state))


def carry_on(head: FileDestination, state: dict, sealed: Callable[[], None]) -> None:
    """Commit the decided epoch again, go on with the next, finish; `sealed` makes the state durable."""
    by = state["attempt"]
    head.open()
    epoch = 0
    if state["sealed"] is not None:
        epoch, before, handles = state["sealed"]
        head.commit(Epoch(epoch, before), handles)
    cleaned = False
    while epoch < len(EPOCHS):
        epoch += 1
        if EPOCHS[epoch - 1]:
            head.write(rows(EPOCHS[epoch - 1]))
        handles = list(head.prepare(Epoch(epoch, by)))
        state["sealed"] = [epoch, by, handles]
        sealed()
        head.commit(Epoch(epoch, by), handles)
        if not cleaned:
            head.abort(handles)
            cleaned = True
    if not state["finished"]:
        head.finish()
        state["finished"] = True
        sealed()
    head.close()


def note(log: Path, state: dict) -> None:
    """Write the log as a state store does: whole or not at all (its own steps are not counted)."""
    log.with_suffix(".new").write_text(json.dumps(state))
    log.with_suffix(".new").replace(log)


def visible(folder: Path, path: str, columns: list[str]) -> list[int] | None:
    """Return the ids that a reader sees; None where it meets half a line (a kill while a file was appended to)."""
    path = f"{path}/**/*.csv" if columns else path
    types = {"id": "int64", "name": "string"}
    config = FileSourceConfig(path=path, columns=types, allow_empty=True, hive=bool(columns))
    source = staged(FileSource(config), folder)
    try:
        found = rows_of(b for s in splits_of(source) for b in batches_of(source, s))
    except DataFlareError:
        return None
    finally:
        source.close()
    return [row["id"] for row in found[""]]


def child(folder: Path, arguments: tuple[str, str, list[str]], die_at: int) -> bool:
    """Run an attempt in a child; True when it lived to the end."""
    pid = os.fork()
    if pid == 0:
        try:
            if die_at:
                Steps(folder / "out", die_at)
            attempt(folder, *arguments)
            os._exit(0)
        finally:
            os._exit(9)
    _, status = os.waitpid(pid, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in (0, 7):
        raise SystemExit(f"step {die_at}: exit {code}")
    return code == 0


def main() -> None:
    os.fsync = lambda _: None  # a killed process loses nothing that it wrote; only a power cut would
    base, path, mode, columns = Path(sys.argv[1]), sys.argv[2], sys.argv[3], sys.argv[4:]
    arguments = (path, mode, columns)
    before = base / "before"
    before.mkdir()
    if mode == "overwrite":
        attempt(before, path, "append", columns)
        (before / "log.json").unlink()
    step, lived = 0, False
    while not lived:
        step += 1
        folder = base / str(step)
        shutil.copytree(before, folder)
        lived = child(folder, arguments, step)
        seen = visible(folder, path, columns)
        if step % 2:
            child(folder, arguments, step * 7 % 11 + 1)
        child(folder, arguments, 0)
        hidden = [p.name for p in folder.rglob(".staged-*")]
        line = {"step": step, "between": seen, "rows": visible(folder, path, columns), "hidden": hidden}
        sys.stdout.write(json.dumps(line) + "\n")
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
