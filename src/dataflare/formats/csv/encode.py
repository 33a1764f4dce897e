"""Writes tables as CSV: lines are joined by Arrow, and only values that need quotes get them.

Null is an empty field, an empty string is `""`. Timestamps are `2026-01-31T12:00:00.000000Z`, zone-less ones without
the Z; binary is base64; lists, structs and maps are JSON text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from dataflare.formats.encoder import moment_texts, text_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.formats.csv.options import CsvOptions
    from dataflare.formats.encoder import Sink
    from dataflare.formats.jsonl.encode import JsonTexts


class CsvEncoder:
    """Writes the header, if there is one, before the first row (or at `finish`), then a line a row."""

    def __init__(self, sink: Sink, texts: JsonTexts, names: Sequence[str], options: CsvOptions) -> None:
        """Write nothing yet; `texts`, which the caller closes, makes the text of nested values."""
        self._sink, self._texts, self._names, self._options = sink, texts, list(names), options
        self._begun = not options.header

    def write(self, rows: pa.Table) -> None:
        """Write the rows now; their columns are those of the header."""
        self._begin()
        if rows.num_rows == 0 or rows.num_columns == 0:
            return
        columns = [self._column(rows.column(name)) for name in self._names]
        null = self._options.nulls[0] if self._options.nulls else ""
        if len(columns) == 1 and not null:  # an empty line would be no row
            columns = [pc.fill_null(columns[0], '""')]
        *before, last = columns
        ended = pc.binary_join_element_wise(last, "", "\n", null_handling="replace", null_replacement=null)
        joined = ended
        if before:
            joined = pc.binary_join_element_wise(
                *before, ended, self._options.delimiter, null_handling="replace", null_replacement=null
            )
        for part in text_bytes(joined):
            self._sink.write(part)

    def finish(self) -> None:
        """Write the header if there was no row."""
        self._begin()

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            self._sink.write(header_line(self._names, self._options))

    def _column(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        kind = column.type
        t = pa.types
        if t.is_string(kind) or t.is_large_string(kind):
            return self._guarded(column.cast(pa.string()))
        if t.is_timestamp(kind):
            return moment_texts(column)
        if t.is_nested(kind) or t.is_binary(kind) or t.is_interval(kind) or t.is_large_binary(kind):
            return self._guarded(self._json(column))
        return (
            self._guarded(column.cast(pa.string())) if self._options.delimiter in "-:.+eE" else column.cast(pa.string())
        )

    def _json(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        made = self._texts.values(column)
        if pa.types.is_nested(column.type):
            return made
        return pc.utf8_slice_codeunits(made, 1, -1)  # binary and intervals come as JSON strings

    def _guarded(self, texts: pa.ChunkedArray) -> pa.ChunkedArray:
        """Put quotes around the values that need them; a column without such costs four searches for a byte."""
        quote = self._options.quote
        special = [self._options.delimiter, "\n", "\r", *([quote] if quote else [])]
        content = [bytes(part) for part in text_bytes(texts)]
        words = [n for n in self._options.nulls if n]
        empties = pc.any(pc.equal(pc.binary_length(texts), 0)).as_py()
        if not empties and not words and not any(s.encode() in part for s in special for part in content):
            return texts
        needs = pc.equal(pc.binary_length(texts), 0)
        for mark in special:
            needs = pc.or_(needs, pc.match_substring(texts, mark))
        for word in words:
            needs = pc.or_(needs, pc.equal(texts, word))
        quoted = pc.binary_join_element_wise('"', pc.replace_substring(texts, '"', '""'), '"', "")
        return pc.if_else(needs, quoted, texts)


def header_line(names: Sequence[str], options: CsvOptions) -> bytes:
    """Return the header of a file, line end included."""
    fields = []
    for name in names:
        special = not name or any(c in name for c in (options.delimiter, '"', "\n", "\r"))
        fields.append('"' + name.replace('"', '""') + '"' if special else name)
    return (options.delimiter.join(fields) + "\n").encode()


__all__ = ["CsvEncoder", "header_line"]
