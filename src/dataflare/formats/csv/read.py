"""Reads blocks of whole CSV records whose rows are all good, as fast as Arrow can."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.csv

from dataflare.errors import WorkflowError
from dataflare.schema import Column, Schema, arrow_type

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.formats.csv.options import CsvOptions

BLOCK_BYTES = 4 << 20
_FAILED_COLUMN = re.compile(r"In CSV column #(\d+)")
_NAIVE, _ZONED = pa.timestamp("us"), pa.timestamp("us", "UTC")


class CsvReader:
    """Reads blocks that start and end at records, whose fields are `names` in order.

    Columns come by name: one that the file lacks is null, one that the schema lacks is left out. A `timestamp`
    without a zone is taken as UTC. Not for several threads at once.
    """

    def __init__(self, schema: Schema, names: Sequence[str], options: CsvOptions) -> None:
        """Raise WorkflowError for a type that CSV cannot hold."""
        self.schema, self.names, self.options = schema, tuple(names), options
        self.target = schema.to_arrow()
        for column in schema:
            if pa.types.is_nested(arrow_type(column.type)) or column.type in ("binary", "interval", "null"):
                raise WorkflowError(
                    f"column {column.name!r}: CSV holds no {column.type}", hint="declare it as json or string"
                )
        self.missing = [c for c in schema if c.name not in self.names]
        self._types = {f.name: self._read_type(f.type) for f in self.target}
        self._values = _values(options)

    def _read_type(self, kind: pa.DataType) -> pa.DataType:
        """Return the type that Arrow reads; what it cannot read as it is written comes as text."""
        if self.options.thousands and (_is_number(kind)):
            return pa.string()
        if self.options.moments and pa.types.is_date(kind):
            return pa.timestamp("s")
        return _NAIVE if kind == _ZONED else kind

    def read(self, data: bytes) -> pa.Table:
        """Return all rows; raise ArrowInvalid when one is bad, without saying which of several."""
        if not data[:64].strip(b"\r\n") and not data.strip(b"\r\n"):  # to strip is to copy
            return self.target.empty_table()
        turned: set[str] = set()
        while True:
            try:
                return self._fitted(self.read_as(data, self._types))
            except pa.ArrowInvalid as error:
                name = self._zone_trouble(str(error))
                if name is None or name in turned:
                    raise
                turned.add(name)
                self._types[name] = _ZONED if self._types[name] == _NAIVE else _NAIVE

    def read_as(
        self,
        data: bytes,
        types: dict[str, pa.DataType],
        wrong_width: list[int] | None = None,
    ) -> pa.Table:
        """Read with Arrow types; rows of a wrong width raise, or are left out and noted by number in `wrong_width`.

        Where they are to be noted, the data must be UTF-8.
        """
        try:
            return self._read_blocks(data, types, wrong_width, BLOCK_BYTES)
        except pa.ArrowInvalid as error:
            if len(data) < BLOCK_BYTES or "straddl" not in str(error):  # no record is longer than a block
                raise
        if wrong_width is not None:
            wrong_width.clear()
        return self._read_blocks(data, types, wrong_width, len(data) + 1)

    def _read_blocks(
        self, data: bytes, types: dict[str, pa.DataType], wrong_width: list[int] | None, block_bytes: int
    ) -> pa.Table:
        def skip(row: pa.csv.InvalidRow) -> str:
            assert wrong_width is not None
            wrong_width.append(row.number - 1)
            return "skip"

        options = self.options
        return pa.csv.read_csv(
            pa.BufferReader(data),
            pa.csv.ReadOptions(use_threads=False, column_names=self.names, block_size=block_bytes),
            pa.csv.ParseOptions(
                delimiter=options.delimiter,
                quote_char=options.quote or False,
                double_quote=not options.escape or options.escape == options.quote,
                escape_char=options.escape if options.escape not in ("", options.quote) else False,
                newlines_in_values=bool(options.quote),
                invalid_row_handler=skip if wrong_width is not None else None,
            ),
            pa.csv.ConvertOptions(
                include_columns=[f.name for f in self.target] or list(self.names[:1]),
                include_missing_columns=True,
                column_types=types,
                null_values=list(options.nulls),
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                **self._values,
            ),
        )

    def _fitted(self, rows: pa.Table) -> pa.Table:
        columns = []
        for field in self.target:
            column = rows.column(field.name)
            if not field.nullable and column.null_count:
                raise pa.ArrowInvalid(f"column {field.name} is null")
            columns.append(column if column.type == field.type else self._cast(column, field))
        return pa.Table.from_arrays(columns, schema=self.target) if columns else rows.select([])

    def _cast(self, column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
        """Return a column in its planned type; raise ArrowInvalid, in Arrow's words, where a value does not fit."""
        import pyarrow.compute as pc

        kind = field.type
        number = self.names.index(field.name) if field.name in self.names else 0
        if pa.types.is_string(column.type) and _is_number(kind):
            column = self._plain_numbers(column, number)
        try:
            made = column.cast(kind)
        except pa.ArrowInvalid as error:
            raise pa.ArrowInvalid(f"In CSV column #{number}: {error}") from None
        if pa.types.is_date(kind) and pc.all(pc.equal(made.cast(column.type), column)).as_py() is False:
            raise pa.ArrowInvalid(f"In CSV column #{number}: a date has a time of day")
        return made

    def _plain_numbers(self, texts: pa.ChunkedArray, number: int) -> pa.ChunkedArray:
        """Return numbers as everywhere; a sign of thousands that does not stand between three digits is refused."""
        import pyarrow.compute as pc

        sign, point = re.escape(self.options.thousands), re.escape(self.options.decimal)
        texts = pc.utf8_trim_whitespace(texts)
        grouped = pc.match_substring(texts, self.options.thousands)
        sound = pc.match_substring_regex(texts, pattern=rf"^[-+]?\d{{1,3}}({sign}\d{{3}})+({point}\d*)?$")
        if pc.any(pc.and_not(grouped, sound)).as_py():
            raise pa.ArrowInvalid(f"In CSV column #{number}: thousands are not three digits apart")
        return pc.replace_substring(pc.replace_substring(texts, self.options.thousands, ""), self.options.decimal, ".")

    def _zone_trouble(self, message: str) -> str | None:
        """Return the column of a timestamp whose zone offset is there or missing, against what was asked."""
        found = _FAILED_COLUMN.search(message)
        if found is None or "zone offset" not in message:
            return None
        name = self.names[int(found[1])]
        return name if self._column(name).type == "timestamp" else None

    def _column(self, name: str) -> Column:
        return self.schema[name]


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _values(options: CsvOptions) -> dict[str, Any]:
    """Return how Arrow shall take values, where that is not as everywhere."""
    found: dict[str, Any] = {"decimal_point": options.decimal} if options.decimal != "." else {}
    if options.true_words:
        found |= {"true_values": list(options.true_words), "false_values": list(options.false_words)}
    if options.moments:
        found["timestamp_parsers"] = [*options.moments, pa.csv.ISO8601]
    return found


__all__ = ["CsvReader"]
