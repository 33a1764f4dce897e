"""Writes JSON arrays: an element a line, with brackets around all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.formats.encoder import Encoder, text_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pyarrow as pa

    from dataflare.formats.encoder import Sink
    from dataflare.formats.jsonl.encode import JsonTexts


class JsonArrayEncoder(Encoder):
    """One array with an object for each row; batches may differ in their columns."""

    def __init__(self, sink: Sink, texts: JsonTexts, json_columns: Iterable[str] = ()) -> None:
        """Write nothing yet; the rest is as for JSON lines."""
        self._sink, self._texts, self._json = sink, texts, frozenset(json_columns)
        self._begun = False

    def write(self, rows: pa.Table) -> None:
        """Write the rows now."""
        for part in text_bytes(self._texts.lines(rows, self._json)):
            self.write_lines(bytes(part))

    def write_lines(self, lines: bytes) -> None:
        """Write elements that are lines already."""
        if lines:
            self._sink.write(b",\n" if self._begun else b"[\n")
            self._begun = True
            self._sink.write(lines.removesuffix(b"\n").replace(b"\n", b",\n"))

    def finish(self) -> None:
        """Write the bracket that closes the array."""
        self._sink.write(b"\n]\n" if self._begun else b"[]\n")


__all__ = ["JsonArrayEncoder"]
