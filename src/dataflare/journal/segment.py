"""One file of a journal: groups of records, each group whole or not there.

A group is what one `write` appends: the number of its first record, how many there are, their lengths, their bytes; all
of it behind the header of the codec, which has a checksum. Groups are made durable one at a time. So only the last one
of a file can be torn, and whatever is damaged before it was damaged later, by something else.
"""

from __future__ import annotations

import os
import struct
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dataflare.errors import StateError
from dataflare.security.codec import HEADER_BYTES, IDENTITY, MAGIC, Codec, payload_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

SUFFIX = ".journal"
INDEX_BYTES = 64 << 10
"""Where a group begins is remembered once in so many bytes."""
_GROUP = struct.Struct(">QI")
_LENGTH = struct.Struct(">I")


def group_of(first: int, records: Sequence[bytes], codec: Codec) -> bytes:
    """Return the durable form of a group of records, the first of which has that number."""
    lengths = b"".join(_LENGTH.pack(len(record)) for record in records)
    return codec.encode(b"".join([_GROUP.pack(first, len(records)), lengths, *records]))


def records_of(payload: bytes) -> tuple[int, list[bytes]]:
    """Return the number of the first record of a group, and the records."""
    first, count = _GROUP.unpack_from(payload)
    at = _GROUP.size + count * _LENGTH.size
    records = []
    for n in range(count):
        (length,) = _LENGTH.unpack_from(payload, _GROUP.size + n * _LENGTH.size)
        records.append(payload[at : at + length])
        at += length
    return first, records


@dataclass(slots=True)
class Segment:
    """A file of a journal. `first` is the number of its first record, `end` that of the one after its last."""

    path: Path
    first: int
    end: int
    size: int = 0
    numbers: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)

    @classmethod
    def at(cls, folder: Path, first: int) -> Segment:
        """Return the segment that begins with a record of that number, empty."""
        return cls(folder / f"{first:020}{SUFFIX}", first, first)

    @classmethod
    def named(cls, path: Path) -> Segment:
        """Return the segment of a file, not looked into."""
        first = int(path.name.removesuffix(SUFFIX))
        return cls(path, first, first)

    def grown(self, first: int, count: int, size: int) -> None:
        """Note a group that stands at the end now."""
        if not self.offsets or self.size - self.offsets[-1] >= INDEX_BYTES:
            self.numbers.append(first)
            self.offsets.append(self.size)
        self.size += size
        self.end = first + count

    def load(self, codec: Codec, *, last: bool) -> int:
        """Look through the file; return how many bytes at its end are a group that was never whole.

        Raises StateError where anything else is damaged: what was there has been acknowledged (invariant 3).
        """
        data = self.path.read_bytes()
        at = 0
        while at < len(data):
            found = _group_at(data, at, self.end, codec)
            if found is None:
                break
            count, size = found
            self.grown(self.end, count, size)
            at += size
        torn = len(data) - at
        if torn and (not last or _whole_behind(data, at, codec)):
            raise StateError(
                f"the journal {self.path.parent.name} is damaged at byte {at:,} of {self.path.name}",
                hint="restore the file; or move the journal away, and what it held is lost",
            )
        return torn

    def read(self, after: int, codec: Codec) -> Iterator[tuple[int, list[bytes]]]:
        """Yield the groups that hold records behind a number, as (number of the first record, records)."""
        at = self.offsets[max(0, bisect_right(self.numbers, after + 1) - 1)] if self.offsets else 0
        descriptor = os.open(self.path, os.O_RDONLY)
        try:
            while at < self.size:
                header = os.pread(descriptor, HEADER_BYTES, at)
                length = payload_bytes(header)
                data = header + os.pread(descriptor, length, at + HEADER_BYTES)
                at += len(data)
                first, records = records_of(codec.decode(data))
                if first + len(records) - 1 > after:
                    yield first, records
        finally:
            os.close(descriptor)


def _group_at(data: bytes, at: int, number: int | None, codec: Codec) -> tuple[int, int] | None:
    """Return how many records and bytes the group at an offset has; None where none begins there whole."""
    header = data[at : at + HEADER_BYTES]
    if len(header) < HEADER_BYTES or not header.startswith(MAGIC):
        return None
    end = at + HEADER_BYTES + payload_bytes(header)
    if end > len(data):
        return None
    if header[len(MAGIC)] > IDENTITY:
        raise StateError(f"the journal has a group of format {header[len(MAGIC)]}, which this version does not read")
    try:
        payload = codec.decode(data[at:end])
    except StateError:
        return None
    if len(payload) < _GROUP.size:
        return None
    first, count = _GROUP.unpack_from(payload)
    return (count, end - at) if number in (None, first) else None


def _whole_behind(data: bytes, at: int, codec: Codec) -> bool:
    """Tell whether a whole group stands anywhere behind an offset."""
    while (at := data.find(MAGIC, at + 1)) >= 0:
        if _group_at(data, at, None, codec) is not None:
            return True
    return False


__all__ = ["SUFFIX", "Segment", "group_of", "records_of"]
