"""One file that is followed: known by its inode, and by checksums of its first bytes and of those before its offset.

A file that was renamed has the inode and the bytes; one that was truncated and written anew has the inode and other
bytes; a copy that was made before the truncation has the bytes and another inode.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from dataflare.connectors.file.store import OpenFile

MARK_BYTES = 256


@dataclass(slots=True)
class Followed:
    """A file and how far it was read.

    `name` is what it was first called, `identity` its device and inode, `offset` the byte after the last record that
    was read; `head` and `mark` are checksums of at most 256 bytes, `head_bytes` of them at the beginning and the others
    before the offset. What follows is not kept in positions: the columns of its header, its last known size, and the
    name that it has now (`path`).
    """

    name: str
    identity: str
    offset: int = 0
    head_bytes: int = 0
    head: int = 0
    mark: int = 0
    names: list[str] | None = None
    size: int = 0
    path: str = ""
    is_listed: bool = True
    is_final: bool = False

    def to_json(self) -> list[Any]:
        """Return what a position keeps."""
        return [self.name, self.identity, self.offset, self.head_bytes, self.head, self.mark]

    @classmethod
    def from_json(cls, value: list[Any]) -> Self:
        """Read what `to_json` wrote."""
        found = cls(*value)
        found.is_listed = False
        return found

    def is_in(self, file: OpenFile) -> bool:
        """Tell whether the bytes that were read are there still: those at the beginning and those before the offset."""
        if self.offset == 0:
            return True
        start = max(0, self.offset - MARK_BYTES)
        tail = file.pread(start, self.offset)
        return len(tail) == self.offset - start and zlib.crc32(tail) == self.mark and self._begins(file)

    def move(self, file: OpenFile, offset: int) -> None:
        """Stand after another record."""
        self.offset = offset
        self.mark = zlib.crc32(file.pread(max(0, offset - MARK_BYTES), offset))
        if self.head_bytes < MARK_BYTES:
            self.head_bytes = min(MARK_BYTES, offset)
            self.head = zlib.crc32(file.pread(0, self.head_bytes))

    def begin_anew(self) -> None:
        """Know nothing of what it holds."""
        self.offset = self.head_bytes = self.head = self.mark = 0
        self.names = None

    def _begins(self, file: OpenFile) -> bool:
        return zlib.crc32(file.pread(0, self.head_bytes)) == self.head


__all__ = ["Followed"]
