"""The slow way through a CSV block with bad rows: every good row comes out, every bad one with its reason.

The block is taken in pieces; a piece that fails is read as text, rows whose text cannot be of its column's type go
out, and what still fails is halved until it is one row.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pyarrow as pa

from dataflare.formats.csv.records import Record, records
from dataflare.formats.rejected import Decoded, Rejected, as_text

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dataflare.formats.csv.read import CsvReader
    from dataflare.schema import Column

PIECE_BYTES = 64 << 10
_FAILED_COLUMN = re.compile(r"In CSV column #(\d+)")
_MAY_BE = {
    "int": r"^\s*-?(\d+|0[xX][0-9a-fA-F]+)\s*$",
    "float": r"(?i)^\s*[-+]?(\d|\.\d|nan|inf)",
    "decimal": r"^\s*[-+]?(\d|\.\d)",
    "bool": r"(?i)^\s*(true|false|0|1)\s*$",
    "date": r"^\s*\d{4}-\d\d-\d\d\s*$",
    "time": r"^\s*\d\d:\d\d",
    "timestamp": r"^\s*\d{4}-\d\d-\d\d",
    "datetime": r"^\s*\d{4}-\d\d-\d\d",
}
"""What text of a type must look like at least; Arrow decides about what passes."""


def salvage(reader: CsvReader, data: bytes) -> Decoded:
    """Read a block that has bad rows, or seems to have."""
    found = _Salvage(reader, data)
    for piece in _pieces(data, reader):
        found.take(piece)
    rows = pa.concat_tables(found.tables) if found.tables else reader.target.empty_table()
    return Decoded(rows, found.settled())


def _pieces(data: bytes, reader: CsvReader) -> Iterator[list[Record]]:
    piece: list[Record] = []
    for record in records(data, reader.options):
        piece.append(record)
        if record.end - piece[0].start >= PIECE_BYTES:
            yield piece
            piece = []
    if piece:
        yield piece


class _Salvage:
    def __init__(self, reader: CsvReader, data: bytes) -> None:
        self._reader, self._data = reader, data
        self.tables: list[pa.Table] = []
        self._bad: list[tuple[Record, str, str]] = []

    def take(self, piece: list[Record]) -> None:
        """Read a piece of the block."""
        unclosed = [r for r in piece if not r.closed]
        self._bad += [(r, "a quote is never closed", "") for r in unclosed]
        piece = [r for r in piece if r.closed] if unclosed else piece
        if not self._whole(piece):
            self._halve(self._plausible(piece))

    def settled(self) -> list[Rejected]:
        """Return the bad rows in order, with the number of line ends before each."""
        settled, line, at = [], 0, 0
        for record, reason, column in sorted(self._bad, key=lambda b: b[0].start):
            line += self._data.count(b"\n", at, record.start)
            at = record.start
            settled.append(Rejected(line, as_text(self._data[record.start : record.end]), reason, column))
        return settled

    def _whole(self, piece: Sequence[Record]) -> bool:
        if not piece:
            return True
        try:
            self.tables.append(self._reader.read(self._text(piece)))
        except pa.ArrowInvalid:
            return False
        return True

    def _halve(self, piece: list[Record]) -> None:
        if self._whole(piece):
            return
        if len(piece) == 1:
            self._bad.append((piece[0], *self._why(piece[0])))
            return
        middle = len(piece) // 2
        self._halve(piece[:middle])
        self._halve(piece[middle:])

    def _text(self, piece: Sequence[Record]) -> bytes:
        """Return the bytes of these records; each ends with a line end, so that they stay apart."""
        parts = [self._data[r.start : r.end] for r in piece]
        if parts and not parts[-1].endswith((b"\n", b"\r")):
            parts[-1] += b"\n"
        return b"".join(parts)

    def _plausible(self, piece: list[Record]) -> list[Record]:
        """Return the records that may be good; put out those of a wrong width, or whose text cannot be of its type.

        What is no UTF-8 may still be good in the columns that are read: it is left to be judged row by row.
        """
        alien = [r for r in piece if not _is_utf8(self._data[r.start : r.end])]
        if alien:
            odd = {r.start for r in alien}
            piece = [r for r in piece if r.start not in odd]
        return sorted([*self._sifted(piece), *alien], key=lambda r: r.start)

    def _sifted(self, piece: list[Record]) -> list[Record]:
        if not piece:
            return []
        wrong: list[int] = []
        raw = {c.name: pa.binary() for c in self._reader.schema}
        texts = self._reader.read_as(self._text(piece), raw, wrong)
        if texts.num_rows + len(wrong) != len(piece):  # a lone carriage return: count nothing on it, halve
            return piece
        width = f"the row has not {len(self._reader.names)} columns"
        self._bad += [(piece[n], width, "") for n in wrong]
        odd = set(wrong)
        left = [r for n, r in enumerate(piece) if n not in odd] if odd else piece
        reasons: dict[int, Column] = {}
        for column in self._reader.schema:
            for number in self._implausible(column, texts.column(column.name)):
                reasons.setdefault(number, column)
        self._bad += [(left[n], _reason(c), c.name) for n, c in reasons.items()]
        return [r for n, r in enumerate(left) if n not in reasons]

    def _implausible(self, column: Column, texts: pa.ChunkedArray) -> list[int]:
        import pyarrow.compute as pc

        word = re.match(r"[a-z]+", column.type)[0].removeprefix("u")  # type: ignore[index]
        bad = pc.is_null(texts) if not column.nullable else None
        if word in _MAY_BE and self._reader.options.plain_values:
            odd = pc.invert(pc.match_substring_regex(texts, pattern=_MAY_BE[word])).fill_null(fill_value=False)
            bad = odd if bad is None else pc.or_(bad, odd)
        if bad is None or not pc.any(bad).as_py():
            return []
        numbers: list[int] = pc.indices_nonzero(bad).to_pylist()
        return numbers

    def _why(self, record: Record) -> tuple[str, str]:
        """Return why one row is bad, without a value of it, and the column whose value it is."""
        reader = self._reader
        try:
            reader.read(self._text([record]))
        except pa.ArrowInvalid as error:
            message = str(error)
            found = _FAILED_COLUMN.search(message)
            if found is not None:
                name = reader.names[int(found[1])]
                if "UTF8" in message:
                    return f"column {name!r} is not valid UTF-8", name
                return _reason(reader.schema[name]), name
            if "columns" in message:
                return f"the row has not {len(reader.names)} columns", ""
            return next(((_reason(c), c.name) for c in reader.schema if not c.nullable), ("the row cannot be read", ""))
        return "the row cannot be read beside its neighbours", ""


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _reason(column: Column) -> str:
    return f"column {column.name!r} is not {column.type}{'' if column.nullable else ', or is null'}"


__all__ = ["salvage"]
