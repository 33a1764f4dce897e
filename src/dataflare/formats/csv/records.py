"""Where the records of a CSV text begin and end, with line ends inside quotes taken for what they are.

A quote opens only at the start of a field; elsewhere it is a plain character. A quote that is never closed makes one
bad line, not a bad rest of the file. A line that begins with the sign of comments is no record, unless it begins
inside quotes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.formats.csv.options import CsvOptions

Bytes = bytes | bytearray
LINES_BACK_MAX = 2000
_LINE_END = re.compile(rb"\r\n|\n|\r")


@dataclass(frozen=True, slots=True)
class Record:
    """The bytes `start` to `end` (line end included); `closed` is False where a quote is left open."""

    start: int
    end: int
    closed: bool = True


def quotes_in(data: Bytes, options: CsvOptions, start: int, end: int) -> int:
    """Count the quotes that are not escaped."""
    quote = options.quote.encode()
    if not options.escape or options.escape == options.quote:
        return data.count(quote, start, end)
    escape = options.escape.encode()
    part = bytes(data[start:end]).replace(escape * 2, b"")
    return part.count(quote) - part.count(escape + quote)


def whole_records(data: Bytes, options: CsvOptions, length: int) -> int:
    """Return how many of the first `length` bytes are whole records; 0 when not one is whole.

    The data starts at a record. Cheap where nothing is quoted; the exact scan runs only where quotes do not pair up.
    """
    cut = data.rfind(b"\n", 0, length) + 1
    if cut == 0 or not options.quote or data.find(options.quote.encode(), 0, cut) < 0:
        return cut
    if has_comments(data, options, cut):
        return _whole_spans(bytes(data[:length]), options)
    count = quotes_in(data, options, 0, cut)
    for _ in range(LINES_BACK_MAX):
        if count % 2 == 0:
            return cut
        before = data.rfind(b"\n", 0, cut - 1) + 1
        if before == 0:
            break
        count -= quotes_in(data, options, before, cut)
        cut = before
    return _whole_spans(bytes(data[:length]), options)


def _whole_spans(data: bytes, options: CsvOptions) -> int:
    last = 0
    for span in _spans(data, options):
        ending = data[span.end - 1]
        if not span.closed or ending not in b"\r\n" or (span.end == len(data) and ending in b"\r"):
            break  # behind a carriage return there may be a line feed yet
        last = span.end
    return last


def has_comments(data: Bytes, options: CsvOptions, length: int) -> bool:
    """Tell whether a line of the first `length` bytes begins with the sign of comments."""
    sign = options.comment.encode()
    return bool(sign) and (data.startswith(sign) or data.find(b"\n" + sign, 0, length) >= 0)


def without_comments(data: bytes, options: CsvOptions) -> bytes:
    """Return the text with its comments made blank lines, so that the numbers of all other lines stay."""
    if not has_comments(data, options, len(data)):
        return data
    sign, parts, at = options.comment.encode(), [], 0
    for span in _spans(data, options):
        if data.startswith(sign, span.start):
            parts.append(data[at : span.start])
            at = span.start + len(data[span.start : span.end].rstrip(b"\r\n"))
    return b"".join([*parts, data[at:]])


def records(data: bytes, options: CsvOptions) -> Iterator[Record]:
    """Yield every record, blank lines and comments left out."""
    sign = options.comment.encode()
    for span in _spans(data, options):
        if not sign or not data.startswith(sign, span.start):
            yield span


def lines_end(data: Bytes, count: int) -> int:
    """Return the place after the first `count` lines; all of the data where it has fewer."""
    at = 0
    for _ in range(count):
        at = data.find(b"\n", at) + 1
        if at == 0:
            return len(data)
    return at


def _spans(data: bytes, options: CsvOptions) -> Iterator[Record]:
    """Yield every record and every comment, blank lines left out."""
    if not options.quote or data.find(options.quote.encode()) < 0:
        yield from _lines(data)
        return
    pattern = _record(options)
    start = 0
    while start < len(data):
        match = pattern.match(data, start)
        if match is None or match.end() == start:  # a quote is left open: this line is bad, the next one is a record
            found = _LINE_END.search(data, start)
            end = found.end() if found else len(data)
            yield Record(start, end, closed=False)
        else:
            end = match.end()
            if data[start:end].strip(b"\r\n"):
                yield Record(start, end)
        start = end


def _lines(data: bytes) -> Iterator[Record]:
    start = 0
    for match in _LINE_END.finditer(data):
        if match.start() > start:
            yield Record(start, match.end())
        start = match.end()
    if start < len(data):
        yield Record(start, len(data))


@lru_cache(16)
def _record(options: CsvOptions) -> re.Pattern[bytes]:
    """Return a pattern that matches one record with its line end, and nothing where a quote is left open."""
    comma, quote = re.escape(options.delimiter.encode()), re.escape(options.quote.encode())
    plain, inside, open_field = rb"[^%s\r\n]" % comma, rb"[^%s]" % quote, rb"[^%s%s\r\n]" % (comma, quote)
    if options.escape and options.escape != options.quote:
        escape = re.escape(options.escape.encode())
        plain = rb"(?:%s.|[^%s%s\r\n])" % (escape, escape, comma)
        inside = rb"(?:%s.|[^%s%s])" % (escape, escape, quote)
        open_field = rb"(?:%s.|[^%s%s%s\r\n])" % (escape, escape, comma, quote)
    quoted = rb"%s(?:%s|%s%s)*+%s" % (quote, inside, quote, quote, quote)
    field = rb"(?:%s%s*+|%s%s*+)?+" % (quoted, plain, open_field, plain)
    end = rb"(?:\r\n|\n|\r|\Z)"
    comment = rb"%s[^\r\n]*+%s|" % (re.escape(options.comment.encode()), end) if options.comment else b""
    return re.compile(rb"%s%s(?:%s%s)*+%s" % (comment, field, comma, field, end), re.DOTALL)


__all__ = ["Record", "has_comments", "lines_end", "quotes_in", "records", "whole_records", "without_comments"]
