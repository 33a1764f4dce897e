"""Reads JSON documents: arrays, objects behind each other, and records that stand somewhere inside."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from dataflare.connectors.file.text import BLOCK_BYTES_MAX, TextFile, is_stream
from dataflare.errors import DataError, Place
from dataflare.formats.json.document import Block, Document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.batch import Position
    from dataflare.component import Split
    from dataflare.connectors.file.settings import FileSourceConfig
    from dataflare.formats.rejected import Decoded, Rejected

HEAD_BYTES = 64 << 10


def is_document(file: TextFile, kind: str, config: FileSourceConfig) -> bool:
    """Tell whether a file is to be read as a document, not by lines: as told, or as its beginning looks."""
    if kind == "json_array" or (config.records and kind == "json"):
        return True
    if kind != "json":
        return False
    head = file.head(HEAD_BYTES).lstrip()
    if not head.startswith(b"{"):
        return head.startswith(b"[")
    first, _, rest = head.partition(b"\n")
    if not rest:
        return False  # one line: an object, or the beginning of one
    with suppress(ValueError, RecursionError):
        json.loads(first)
        return False
    return True


def records_path(config: FileSourceConfig) -> list[str]:
    """Return the names that lead to the records."""
    return config.records.split(".") if isinstance(config.records, str) and config.records else list(config.records)


def beginning(file: TextFile, config: FileSourceConfig) -> tuple[int, str]:
    """Return where the records begin in the text, and what they are; raise DataError where there are none to be."""
    stream = _is_stream(file, config)
    start = 0 if stream else file.start()
    document = Document(file.text_from(start, stream=stream), start)
    try:
        kind = document.find(records_path(config))
    except DataError as error:
        raise error.at(Place(file.name)) from None
    file.bytes_read = 0
    return document.at, kind


def first_lines(file: TextFile, config: FileSourceConfig, limit: int) -> bytes:
    """Return the first records as lines: about so many bytes, at least one."""
    start, kind = beginning(file, config)
    block = next(_blocks(file, start, kind, limit, config), None)
    return block.lines if block is not None else b""


class DocumentReader:
    """Yields the records of a split in blocks, and knows where each of them began."""

    def __init__(self, file: TextFile, config: FileSourceConfig) -> None:
        """Read nothing yet."""
        self._file, self._config = file, config
        self._block = Block(b"", b"", (), 0, 0)

    def blocks(self, split: Split, since: Position | None) -> Iterator[tuple[bytes, list[str], int, int, int | None]]:
        """Yield (lines, no names, start, end, None) of the blocks of a document."""
        data = split.data
        start = since["offset"] if since else data["start"]
        one = data["document"] == "values" and records_path(self._config)
        if one and since and not since.get("rows_done") and start != data["start"]:
            return  # the one object was read
        size = min(self._config.split_bytes, BLOCK_BYTES_MAX)
        for block in _blocks(self._file, start, data["document"], size, self._config):
            self._block = block
            yield block.lines, [], block.start, block.end, 1

    def placed(self, decoded: Decoded) -> Decoded:
        """Say of the bad records of the block at hand where in the document they stand, counted from its beginning."""
        found: list[Rejected] = []
        before = self._line_ends() if decoded.rejected else 0
        for rejected in decoded.rejected:
            line, at = self._block.origin(rejected.line)
            found.append(replace(rejected, line=before + line, reason=f"{rejected.reason} (the record at byte {at:,})"))
        return replace(decoded, rejected=found)

    def _line_ends(self) -> int:
        """Count those before the block; reads the document up to there, so only for what went wrong."""
        if not _is_stream(self._file, self._config):
            return self._file.line_at(self._block.start) - 1
        left, found = self._block.start, 0
        for piece in self._file.text_from(0, stream=True):
            found += piece.count(b"\n", 0, left)
            left -= len(piece)
            if left <= 0:
                break
        return found


def _is_stream(file: TextFile, config: FileSourceConfig) -> bool:
    """Tell whether places in the text are other ones than in the file."""
    return is_stream(file.name, config) or config.encoding not in ("utf-8", "ascii")


def _blocks(file: TextFile, start: int, kind: str, size: int, config: FileSourceConfig) -> Iterator[Block]:
    document = Document(file.text_from(start, stream=_is_stream(file, config)), start)
    try:
        yield from document.records(kind, size, alone=not config.records)
    except DataError as error:
        raise error.at(Place(file.name)) from None


__all__ = ["DocumentReader", "beginning", "first_lines", "is_document", "records_path"]
