"""Knows a file again: its size, its time, and a checksum of samples, so that a resume does not go on in another one."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

from dataflare.connectors.file.storage import storage
from dataflare.connectors.file.text import became_shorter
from dataflare.errors import DataError, Place

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SAMPLES = 16
SAMPLE_BYTES = 512


def fingerprint(path: Path) -> list[int]:
    """Return size, time of the last change in nanoseconds, and the checksum of a file as it is now (about 0.1 ms)."""
    with storage(path):
        status = path.stat()
    return [status.st_size, status.st_mtime_ns, _sampled(path, status.st_size)]


def is_known(path: Path, name: str, was: Sequence[int]) -> bool:
    """Tell whether a file still has the time it had; raise DataError where its first `was[0]` bytes are others.

    A file that only grew is the same one.
    """
    size, modified, checksum = was
    with storage(path):
        status = path.stat()
    if status.st_size < size:
        raise became_shorter(name)
    if _sampled(path, size) != checksum:
        raise DataError(
            "the file was replaced or changed after a part of it was read",
            hint="put back what was there; or begin anew: remove the state, and what the destinations hold of this run",
            place=Place(name),
        )
    return status.st_mtime_ns == modified or status.st_size > size


def _sampled(path: Path, size: int) -> int:
    """Return the checksum of the head, the tail and places between them, of the whole where that is not more."""
    checksum: Any = 0
    with storage(path), path.open("rb", buffering=0) as file:
        if size <= SAMPLES * SAMPLE_BYTES:
            return zlib.crc32(file.read(size))
        for number in range(SAMPLES):
            file.seek((size - SAMPLE_BYTES) * number // (SAMPLES - 1))
            checksum = zlib.crc32(file.read(SAMPLE_BYTES), checksum)
    return int(checksum)


__all__ = ["fingerprint", "is_known"]
