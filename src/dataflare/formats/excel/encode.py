"""Writes workbooks of Excel, sheet after sheet where one is full, with dates as dates and nothing as a formula."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.errors import DataError, UnavailableError
from dataflare.formats.encoder import Encoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.formats.encoder import Sink
    from dataflare.formats.jsonl.encode import JsonTexts

SHEET_ROWS_MAX = 1_048_576
CELL_SIGNS_MAX = 32_767
INTEGERS_SURE = 1 << 53
DIGITS_SURE = 15
DAYS_FIRST = 1900
_FORMATS = {"date": "yyyy-mm-dd", "timestamp": "yyyy-mm-dd hh:mm:ss.000", "time": "hh:mm:ss"}


@dataclass(frozen=True, slots=True)
class ExcelOptions:
    """How workbooks are written: the name of the first sheet, and whether its first row has the names of columns."""

    sheet: str = "Sheet1"
    header: bool = True


class ExcelEncoder(Encoder):
    """One workbook; rows wait in a temporary file until `finish`, so that memory holds but one of them."""

    def __init__(self, sink: Sink, schema: pa.Schema, texts: JsonTexts, options: ExcelOptions) -> None:
        """Begin the first sheet; `texts` makes the text of nested values."""
        try:
            import xlsxwriter
        except ImportError as error:
            raise UnavailableError("Excel needs xlsxwriter", hint="pip install 'dataflare[excel]'") from error
        self._schema, self._texts, self._options = schema, texts, options
        self._waiting = tempfile.TemporaryDirectory(prefix="dataflare-")
        settings = {"constant_memory": True, "tmpdir": self._waiting.name, "default_date_format": _FORMATS["timestamp"]}
        self._book = xlsxwriter.Workbook(sink, settings)
        self._looks = {name: self._book.add_format({"num_format": text}) for name, text in _FORMATS.items()}
        self._sheets = self._row = 0
        self._sheet: Any = None
        self._next_sheet()

    def write(self, rows: pa.Table) -> None:
        """Write the rows now; raise DataError for a text that is too long for a cell."""
        columns = [self._column(column) for column in rows.columns]
        writers = [self._writer(field.type) for field in self._schema]
        for values in zip(*columns, strict=True):
            if self._row == SHEET_ROWS_MAX:
                self._next_sheet()
            for number, value in enumerate(values):
                if value is not None:
                    writers[number](number, value)
            self._row += 1

    def finish(self) -> None:
        """Write the workbook."""
        self._book.close()
        self._waiting.cleanup()

    def discard(self) -> None:
        """Remove what waits."""
        for sheet in self._book.worksheets():
            sheet.row_data_fh.close()
        self._waiting.cleanup()

    def _next_sheet(self) -> None:
        self._sheets += 1
        name = self._options.sheet if self._sheets == 1 else f"{self._options.sheet} {self._sheets}"
        self._sheet, self._row = self._book.add_worksheet(name), 0
        if self._options.header:
            for number, column in enumerate(self._schema.names):
                self._text(number, column)
            self._row = 1

    def _column(self, column: pa.ChunkedArray) -> list[Any]:
        kind = column.type
        t = pa.types
        if t.is_nested(kind) or t.is_binary(kind) or t.is_interval(kind):
            texts: list[Any] = self._texts.values(column).to_pylist()
            return texts if t.is_nested(kind) else [v and v[1:-1] for v in texts]
        if t.is_timestamp(kind):  # cells have no zone
            column = column.cast(pa.timestamp("us"))
        values: list[Any] = column.to_pylist()
        return values

    def _writer(self, kind: pa.DataType) -> Callable[[int, Any], None]:
        t = pa.types
        if t.is_boolean(kind):
            return lambda column, value: self._sheet.write_boolean(self._row, column, value)
        if t.is_integer(kind) or t.is_floating(kind) or t.is_decimal(kind):
            return self._number
        if t.is_date(kind) or t.is_timestamp(kind):
            return self._moment("date" if t.is_date(kind) else "timestamp")
        if t.is_time(kind):
            look = self._looks["time"]
            return lambda column, value: self._sheet.write_datetime(self._row, column, value, look)
        return self._text

    def _number(self, column: int, value: Any) -> None:
        """Write a number as one where a cell can hold it, else as text: no digit is lost."""
        if not math.isfinite(value) or _has_more_digits(value):
            self._text(column, str(value))
        else:
            self._sheet.write_number(self._row, column, value)

    def _moment(self, name: str) -> Callable[[int, Any], None]:
        look = self._looks[name]

        def write(column: int, value: Any) -> None:
            if value.year < DAYS_FIRST:
                self._text(column, value.isoformat())
            else:
                self._sheet.write_datetime(self._row, column, value, look)

        return write

    def _text(self, column: int, value: str) -> None:
        if len(value) > CELL_SIGNS_MAX:
            name = self._schema.names[column]
            raise DataError(
                f"column {name!r}: a text of {len(value):,} signs is longer than a cell may be ({CELL_SIGNS_MAX:,})",
                hint="cut it by a mapping before, or write another format",
            )
        self._sheet.write_string(self._row, column, value)


def _has_more_digits(value: Any) -> bool:
    """Tell whether a cell, which holds a double, would lose digits of a whole number or a decimal."""
    if isinstance(value, int):
        return abs(value) > INTEGERS_SURE
    return isinstance(value, Decimal) and len(value.normalize().as_tuple().digits) > DIGITS_SURE


__all__ = ["ExcelEncoder", "ExcelOptions"]
