"""Rows of Python as the JSON that plugins take and give, without columns that anybody declared."""

from __future__ import annotations

from base64 import b64decode
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from dataflare.batch import Encoded
from dataflare.errors import DataError
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pyarrow as pa

    from dataflare.plugin.program import Described

WHOLE_NUMBERS_MAX = 1 << 53
"""Beyond it not every whole number is one of JavaScript."""
COLUMNS, LINES = "json-columns", "json-lines"

Row = dict[str, Any]


class RowTexts:
    """Writes rows and reads what came of them. `rounds`: for JavaScript, whose numbers are all floats."""

    def __init__(self, *, scripts: bool, rounds: bool = False) -> None:
        """Decimals are texts for scripts, which lose no digit, and numbers otherwise."""
        self._rounds = rounds
        self._encoder = msgspec.json.Encoder(decimal_format="string" if scripts else "number")
        self._row = msgspec.json.Decoder(Row)

    def one(self, record: Row) -> str:
        """Return a record as text; raise DataError where it holds what JSON cannot hold."""
        try:
            return self._encoder.encode(record).decode()
        except (TypeError, ValueError, RecursionError) as error:
            raise DataError(
                f"the record holds what JSON cannot hold: {error}", hint="give texts in its place"
            ) from error

    def batch(self, rows: Sequence[Row], form: str) -> str:
        """Return rows as text."""
        if form == LINES:
            return "\n".join(map(self.one, rows))
        names = dict.fromkeys(name for row in rows for name in row)
        return self.one({name: [row.get(name) for row in rows] for name in names})

    def fitting(self, rows: Mapping[int, Row], form: str) -> tuple[list[int], str, dict[int, str]]:
        """Return the numbers of the rows that a plugin can be given, these as text, and why others cannot."""
        unfit = {number: why for number, row in rows.items() if (why := self.inexact(row))}
        numbers = [number for number in rows if number not in unfit]
        try:
            return numbers, self.batch([rows[number] for number in numbers], form), unfit
        except DataError:  # of some row: looked for one by one
            unfit |= {number: why for number in numbers if (why := self._unwritable(rows[number]))}
        numbers = [number for number in rows if number not in unfit]
        return numbers, self.batch([rows[number] for number in numbers], form), unfit

    def _unwritable(self, row: Row) -> str:
        try:
            self.one(row)
        except DataError as error:
            return error.what
        return ""

    def read_one(self, text: str) -> Row:
        """Return a record that a plugin returned."""
        try:
            return self._row.decode(text)
        except (msgspec.DecodeError, RecursionError) as error:
            raise DataError(f"what the plugin returned is no record: {error}") from None

    def read_batch(self, text: str, form: str, count: int) -> list[Row]:
        """Return rows that a plugin returned; raise DataError where they are not so many."""
        try:
            if form == LINES:
                rows = msgspec.json.decode(f"[{text.replace(chr(10), ',')}]", type=list[Row])
            else:
                columns = msgspec.json.decode(text, type=dict[str, list[Any]])
                lists = columns.values()
                if any(len(values) != count for values in lists):
                    raise DataError("the plugin returned columns of different lengths")
                rows = [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)] or [{}] * count
        except (msgspec.DecodeError, RecursionError) as error:
            raise DataError(f"what the plugin returned is no {form}: {error}") from None
        if len(rows) != count:
            raise DataError(f"the plugin says that it returns {count} rows, and does not")
        return rows

    def inexact(self, record: Mapping[str, Any]) -> str:
        """Return why JavaScript cannot take a record, "" if it can: a whole number that it would round."""
        if self._rounds:
            for name, value in record.items():
                if type(value) is int and not -WHOLE_NUMBERS_MAX <= value <= WHOLE_NUMBERS_MAX:
                    return f"column {name!r} is a whole number beyond 2^53, which JavaScript would round"
        return ""


