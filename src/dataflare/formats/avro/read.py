"""Reads Avro files by blocks; a file is cut at marks between them, and only those near a cut are looked for."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pyarrow as pa

from dataflare.errors import DataError
from dataflare.formats.avro.header import CURE, SYNC_BYTES, VARINT_BYTES_MAX, read_header, varint
from dataflare.formats.avro.library import avro_library, decoded, failures
from dataflare.formats.container import Container, parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dataflare.formats.avro.unions import UnionReader
    from dataflare.formats.container import Readable

READ_BYTES = 4 << 20
_WINDOW_BYTES = 64 << 10
_BLOCK_BYTES_MAX = 1 << 30


class AvroContainer(Container):
    """Blocks, each known by the byte at which it begins."""

    def __init__(self, file: Readable) -> None:
        """Read the header."""
        avro_library()
        self._file, self._header = file, read_header(file)
        self._unions: UnionReader | None = None
        if self._header.unions is not None:
            from dataflare.formats.avro.unions import UnionReader

            self._unions = UnionReader(self._header.unions)
            self.schema = self._unions.schema
        else:
            self.schema = self._decoded(self._header.raw, None).schema

    @property
    def end(self) -> int:
        """How many bytes there are."""
        return self._file.size

    def ranges(self, since: int, split_bytes: int) -> Iterator[tuple[int, int, int]]:
        """Yield ranges that end at the first mark behind `split_bytes`."""
        start = max(since, self._header.length)
        while start < self.end:
            cut = self._mark_behind(start + split_bytes - SYNC_BYTES)
            yield start, cut, cut - start
            start = cut

    def read(
        self, start: int, end: int, columns: Sequence[str], bytes_max: int
    ) -> Iterator[tuple[pa.Table, int, int, int]]:
        """Yield the rows of some blocks at a time."""
        at, wanted = max(start, self._header.length), [n for n in self.schema.names if n in columns]
        while at < end:
            data, count = self._blocks(at, end)
            after = at + len(data)
            rows = self._decoded(self._header.raw + data, wanted) if wanted else pa.table({"": pa.nulls(count)})
            self.bytes_read += len(data)
            yield from parts(rows, at, after, bytes_max)
            at = after

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _blocks(self, start: int, end: int) -> tuple[bytes, int]:
        """Return whole blocks, about 4 MiB of them or one, and how many rows they hold; raise DataError where damaged.

        A mark that is not that of the file, or a block that does not end, is damage.
        """
        data = self._file.pread(start, min(end, start + READ_BYTES))
        at = rows = 0
        while start + at < end:
            try:
                count, behind = varint(data, at)
                size, behind = varint(data, behind)
            except IndexError:
                if at or start + len(data) >= end:
                    break
                data += self._file.pread(start + len(data), min(end, start + 2 * VARINT_BYTES_MAX))
                continue
            after = behind + size + SYNC_BYTES
            if size < 0 or size > _BLOCK_BYTES_MAX or start + after > end:
                raise _damaged(start + at)
            if after > len(data):
                if at:
                    break
                data += self._file.pread(start + len(data), start + after)
            if data[after - SYNC_BYTES : after] != self._header.sync:
                raise _damaged(start + at)
            rows, at = rows + count, after
        if not at:
            raise _damaged(start)
        return data[:at], rows

    def _mark_behind(self, at: int) -> int:
        """Return the place behind the next mark from `at` on, or the end of the file."""
        at = max(at, self._header.length)
        while at < self.end:
            window = self._file.pread(at, min(self.end, at + _WINDOW_BYTES))
            found = window.find(self._header.sync)
            if found >= 0:
                return at + found + SYNC_BYTES
            if len(window) < _WINDOW_BYTES:
                break
            at += len(window) - SYNC_BYTES + 1
        return self.end

    def _decoded(self, data: bytes, columns: list[str] | None) -> pa.Table:
        if self._unions is not None:
            return self._unions.decoded(io.BytesIO(data), columns or ())
        try:
            return decoded(io.BytesIO(data), columns)
        except failures() as error:
            reason = str(error).partition("\n")[0]
            raise DataError(f"not a sound Avro file: {reason}", hint=CURE) from error


def _damaged(at: int) -> DataError:
    return DataError(f"the Avro file is damaged, or cut off, in the block at byte {at:,}", hint=CURE)


__all__ = ["AvroContainer"]
