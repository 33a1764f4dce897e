"""Reads splits of CSV and JSON-lines files: byte ranges of plain files, or the whole of a compressed or recoded one."""

from __future__ import annotations

import codecs
import io
from typing import IO, TYPE_CHECKING, Any

from dataflare.connectors.file.cutting import RECORD_BYTES_MAX, too_long
from dataflare.connectors.file.nature import HEAD_BYTES, check_header, check_text
from dataflare.connectors.file.settings import format_of
from dataflare.errors import DataError, Place
from dataflare.formats.csv.infer import first_record, unique_names
from dataflare.formats.csv.records import lines_end, whole_records
from dataflare.formats.packing import packing_of, unpacked

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.connectors.file.settings import FileSourceConfig
    from dataflare.connectors.file.store import OpenFile

BLOCK_BYTES_MAX = 16 << 20
HEADER_BYTES_MAX = 1 << 20
_BOM = codecs.BOM_UTF8


def is_stream(name: str, config: FileSourceConfig) -> bool:
    """Tell whether a file can only be read from its beginning: compressed, or line ends are not single bytes."""
    if packing_of(name, config.compression) != "none" or format_of(name, config.format) == "excel":
        return True
    plain, encoding = 'a",;\n', config.encoding
    stateful = encoding.startswith(("iso2022", "hz", "utf-7"))
    return stateful or plain.encode(encoding) != plain.encode("ascii")


def became_shorter(name: str) -> DataError:
    """Return the error for a file that lost bytes after they were listed, or before all of them were read."""
    return DataError(
        "the file became shorter while it was read",
        hint="write files under another name and move them into place when they are whole",
        place=Place(name),
    )


