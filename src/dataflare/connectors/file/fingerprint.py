"""Knows a file again: its size, its time, and checksums of samples, so that a resume does not go on in another one.

A file that was replaced differs in nearly all samples, and so does one in which a row became longer or shorter, for
all that follows has moved and no position holds any more. A row that was corrected in its place changes one or two.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING

from dataflare.connectors.file.storage import storage
from dataflare.connectors.file.text import became_shorter
from dataflare.errors import DataError, Place

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SAMPLES = 16
SAMPLE_BYTES_MAX = 512
CHANGED_MAX = 2


def fingerprint(path: Path) -> list[int]:
    """Return size, time of the last change in nanoseconds, and the samples of a file as it is now (about 0.1 ms)."""
    with storage(path):
        status = path.stat()
    return [status.st_size, status.st_mtime_ns, *_samples(path, status.st_size)]


def is_known(path: Path, name: str, was: Sequence[int]) -> bool:
    """Tell whether a file still has the time it had, or has only grown; raise DataError where it is another one."""
    size, modified, *samples = was
    with storage(path):
        status = path.stat()
    if status.st_size < size:
        raise became_shorter(name)
    changed = sum(now != before for now, before in zip(_samples(path, size), samples, strict=True))
    if changed > CHANGED_MAX:
        raise DataError(
            "the file was replaced, or rows in it became longer or shorter, after a part of it was read",
            hint="put back what was there (a correction keeps the length of its row); or begin anew: remove the state, "
            "and what the destinations hold of this run",
            place=Place(name),
        )
    return not changed and (status.st_mtime_ns == modified or status.st_size > size)


def _samples(path: Path, size: int) -> list[int]:
    """Return the checksums, of 16 bits, of the head, the tail and places between them."""
    length = min(SAMPLE_BYTES_MAX, -(-size // SAMPLES))
    found = []
    with storage(path), path.open("rb", buffering=0) as file:
        for number in range(SAMPLES):
            file.seek((size - length) * number // (SAMPLES - 1))
            found.append(zlib.crc32(file.read(length)) & 0xFFFF)
    return found


__all__ = ["fingerprint", "is_known"]
