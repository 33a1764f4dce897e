"""The files that one task has open: one, or one for each of a bounded number of partitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflare.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable

    import pyarrow as pa

    from dataflare.connectors.file.staging import StagedFile

PARTITIONS_MAX = 10_000
PARTS_OF_A_FILE = 4


@dataclass(frozen=True, slots=True)
class Limits:
    """When a file is full, and how much may be open and held in memory at once."""

    held_bytes: int
    open_files: int = 1
    rows: int | None = None
    bytes: int | None = None


class Writers:
    """Writes rows into staged files; begins another one where one is full.

    Where more partitions come than may be open, the file of the one that was not written for longest is finished: a
    partition may have several files an epoch. Where more is held than may be, the file that holds most writes it.
    """

    def __init__(self, create: Callable[[str], StagedFile], limits: Limits) -> None:
        """`create` makes a file that shall go into a folder."""
        self._create, self._limits = create, limits
        self.open: dict[str, StagedFile] = {}
        self._finished: list[StagedFile] = []
        self._folders: set[str] = set()

    def write(self, folder: str, rows: pa.Table) -> None:
        """Append rows to the file of a folder; raise DataError where an epoch has too many partitions."""
        start = 0
        while start < rows.num_rows:
            file = self._file(folder)
            size = self._fitting(file, rows, start)
            file.write(rows.slice(start, size) if size < rows.num_rows else rows)
            start += size
            self._end(folder, file)
        self._relieve()

    def finish(self) -> list[StagedFile]:
        """Finish all files; return those that were not returned before."""
        for folder in list(self.open):
            self._roll(folder)
        finished, self._finished = self._finished, []
        self._folders.clear()
        return finished

    def discard(self) -> None:
        """Remove all files that were not returned."""
        for file in (*self._finished, *self.open.values()):
            file.discard()
        self._finished = []
        self.open.clear()

    def _file(self, folder: str) -> StagedFile:
        file = self.open.pop(folder, None)
        if file is None:
            self._folders.add(folder)
            if len(self._folders) > PARTITIONS_MAX:
                raise DataError(
                    f"more than {PARTITIONS_MAX:,} partitions in one epoch",
                    hint="partition by columns of fewer values, or by coarser ones such as a month",
                )
            while len(self.open) >= self._limits.open_files:
                self._roll(next(iter(self.open)))
            file = self._create(folder)
        self.open[folder] = file  # the last is the one written last
        return file

    def _fitting(self, file: StagedFile, rows: pa.Table, start: int) -> int:
        """Return how many rows from `start` may go into a file before it is looked at again."""
        size = rows.num_rows - start
        if self._limits.rows is not None:
            size = min(size, self._limits.rows - file.rows)
        if self._limits.bytes is not None and rows.nbytes:
            size = min(size, self._limits.bytes * rows.num_rows // (PARTS_OF_A_FILE * rows.nbytes))
        return max(1, int(size))

    def _end(self, folder: str, file: StagedFile) -> None:
        limits = self._limits
        if (limits.rows is not None and file.rows >= limits.rows) or (
            limits.bytes is not None and file.bytes >= limits.bytes
        ):
            self._roll(folder)

    def _roll(self, folder: str) -> None:
        file = self.open.pop(folder)
        self._finished.append(file)
        file.finish()

    def _relieve(self) -> None:
        held = sum(f.held_bytes for f in self.open.values())
        while held > self._limits.held_bytes:
            most = max(self.open.values(), key=lambda f: f.held_bytes)
            held -= most.held_bytes
            most.flush()


__all__ = ["Limits", "Writers"]
