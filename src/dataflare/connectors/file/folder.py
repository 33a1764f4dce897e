"""A folder as a destination: one file for each task and epoch, published by renames.

`overwrite` publishes into a hidden folder first (a generation). `finish` moves its files into place, then removes
the published files that were there before, and only those: other files in the folder are left alone. For the few
milliseconds in between readers see both.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

from dataflare.connectors.file.staging import (
    PART,
    StagedFile,
    Staging,
    checked_name,
    make_durable,
    publish,
    read_note,
    remove_files,
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

    def __init__(self, path: Path, extension: str, context: StageContext) -> None:
        """Touch nothing yet."""
        self._path, self._extension, self._context = path, extension, context
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
            final = self._final(epoch)
            found.append({"staged": file.name, "final": final, "rows": file.rows, "bytes": file.bytes})
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
        for handle in handles:
            if "staged" not in handle:
                continue
            staged, final = checked_name(handle["staged"]), checked_name(handle["final"])
            if swapping and not (target / final).exists() and (self._path / final).exists():
                continue  # moved by a finish that was cut off
            publish(self._path / staged, target / final)
        make_durable(target)
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
                names = sorted(n for n in os.listdir(source) if PART.fullmatch(n))  # noqa: PTH208
                write_note(source / MANIFEST, names)
            self._swap(source, names)
            write_note(self._published, self._generation)
            shutil.rmtree(source, ignore_errors=True)
        self._generation = None

    def _swap(self, source: Path, names: list[str]) -> None:
        with storage(self._path):
            for name in names:
                if (source / name).exists():
                    (source / name).replace(self._path / name)
            make_durable(self._path)
            old = [n for n in os.listdir(self._path) if PART.fullmatch(n) and n not in set(names)]  # noqa: PTH208
            remove_files(self._path, old)
            make_durable(self._path)

    def _final(self, epoch: Epoch) -> str:
        """Return a final name that nobody has, also where the state (and with it the epochs) began anew."""
        number = self._numbered[1] if self._numbered[0] == epoch.number else 0
        while True:
            final = f"part-{epoch.number:06}-{epoch.attempt}-{self._context.index}-{number}.{self._extension}"
            number += 1
            if not (self._path / final).exists():
                self._numbered = (epoch.number, number)
                return final

    @property
    def _published(self) -> Path:
        return self._path / f".published-{self.staging.token}"


def _generation_of(handles: Sequence[Handle]) -> str:
    for handle in handles:
        if "generation" in handle:
            return checked_name(handle["generation"])
    raise StateError("the handles of the epoch name no generation")


__all__ = ["Folder"]
