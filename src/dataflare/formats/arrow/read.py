"""Reads Arrow IPC, both the file (also called Feather) and the stream, by record batches.

A file is a stream between a mark and a footer, so both are read in the same way: the small heads of the messages tell
where each begins and ends, and any run of record batches is read behind the schema and the dictionaries that it needs.
"""

from __future__ import annotations

import io
import struct
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa

from dataflare.errors import DataError
from dataflare.formats.container import Container, parts, runs
from dataflare.formats.packing import Pieces

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dataflare.formats.container import Readable

MAGIC = b"ARROW1"
_FEATHER_1 = b"FEA1"
_FOOTER_END = struct.Struct("<i6s")
_SCHEMA, _DICTIONARY, _BATCH = 1, 2, 3
_CONTINUES = -1
_HEAD_BYTES = 4096
_READ_BYTES = 1 << 20
_CURE = "is it still being written, or was it copied in part?"


@dataclass(frozen=True, slots=True)
class _Message:
    kind: int
    start: int
    end: int


class ArrowContainer(Container):
    """Record batches, each known by the byte at which it begins."""

    def __init__(self, file: Readable) -> None:
        """Read the schema."""
        self._file = file
        size = file.size
        head = file.pread(0, 8)
        self._is_file = head[:6] == MAGIC
        if head[:4] == _FEATHER_1:
            raise DataError("the file is Feather of version 1", hint="write it anew with pyarrow.feather.write_feather")
        self._start, self._limit = (8, size) if self._is_file else (0, size)
        if self._is_file:
            length, magic = _FOOTER_END.unpack(file.pread(max(0, size - _FOOTER_END.size), size))
            if magic != MAGIC or not 0 < length < size:
                raise DataError("the Arrow file has no footer", hint=_CURE)
            self._limit = size - _FOOTER_END.size - length
        first = next(self._messages(self._start), None)
        if first is None or first.kind != _SCHEMA:
            raise DataError("not an Arrow file: it begins with no schema", hint=_CURE)
        self._first = first
        self._head = file.pread(first.start, first.end)
        self.schema = pa.ipc.read_schema(pa.py_buffer(self._head))
        self._has_dictionaries = any(_holds_dictionary(t) for t in self.schema.types)

    @property
    def end(self) -> int:
        """Where the last byte of batches may be."""
        return self._limit

    def ranges(self, since: int, split_bytes: int) -> Iterator[tuple[int, int, int]]:
        """Yield runs of them of about `split_bytes`, compressed."""
        return runs(self._pieces(since), split_bytes)

    def _pieces(self, since: int) -> Iterator[tuple[int, int, int]]:
        for message in self._messages(max(since, self._first.end)):
            if message.kind == _BATCH:
                yield message.start, message.end, message.end - message.start

    def read(
        self, start: int, end: int, columns: Sequence[str], bytes_max: int
    ) -> Iterator[tuple[pa.Table, int, int, int]]:
        """Yield record batches, each one whole in memory."""
        places: deque[_Message] = deque()
        taken = [n for n, name in enumerate(self.schema.names) if name in columns] or [0]
        options = pa.ipc.IpcReadOptions(included_fields=taken if self.schema.names else None, use_threads=False)
        whole = io.BufferedReader(Pieces(self._bytes(start, end, places)), _READ_BYTES)  # Arrow wants all it asks for
        with (
            pa.PythonFile(whole, "r") as pieces,
            pa.ipc.open_stream(pieces, options=options) as reader,
        ):
            for batch in reader:
                place = places.popleft()
                self.bytes_read += place.end - place.start
                yield from parts(pa.Table.from_batches([batch]), place.start, place.end, bytes_max)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _bytes(self, start: int, end: int, places: deque[_Message]) -> Iterator[bytes]:
        """Yield a stream: the schema, the dictionaries before `start`, and the messages from there to `end`."""
        yield self._head
        start = max(start, self._first.end)
        if self._has_dictionaries:
            for message in self._messages(self._first.end):
                if message.start >= start and not self._is_file:
                    break
                if message.kind == _DICTIONARY:
                    yield from self._body(message)
        for message in self._messages(start):
            if message.start >= end:
                break
            if message.kind == _BATCH:
                places.append(message)
            if message.kind == _BATCH or not self._is_file:
                yield from self._body(message)

    def _body(self, message: _Message) -> Iterator[bytes]:
        for at in range(message.start, message.end, _READ_BYTES):
            yield self._file.pread(at, min(message.end, at + _READ_BYTES))

    def _messages(self, at: int) -> Iterator[_Message]:
        """Yield the messages from a byte on at which one begins; raise DataError where the last is cut off."""
        while at < self._limit:
            head = self._file.pread(at, min(self._limit, at + _HEAD_BYTES))
            prefix = 8 if head[:4] == b"\xff\xff\xff\xff" else 4
            if len(head) < prefix:
                raise _cut_off(at)
            (length,) = struct.unpack_from("<i", head, prefix - 4)
            if length == 0:
                return
            if length < 0 or at + prefix + length > self._limit:
                raise _cut_off(at)
            if prefix + length > len(head):
                head = self._file.pread(at, at + prefix + length)
            kind, body = _read_head(head, prefix, at)
            end = at + prefix + length + body
            if end > self._limit or body < 0:
                raise _cut_off(at)
            yield _Message(kind, at, end)
            at = end


def _read_head(head: bytes, prefix: int, at: int) -> tuple[int, int]:
    """Return the kind of a message and the length of its body: two fields of a flat table."""
    try:
        (root,) = struct.unpack_from("<I", head, prefix)
        table = prefix + root
        (back,) = struct.unpack_from("<i", head, table)
        fields = table - back
        (size,) = struct.unpack_from("<H", head, fields)

        def place(number: int) -> int:
            inside = 4 + 2 * number < size
            return struct.unpack_from("<H", head, fields + 4 + 2 * number)[0] if inside else 0

        kind = struct.unpack_from("<B", head, table + place(1))[0] if place(1) else 0
        body = struct.unpack_from("<q", head, table + place(3))[0] if place(3) else 0
    except struct.error:
        raise DataError(f"not an Arrow file: no message begins at byte {at:,}", hint=_CURE) from None
    return kind, body


def _cut_off(at: int) -> DataError:
    return DataError(f"the Arrow file is cut off in the message at byte {at:,}", hint=_CURE)


def _holds_dictionary(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return True
    return any(_holds_dictionary(kind.field(n).type) for n in range(kind.num_fields))


__all__ = ["MAGIC", "ArrowContainer"]