class TextFile:
    """One open file of text; counts the bytes that it reads in `bytes_read`."""

    def __init__(self, file: OpenFile, config: FileSourceConfig) -> None:
        """Take a file that is open, and close it; raise DataError where it is no text at all."""
        self.file, self.name, self.size, self._config = file, file.name, file.size, config
        self.bytes_read = 0
        self._counted = (0, 1)
        self._packing = packing_of(self.name, config.compression)
        if self._packing == "none" and not self._is_excel:
            try:
                check_text(self.peek(0, HEAD_BYTES), self.name, format_of(self.name, config.format), config.encoding)
            except DataError:
                self.file.close()
                raise

    def head(self, limit: int) -> bytes:
        """Return about the first `limit` bytes of text after skipped lines, in UTF-8, without a byte order mark."""
        text = self._beginning(limit)
        return text[lines_end(text, self._skip) :] if self._skip else text

    def skipped(self) -> int:
        """Return where the text of a file that is read from its beginning has its first line that is not skipped."""
        return lines_end(self._beginning(HEADER_BYTES_MAX), self._skip) if self._skip else 0

    @property
    def _skip(self) -> int:
        return self._config.skip_lines if self._is_csv else 0

    def _beginning(self, limit: int) -> bytes:
        if is_stream(self.name, self._config):
            return next(self.blocks(0, limit), b"")[:limit]
        return self.recoded(self.peek(0, min(limit, self.size))).removeprefix(_BOM)

    def header(self) -> tuple[list[str], int]:
        """Return the names in the header of a CSV file and the byte after it; no names where the file is empty."""
        start = self.start()
        raw = self.peek(start, min(self.size, start + HEADER_BYTES_MAX))
        fields, end = first_record(raw, self._config.csv_options())
        if not raw or end == 0:
            return [], self.size
        header = self.recoded(raw[:end])
        if self._config.header:
            check_header(header, self.name)
        recoded, _ = first_record(header, self._config.csv_options())
        return unique_names(recoded or fields), start + end

    def start(self) -> int:
        """Return the byte at which the text begins."""
        mark = len(_BOM) if self.peek(0, len(_BOM)) == _BOM else 0
        if not self._skip:
            return mark
        return min(self.size, lines_end(self.peek(0, HEADER_BYTES_MAX), self._skip))

    def peek(self, start: int, end: int) -> bytes:
        """Return these bytes, or fewer where the file ends before them, without counting them as read."""
        return self.file.pread(start, end)

    def range(self, start: int, end: int) -> bytes:
        """Return these bytes; raise DataError where the file ends before them."""
        data = self.peek(start, end)
        if len(data) < end - start:
            raise became_shorter(self.name)
        self.bytes_read += len(data)
        return data

    def recoded(self, data: bytes) -> bytes:
        """Return text in UTF-8; what the encoding does not know stays as it is and is found by the decoder."""
        if self._config.encoding in ("utf-8", "ascii"):
            return data
        text = data.decode(self._config.encoding, "surrogateescape")
        return text.encode("utf-8", "surrogateescape")

    def line_at(self, offset: int) -> int:
        """Return the 1-based line on which a byte stands; reads the file up to there, so only for what went wrong."""
        at, line = self._counted if self._counted[0] <= offset else (0, 1)
        while at < offset:
            part = self.peek(at, min(offset, at + self.file.read_bytes))
            line += part.count(b"\n")
            at += len(part) or offset
        self._counted = (offset, line)
        return line

    def blocks(self, since: int, block_bytes: int) -> Iterator[bytes]:
        """Yield the text of a compressed or recoded file from offset `since` of its UTF-8 form, in whole records."""
        waiting = bytearray()
        skip = since
        for part in self._decoded():
            if skip >= len(part):
                skip -= len(part)
                continue
            waiting += part[skip:]
            skip = 0
            if len(waiting) < block_bytes:
                continue
            whole = self.whole(waiting)
            if whole:
                yield bytes(waiting[:whole])
                del waiting[:whole]
            elif len(waiting) > RECORD_BYTES_MAX:
                raise too_long(since).at(Place(self.name))
        if waiting:
            yield bytes(waiting)

    def text_from(self, offset: int, *, stream: bool) -> Iterator[bytes]:
        """Yield the text in UTF-8 from a byte of it on; `stream`: it is compressed or recoded, so read from before."""
        if not stream:
            yield from self._raw(offset)
            return
        for part in self._decoded():
            if offset < len(part):
                yield part[offset:]
            offset = max(0, offset - len(part))

    def whole(self, data: bytes | bytearray) -> int:
        """Return how many bytes of text that starts at a record are whole records."""
        if self._is_csv:
            return whole_records(data, self._config.csv_options(), len(data))
        return data.rfind(b"\n") + 1

    def close(self) -> None:
        """Close the file."""
        self.file.close()

    @property
    def _is_csv(self) -> bool:
        return format_of(self.name, self._config.format) in ("csv", "excel")

    @property
    def _is_excel(self) -> bool:
        return format_of(self.name, self._config.format) == "excel"

    def _decoded(self) -> Iterator[bytes]:
        """Yield the text in UTF-8 from its beginning."""
        encoding = self._config.encoding
        decoder: Any = None
        if encoding not in ("utf-8", "ascii"):
            decoder = codecs.getincrementaldecoder(encoding)("surrogateescape" if encoding[:3] != "utf" else "strict")
        first = True
        try:
            for raw in self._unpacked():
                part = decoder.decode(raw).encode("utf-8", "surrogateescape") if decoder is not None else raw
                if first and part:
                    part, first = part.removeprefix(_BOM), False
                yield part
            if decoder is not None:
                yield decoder.decode(b"", final=True).encode("utf-8", "surrogateescape")
        except UnicodeError as error:
            raise DataError(
                f"the file is not {encoding}: {getattr(error, 'reason', error)}",
                hint="say the right encoding",
                place=Place(self.name),
            ) from error

    def _unpacked(self) -> Iterator[bytes]:
        """Yield the bytes of the file, unpacked; those of a workbook as CSV."""
        if self._is_excel:
            from dataflare.formats.excel.read import Area, sheet_text
            from dataflare.formats.excel.stream import File

            file: IO[bytes] = io.BufferedReader(File(self.range, self.size), self.file.read_bytes)
            if self._packing != "none":
                file = io.BytesIO(b"".join(unpacked(self._raw(), self._packing, self.name)))
            return sheet_text(file, self.name, self._config.sheet, Area(self._config.range))
        return unpacked(self._raw(), self._packing, self.name)

    def _raw(self, at: int = 0) -> Iterator[bytes]:
        while at < self.size:
            raw = self.range(at, min(self.size, at + self.file.read_bytes))
            at += len(raw)
            yield raw


__all__ = ["BLOCK_BYTES_MAX", "HEADER_BYTES_MAX", "TextFile", "became_shorter", "is_stream"]
