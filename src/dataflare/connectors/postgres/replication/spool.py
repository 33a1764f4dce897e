"""Transactions that the server streams while they are open: kept in a file each until they commit or are undone."""

from __future__ import annotations

import tempfile
from typing import IO, TYPE_CHECKING

import numpy as np

from dataflare.connectors.postgres.replication.frames import PADDING, Frames
from dataflare.connectors.postgres.replication.messages import malformed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MEMORY_BYTES_MAX = 1 << 20
"""What is larger goes to disk."""
_RELATION, _ORIGIN = b"RO"


class Spool:
    """Takes in parts of open transactions; each part is as large as the frames that were fed.

    The files have no name: the system removes them when the process ends, however it does.
    """

    def __init__(self, folder: Path | None) -> None:
        """Know the folder; change nothing."""
        self._folder = folder
        self._open: dict[int, _Kept] = {}
        self._current: _Kept | None = None

    @property
    def is_open(self) -> bool:
        """Tell whether messages belong to an open transaction now."""
        return self._current is not None

    def start(self, transaction: int) -> None:
        """Let the next messages belong to a transaction."""
        if self._current is not None:
            raise malformed("a streamed part begins within another")
        if transaction not in self._open:
            self._open[transaction] = _Kept(self._folder)
        self._current = self._open[transaction]

    def stop(self) -> None:
        """Let the next messages belong to no open transaction."""
        if self._current is None:
            raise malformed("a streamed part ends that did not begin")
        self._current = None

    def add(self, frames: Frames) -> None:
        """Keep messages of the current transaction."""
        assert self._current is not None, "no transaction was started"
        if len(frames):
            self._current.add(frames)

    def abort(self, transaction: int, inner: int) -> None:
        """Forget a transaction, or what a subtransaction of it did."""
        if self._current is not None:
            raise malformed("a transaction is undone within a streamed part")
        if transaction == inner:
            if (kept := self._open.pop(transaction, None)) is not None:
                kept.close()
        elif transaction in self._open:
            self._open[transaction].undone.add(inner)

    def commit(self, transaction: int) -> Iterator[Frames]:
        """Yield the messages of a transaction in order, without those that were undone; then forget it."""
        if transaction not in self._open or self._current is not None:
            raise malformed("a transaction is committed that was not streamed, or is still")
        yield from self._open[transaction].parts()
        self._open.pop(transaction).close()

    def close(self) -> None:
        """Forget all."""
        for kept in self._open.values():
            kept.close()
        self._open, self._current = {}, None


class _Kept:
    """One open transaction; `undone` are subtransactions of it."""

    def __init__(self, folder: Path | None) -> None:
        self.undone: set[int] = set()
        self._file: IO[bytes] = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - closed by whoever keeps it
            MEMORY_BYTES_MAX, dir=str(folder) if folder else None
        )
        self._parts = 0

    def add(self, frames: Frames) -> None:
        first, end = int(frames.starts[0]), int(frames.ends[-1])
        self._file.write(np.array([len(frames), end - first], np.int64).tobytes())
        self._file.write((frames.starts - first).tobytes())
        self._file.write((frames.ends - first).tobytes())
        self._file.write(memoryview(frames.data)[first:end])
        self._parts += 1

    def parts(self) -> Iterator[Frames]:
        self._file.seek(0)
        undone = np.array(sorted(self.undone), np.uint32)
        for _ in range(self._parts):
            count, size = self._numbers(2).tolist()
            starts, ends = self._numbers(count), self._numbers(count)
            frames = Frames(self._file.read(size) + PADDING, starts, ends)
            if len(undone):
                # A description holds whoever asked for it; the server may not repeat it.
                free = (frames.kinds == _RELATION) | (frames.kinds == _ORIGIN)
                frames = frames.keep(free | ~np.isin(frames.words[starts + 1], undone))
            if len(frames):
                yield frames

    def close(self) -> None:
        self._file.close()

    def _numbers(self, count: int) -> np.ndarray:
        return np.frombuffer(self._file.read(8 * count), np.int64)


__all__ = ["Spool"]