class Passing:
    """Columns that a plugin is not given, and which pass it by."""

    def __init__(self, told: Described, columns: Sequence[str] | None, *, own_output: bool) -> None:
        """`columns` go before what the plugin says it wants; `own_output`: its default output is what it was told."""
        self._given = tuple(columns) if columns is not None else told.input
        self._made = {name: out.columns for name, out in told.outputs.items()}
        self._adds = {name for name, out in told.outputs.items() if out.adds and (name or not own_output)}

    def shown(self, record: Row) -> Row:
        """Return what the plugin sees of a record."""
        return record if self._given is None else {name: record.get(name) for name in self._given}

    def whole(self, record: Row, made: Row, output: str) -> Row:
        """Return a record that the plugin returned, beside the columns that passed it by."""
        columns = self._made.get(output)
        if columns is not None and output in self._adds:
            seen = record if self._given is None else self._given
            added = {name for name, _ in columns}
            return {**record, **{n: v for n, v in made.items() if n in added or n not in seen}}
        if columns is not None or self._given is None:
            return made
        return {**{n: v for n, v in record.items() if n not in self._given}, **made}

    def schema(self, given: pa.Schema, output: str) -> pa.Schema:
        """Return the columns of an output."""
        import pyarrow as pa

        columns = self._made.get(output)
        made = {} if columns is None else {f.name: f for f in Schema.of(dict(columns)).to_arrow()}
        if columns is not None and output not in self._adds:
            return pa.schema(list(made.values()))
        return pa.schema([*(made.pop(f.name, f) for f in given), *made.values()])


def records_of(rows: Encoded) -> tuple[list[Row], list[int], dict[int, str]]:
    """Return the records of JSON lines, the number of the line of each, and why other lines are none."""
    if rows.codec != "jsonl":
        raise DataError(f"a plugin takes JSON lines, and these rows are {rows.codec}")
    decode = msgspec.json.Decoder(Row).decode
    records: list[Row] = []
    numbers: list[int] = []
    bad: dict[int, str] = {}
    for number, line in enumerate(bytes(rows.data).split(b"\n")):
        if not line.strip():
            continue
        try:
            records.append(decode(line))
            numbers.append(number)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            bad[number] = f"the line is no record: {error}"
    return records, numbers, bad


def lines_of(rows: Sequence[Row]) -> Encoded:
    """Return records as JSON lines."""
    return Encoded(msgspec.json.Encoder(decimal_format="number").encode_lines(rows), "jsonl", len(rows))


def table_of(rows: Sequence[Row], schema: pa.Schema) -> tuple[pa.Table, dict[int, str]]:
    """Return rows as a table without those that do not fit, and why these do not, by their number."""
    import pyarrow as pa

    misfit = (pa.ArrowException, TypeError, ValueError, OverflowError, ArithmeticError)
    known = set(schema.names)
    unfit = {
        n: f"the output has no column {min(row.keys() - known)!r}"
        for n, row in enumerate(rows)
        if not row.keys() <= known
    }
    for field in schema:
        try:
            _array((row.get(field.name) for row in rows), field)
        except misfit:
            for n, row in enumerate(rows):
                try:
                    _array([row.get(field.name)], field)
                except misfit:
                    kind = type(row.get(field.name)).__name__
                    unfit.setdefault(n, f"column {field.name!r} is {field.type}; this value of type {kind} is not")
    kept = [row for n, row in enumerate(rows) if n not in unfit]
    arrays = [_array((row.get(field.name) for row in kept), field) for field in schema]
    return pa.Table.from_arrays(arrays, schema=schema), unfit


def _array(values: Iterable[Any], field: pa.Field) -> pa.Array:
    """Return values as an array; texts of decimals, dates and instants are read."""
    import pyarrow as pa

    kind, listed = field.type, list(values)
    if not field.nullable and None in listed:
        raise ValueError("null")
    if pa.types.is_decimal(kind):
        listed = [None if v is None else Decimal(str(v)) for v in listed]
    elif pa.types.is_temporal(kind) and any(isinstance(v, str) for v in listed):
        texts = [v if v is None or isinstance(v, str) else v.isoformat() for v in listed]
        return pa.array(texts, pa.string()).cast(kind)
    elif pa.types.is_string(kind):
        listed = [msgspec.json.encode(v).decode() if isinstance(v, dict | list) else v for v in listed]
    elif pa.types.is_binary(kind):
        listed = [b64decode(v, validate=True) if isinstance(v, str) else v for v in listed]
    return pa.array(listed, kind)


__all__ = ["COLUMNS", "LINES", "Row", "RowTexts", "lines_of", "records_of", "table_of"]
