"""How far a store has come, noted beside it, so that writes which it has lost are missed.

SQLite takes all that follows a damaged frame of its write-ahead log for writes that never were, and a log that is
gone for one that was empty: the state would silently be an older one. The mark tells. It is written after each
commit, costs no flush, and so is never ahead of what is on the disk, whatever crashes.
"""

from __future__ import annotations

import os
import struct
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dataflare.errors import StateError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_NUMBER, _SUM = struct.Struct(">Q"), struct.Struct(">I")
_SIZE = _NUMBER.size + _SUM.size


class HighMark:
    """The number of writes that a store has taken, in a file of twelve bytes."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it."""
        self._path = path
        with self._translated():
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def read(self) -> int:
        """Return the number; 0 where none was written yet; raise StateError where it is not what was written."""
        with self._translated():
            data = os.pread(self._descriptor, _SIZE + 1, 0)
        if not data.strip(b"\0"):  # the file is new, or its first bytes were still on their way when power was lost
            return 0
        number = data[: _NUMBER.size]
        if len(data) != _SIZE or _SUM.pack(zlib.crc32(number)) != data[_NUMBER.size :]:
            raise StateError(
                f"the mark {self._path}, which tells whether the state is whole, is damaged",
                hint="put it back, or remove it if you know that the files beside it are as the last run left them",
            )
        value: int = _NUMBER.unpack(number)[0]
        return value

    def write(self, number: int) -> None:
        """Note the number."""
        packed = _NUMBER.pack(number)
        with self._translated():
            os.pwrite(self._descriptor, packed + _SUM.pack(zlib.crc32(packed)), 0)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UnavailableError(
                f"the mark {self._path} cannot be used: {error.strerror}",
                hint="make room, or let runtime.state.path be where this user may write",
            ) from error
