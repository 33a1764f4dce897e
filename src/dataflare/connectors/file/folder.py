"""A folder as a destination: one file for each task and epoch, published by renames.

`overwrite` publishes into a hidden folder first (a generation). `finish` moves its files into place, then removes
the published files that were there before, and only those: other files in the folder are left alone, and other
partitions too where only those that were written are replaced. For the few milliseconds in between readers see both.

Files of partitions lie in folders below, such as `year=2026/month=1`; they go by their path from the folder.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from dataflare.connectors.file.staging import (
    PART,
    StagedFile,
    Staging,
    checked_folder,
    checked_name,
    make_durable,
    publish,
    read_note,
    remove_files,
    replaced,
    write_note,
)
from dataflare.connectors.file.storage import storage
from dataflare.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from dataflare.component import Epoch, Handle, StageContext

MANIFEST = ".manifest"


class Folder:
    """Part files in a folder."""

    header_in_parts = True

    def __init__(self, path: Path, extension: str, context: StageContext, *, only_written: bool = False) -> None:
        """Touch nothing yet. `only_written`: partitions of which nothing is written are left as they are."""
        self._path, self._extension, self._context = path, extension, context
        self._only_written = only_written
        self.staging = Staging(path, context)
        self._overwrites = context.write_mode == "overwrite"
        self._generation: str | None = None
        self._numbered = (0, 0)

    def open(self) -> None:
        """Create the folder."""
        with storage(self._path):
            self._path.mkdir(parents=True, exist_ok=True)

    def handles(self, epoch: Epoch, staged: Sequence[StagedFile]) -> Sequence[Handle]:
        """Return the handles of finished files; the head also names the generation."""
        found: list[dict[str, Any]] = []
        for file in staged:
            final = self._final(epoch, file.folder)
            place = {"folder": file.folder} if file.folder else {}
            found.append({"staged": file.name, "final": final, **place, "rows": file.rows, "bytes": file.bytes})
        if self._overwrites and self._context.index == 0:
            self._generation = self._generation or self.staging.generation()
            found.append({"generation": self._generation})
        return found

    def commit(self, handles: Sequence[Handle]) -> None:
        """Publish; in a generation that is swapped in already there is nothing to do."""
        target = self._path
        if self._overwrites:
            generation = _generation_of(handles)
            if read_note(self._published) == generation:
                self._generation = None
                return
            self._generation = generation
            target = self._path / generation
            with storage(target):
                target.mkdir(exist_ok=True)
        swapping = self._overwrites and (target / MANIFEST).exists()
        folders = {""}
        for handle in handles:
            if "staged" not in handle:
                continue
            folder = checked_folder(handle.get("folder", ""))
            staged, final = checked_name(handle["staged"]), os.path.join(folder, checked_name(handle["final"]))  # noqa: PTH118
            if swapping and not (target / final).exists() and (self._path / final).exists():
                continue  # moved by a finish that was cut off
            if folder not in folders:
                folders |= _make_folders(target, folder)
            publish(self._path / staged, target / final)
        for folder in sorted(folders, reverse=True):
            make_durable(target / folder)
        if target != self._path:
            make_durable(self._path)

    def abort(self, keep: Sequence[Handle]) -> None:
        """Remove what earlier attempts left."""
        kept = {h.get("staged") for h in keep}
        remove_files(self._path, [n for n in self.staging.older() if n not in kept])
        for name in self.staging.generations():
            if name != self._generation and name != next((h["generation"] for h in keep if "generation" in h), None):
                shutil.rmtree(self._path / name, ignore_errors=True)

    def finish(self) -> None:
        """Swap the generation in."""
        if self._generation is None:
            return
        source = self._path / self._generation
        names = read_note(source / MANIFEST) if source.exists() else None
        if source.exists():
            if names is None:
                names = sorted(_parts(source))
                write_note(source / MANIFEST, names)
            self._swap(source, names)
            write_note(self._published, self._generation)
            shutil.rmtree(source, ignore_errors=True)
        self._generation = None

    def _swap(self, source: Path, names: list[str]) -> None:
        with storage(self._path):
            folders = {""}
            for name in names:
                if (source / name).exists():
                    folders |= _make_folders(self._path, os.path.dirname(name))  # noqa: PTH120
                    (source / name).replace(self._path / name)
            for folder in sorted(folders, reverse=True):
                make_durable(self._path / folder)
            old = replaced(_parts(self._path), names, only_written=self._only_written)
            remove_files(self._path, old)
            for folder in sorted({os.path.dirname(name) for name in old}, reverse=True):  # noqa: PTH120
                self._remove_empty(folder)
            make_durable(self._path)

    def _remove_empty(self, folder: str) -> None:
        """Remove a folder below, and those above it, where nothing is in them."""
        with suppress(OSError):
            while folder:
                (self._path / folder).rmdir()
                folder = os.path.dirname(folder)  # noqa: PTH120

    def _final(self, epoch: Epoch, folder: str) -> str:
        """Return a final name that nobody has, also where the state (and with it the epochs) began anew."""
        number = self._numbered[1] if self._numbered[0] == epoch.number else 0
        while True:
            final = f"part-{epoch.number:06}-{epoch.attempt}-{self._context.index}-{number}.{self._extension}"
            number += 1
            if not (self._path / folder / final).exists():
                self._numbered = (epoch.number, number)
                return final

    @property
    def _published(self) -> Path:
        return self._path / f".published-{self.staging.token}"


def _make_folders(root: Path, folder: str) -> set[str]:
    """Create the folders of a partition; return them and those above, whose names are to be made durable."""
    with storage(root / folder):
        (root / folder).mkdir(parents=True, exist_ok=True)
    parts = folder.split("/")
    return {"/".join(parts[:n]) for n in range(len(parts) + 1)}


def _parts(root: Path) -> set[str]:
    """Return the published files in a folder and in its partitions, by their paths from there."""
    found: set[str] = set()
    for folder, inner, names in os.walk(root):
        inner[:] = [n for n in inner if "=" in n and n[0] != "."]
        found.update(os.path.relpath(os.path.join(folder, n), root) for n in names if PART.fullmatch(n))  # noqa: PTH118
    return found


def _generation_of(handles: Sequence[Handle]) -> str:
    for handle in handles:
        if "generation" in handle:
            return checked_name(handle["generation"])
    raise StateError("the handles of the epoch name no generation")


__all__ = ["Folder"]
