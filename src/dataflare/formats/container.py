"""Files that tell their own columns, made of pieces that can be read alone: what their readers have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Protocol

from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import pyarrow as pa

PART_BYTES = 16 << 20


class Readable(Protocol):
    """A file that is open for reading, at any place of it."""

    @property
    def size(self) -> int:
        """Its bytes."""
        ...

    def pread(self, start: int, end: int) -> bytes:
        """Return these bytes, or fewer where the file ends before them."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class Container(ABC):
    """One open file. A piece is known by a number that grows: its count, or where it begins.

    What is damaged raises DataError, ArrowException or OSError; the caller says which file it was.
    """

    schema: pa.Schema
    """The columns as the file has them."""
    bytes_read = 0

    @property
    @abstractmethod
    def end(self) -> int:
        """The number behind the last piece."""

    @abstractmethod
    def ranges(self, since: int, split_bytes: int) -> Iterator[tuple[int, int, int]]:
        """Yield (first piece, number behind the last, bytes) of runs of pieces of at least `split_bytes` but the last.

        They begin with the piece `since`; 0 is the first one's number.
        """

    @abstractmethod
    def read(
        self, start: int, end: int, columns: Sequence[str], bytes_max: int
    ) -> Iterator[tuple[pa.Table, int, int, int]]:
        """Yield the rows of the pieces from `start` to `end`: (rows, piece, rows of it before these, next piece).

        A piece that takes more than `bytes_max` comes in parts; `next piece` is that piece itself in all but its last.
        Only these columns are asked for; where there are none, the rows are counted all the same.
        """

    @abstractmethod
    def close(self) -> None:
        """Close the file."""


def runs(pieces: Iterator[tuple[int, int, int]], split_bytes: int) -> Iterator[tuple[int, int, int]]:
    """Yield runs of (number, number of the next, bytes) of at least `split_bytes`, but for the last."""
    first, size, end = -1, 0, 0
    for number, after, length in pieces:
        first = number if first < 0 else first
        size, end = size + length, after
        if size >= split_bytes:
            yield first, end, size
            first, size = -1, 0
    if first >= 0:
        yield first, end, size


def infer(schema: pa.Schema) -> Schema:
    """Return the DataFlare schema of a file's Arrow schema."""
    return Schema.from_arrow(schema)


def parts(table: pa.Table, piece: int, after: int, bytes_max: int) -> Iterator[tuple[pa.Table, int, int, int]]:
    """Yield what `read` yields for a piece that is in memory already."""
    if table.nbytes <= bytes_max or table.num_rows == 0:
        yield table, piece, 0, after
        return
    step = max(1, table.num_rows * min(PART_BYTES, bytes_max) // table.nbytes)
    for start in range(0, table.num_rows, step):
        last = start + step >= table.num_rows
        yield table.slice(start, step), piece, start, after if last else piece


__all__ = ["PART_BYTES", "Container", "Readable", "infer", "parts", "runs"]
