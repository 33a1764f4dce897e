"""Writes tables as CSV: lines are joined by Arrow, and only values that need quotes get them.

Null is an empty field, an empty string is `""`. Timestamps are `2026-01-31T12:00:00.000000Z`, zone-less ones without
the Z; binary is base64; lists, structs and maps are JSON text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from dataflare.errors import DataError, WorkflowError
from dataflare.formats.encoder import Encoder, moment_texts, text_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.formats.csv.options import CsvOptions
    from dataflare.formats.encoder import Sink
    from dataflare.formats.jsonl.encode import JsonTexts


class CsvEncoder(Encoder):
    """Writes the header, if there is one, before the first row (or at `finish`), then a line a row."""

    def __init__(self, sink: Sink, texts: JsonTexts, names: Sequence[str], options: CsvOptions) -> None:
        """Write nothing yet; `texts`, which the caller closes, makes the text of nested values."""
        self._sink, self._texts, self._names, self._options = sink, texts, list(names), options
        self._begun = not options.header

    def write(self, rows: pa.Table) -> None:
        """Write the rows now; their columns are those of the header."""
        import pyarrow.compute as pc

        self._begin()
        if rows.num_rows == 0 or rows.num_columns == 0:
            return
        columns = [self._column(rows.column(name)) for name in self._names]
        null = self._options.nulls[0] if self._options.nulls else ""
        if len(columns) == 1 and not null:  # an empty line would be no row
            columns = [pc.fill_null(columns[0], self._options.quote * 2)]
        *before, last = columns
        end = self._options.line_end
        ended = pc.binary_join_element_wise(last, "", end, null_handling="replace", null_replacement=null)
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
        import pyarrow.compute as pc

        kind = column.type
        t = pa.types
        if t.is_string(kind) or t.is_large_string(kind):
            return self._guarded(column.cast(pa.string()))
        if t.is_timestamp(kind) or t.is_date(kind):
            moments = self._moments(column)
            return self._guarded(moments) if self._options.moments or self._options.quote_all else moments
        if t.is_boolean(kind) and self._options.true_words:
            return self._guarded(pc.if_else(column, self._options.true_words[0], self._options.false_words[0]))
        if self._options.decimal != "." and (t.is_floating(kind) or t.is_decimal(kind)):
            return self._guarded(pc.replace_substring(column.cast(pa.string()), ".", self._options.decimal))
        if t.is_nested(kind) or t.is_binary(kind) or t.is_interval(kind) or t.is_large_binary(kind):
            return self._guarded(self._json(column))
        texts = column.cast(pa.string())
        return self._guarded(texts) if self._options.quote_all or self._options.delimiter in "-:.+eE" else texts

    def _moments(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        """Return dates and times as they are written here; the first pattern that fits the type counts."""
        import pyarrow.compute as pc

        patterns = self._options.moments
        if pa.types.is_date(column.type):
            pattern = next((p for p in patterns if not _has_clock(p)), None)
            return pc.strftime(column, format=pattern) if pattern else column.cast(pa.string())
        pattern = next((p for p in patterns if _has_clock(p)), None)
        if pattern is None:
            return moment_texts(column)
        return pc.strftime(column.cast(pa.timestamp("s", column.type.tz), safe=False), format=pattern)

    def _json(self, column: pa.ChunkedArray) -> pa.ChunkedArray:
        import pyarrow.compute as pc

        made = self._texts.values(column)
        if pa.types.is_nested(column.type):
            return made
        return pc.utf8_slice_codeunits(made, 1, -1)  # binary and intervals come as JSON strings

    def _guarded(self, texts: pa.ChunkedArray) -> pa.ChunkedArray:
        """Put quotes around the values that need them; a column without such costs four searches for a byte."""
        import pyarrow.compute as pc

        quote = self._options.quote
        if self._options.quote_all:
            return self._quoted(texts)
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
        if not quote:
            return self._unquotable(texts, needs)
        return pc.if_else(needs, self._quoted(texts), texts)

    def _unquotable(self, texts: pa.ChunkedArray, needs: pa.ChunkedArray) -> pa.ChunkedArray:
        """Refuse what a reader would take for something else."""
        import pyarrow.compute as pc

        if pc.any(pc.and_(needs, pc.greater(pc.binary_length(texts), 0))).as_py():
            raise DataError(
                "a value holds the delimiter, a line end or the word for null, and nothing may be quoted",
                hint="set quote, or another delimiter or null_value",
            )
        return texts

    def _quoted(self, texts: pa.ChunkedArray) -> pa.ChunkedArray:
        import pyarrow.compute as pc

        quote, escape = self._options.quote, self._options.escape
        if escape not in ("", quote):
            texts = pc.replace_substring(texts, escape, escape * 2)
        inner = pc.replace_substring(texts, quote, (escape or quote) + quote)
        return pc.binary_join_element_wise(quote, inner, quote, "")


def header_line(names: Sequence[str], options: CsvOptions) -> bytes:
    """Return the header of a file, line end included; raise WorkflowError for a name that cannot be written."""
    fields = []
    for name in names:
        special = not name or any(c in name for c in (options.delimiter, options.quote or "\n", "\n", "\r"))
        if special and not options.quote:
            raise WorkflowError(f"the name {name!r} cannot be written without quotes", hint="set quote, or rename it")
        fields.append(_quoted_name(name, options) if special or options.quote_all else name)
    return (options.delimiter.join(fields) + options.line_end).encode()


def _quoted_name(name: str, options: CsvOptions) -> str:
    quote, escape = options.quote, options.escape
    inner = name.replace(escape, escape * 2) if escape not in ("", quote) else name
    return quote + inner.replace(quote, (escape or quote) + quote) + quote


def _has_clock(pattern: str) -> bool:
    return any(sign in pattern for sign in ("%H", "%I", "%M", "%S", "%T", "%R", "%X", "%c", "%r"))


__all__ = ["CsvEncoder", "header_line"]
