"""Cuts a text file into byte ranges that begin and end exactly at records."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.errors import DataError, Place
from dataflare.formats.csv.records import whole_records

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.connectors.file.store import OpenFile
    from dataflare.formats.csv.options import CsvOptions

RECORD_BYTES_MAX = 64 << 20
WINDOW_BYTES = 64 << 10


def cuts(
    file: OpenFile, start: int, end: int, split_bytes: int, options: CsvOptions | None
) -> Iterator[tuple[int, int]]:
    """Yield ranges of about `split_bytes` from `start` to `end`; `options` None: every line end ends a record.

    Files whose CSV may quote line ends are scanned ahead for quotes (0.6 ms for 8 MiB without any); others are
    touched at the cuts only. Raises DataError for a record of more than 64 MiB.
    """
    scan = options if options is not None and options.quote else None
    buffer = bytearray(split_bytes) if scan is not None else bytearray()
    while end - start > split_bytes + split_bytes // 4:
        if scan is None:
            target = start + split_bytes
            cut = _last_line_end(file, start, target) or next_line_end(file, target, end)
        else:
            cut = _last_record_end(file, start, end, buffer, scan)
        if cut >= end:
            break
        yield start, cut
        start = cut
    if start < end:
        yield start, end


def _last_line_end(file: OpenFile, start: int, target: int) -> int:
    """Return the place after the last line end in the window before `target`; 0 if there is none."""
    low = target
    while low > start:
        high, low = low, max(start, low - WINDOW_BYTES)
        found = file.pread(low, high).rfind(b"\n")
        if found >= 0:
            return low + found + 1
    return 0


def next_line_end(file: OpenFile, at: int, end: int) -> int:
    """Return the place after the next line end from `at` on, `end` if there is none before it."""
    begun = at
    while at < end:
        found = file.pread(at, at + WINDOW_BYTES).find(b"\n")
        if found >= 0:
            return min(end, at + found + 1)
        at += WINDOW_BYTES
        if at - begun > RECORD_BYTES_MAX:
            raise too_long(begun)
    return end


def _last_record_end(file: OpenFile, start: int, end: int, buffer: bytearray, options: CsvOptions) -> int:
    length = file.fill(buffer, start)
    whole = whole_records(buffer, options, min(length, end - start))
    size = len(buffer)
    while whole == 0:
        size *= 2
        if start + size >= end:
            return end
        if size > RECORD_BYTES_MAX + len(buffer):
            return next_line_end(file, start, end)  # a quote that nobody closes: its line stands alone
        data = file.pread(start, start + size)
        whole = whole_records(data, options, len(data))
    return start + whole


def too_long(offset: int) -> DataError:
    """Return the error for a record without an end."""
    return DataError(
        f"no record ends within {RECORD_BYTES_MAX >> 20} MiB after byte {offset:,}",
        hint="is the format right? check delimiter, quote and encoding",
        place=Place(),
    )


__all__ = ["RECORD_BYTES_MAX", "cuts", "next_line_end", "too_long"]
