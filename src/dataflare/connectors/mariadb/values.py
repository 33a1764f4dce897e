"""Between Arrow and the texts in which MariaDB takes and gives values."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.errors import DataError
from dataflare.schema import arrow_type
from dataflare.sql.fitting import cast_column
from dataflare.sql.maria_types import type_text
from dataflare.sql.texts import decimal_texts, duration_texts, refuse_nan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.formats.jsonl.encode import JsonTexts

_PARTS = re.compile(r"(time|datetime|timestamp)(\((\d)\))?$")
_MICROSECONDS = 6
_LIST_BYTES_MAX = 1 << 20


def to_lines(rows: pa.Table, texts: JsonTexts) -> memoryview:
    """Return rows as the lines that `load data` reads; raise DataError for a value that MariaDB cannot keep.

    Fields are parted by commas, texts are in double quotes, null is the bare word NULL, bytes are hexadecimal.
    """
    fields = [_field(rows.column(name), name, texts, '"') for name in rows.column_names]
    return _memory(_joined(fields, "", "\n"))


def to_tuples(rows: pa.Table, texts: JsonTexts) -> pa.Array:
    """Return rows as the tuples that `insert` takes behind `values`; backslashes must be plain characters there."""
    fields = [_field(rows.column(name), name, texts, "'") for name in rows.column_names]
    return _joined(fields, "(", ")")


def tuple_lists(rows: pa.Table, texts: JsonTexts, rows_max: int = 1 << 30) -> Iterator[str]:
    """Yield rows as lists of tuples, each for one statement: about a megabyte, and at most so many rows."""
    tuples: list[str] = []
    size = 0
    for text in to_tuples(rows, texts).to_pylist() if rows.num_rows else ():
        if tuples and (len(tuples) == rows_max or size + len(text) > _LIST_BYTES_MAX):
            yield ",".join(tuples)
            tuples, size = [], 0
        tuples.append(text)
        size += len(text)
    if tuples:
        yield ",".join(tuples)


def is_bytes(kind: pa.DataType) -> bool:
    """Tell whether values of a type are sent as hexadecimal digits."""
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind))


def exact(column: pa.ChunkedArray, declared: str, name: str) -> pa.ChunkedArray:
    """Return a column as its column of a table takes it; raise DataError where the server would round or cut."""
    kind, t = column.type, pa.types
    wanted = arrow_type(type_text(declared))
    numbers = t.is_decimal(kind) or t.is_integer(kind) or t.is_string(kind)
    if numbers and (t.is_decimal(wanted) or t.is_integer(wanted)) and not kind.equals(wanted):
        return _digits(column, wanted, name)
    found = _PARTS.match(declared.lower())
    if t.is_temporal(kind) and not t.is_interval(kind) and t.is_temporal(wanted):
        if t.is_date(wanted) and t.is_timestamp(kind):
            _refuse_clock(column, name)
        if found and not t.is_date(kind):
            _refuse_rest(column, int(found[3] or 0), name)
    return column


def incoming(values: Any, text: str, name: str) -> pa.Array:
    """Return texts of a column of the server as a type text says; raise DataError for one that is no such value.

    `name` may be that of the column alone, or behind its table and a point.
    """
    kind, t = arrow_type(text), pa.types
    values = values.cast(pa.binary()) if isinstance(values, pa.Array) else pa.array(values, pa.binary())
    try:
        if is_bytes(kind):
            return values.cast(kind)
        texts = values.cast(pa.string())
        if t.is_nested(kind):
            from dataflare.formats.jsonl.nested import nested_values

            return nested_values(texts, text, name)
        if t.is_timestamp(kind) and kind.tz:
            return texts.cast(pa.timestamp("us")).cast(pa.int64()).cast(kind)
        if t.is_time(kind):
            return _times(texts).cast(kind)
        return texts.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):  # its text shows the value
        no_day = "; zero_dates: null reads days that no calendar has as null" if t.is_temporal(kind) else ""
        raise DataError(
            f"a value of {name} is no {text}",
            hint=f"say what the column holds, such as types: {{{name.rpartition('.')[2]}: string}}{no_day}",
        ) from None


# ---- parts ------------------------------------------------------------------------------------------------------


def _field(column: pa.ChunkedArray, name: str, texts: JsonTexts, quote: str) -> pa.Array:
    import pyarrow.compute as pc

    kind, t = column.type, pa.types
    quoted = False
    if t.is_boolean(kind):
        column = column.cast(pa.int8()).cast(pa.string())
    elif t.is_floating(kind):
        refuse_nan(column, name, "MariaDB", infinite=False)
        column = column.cast(pa.string())
    elif t.is_interval(kind):
        column, quoted = duration_texts(column), True
    elif t.is_decimal(kind):
        column = decimal_texts(column)
    elif t.is_timestamp(kind):
        column, quoted = column.cast(pa.timestamp("us")).cast(pa.string()), True
    elif is_bytes(kind):
        head, end = ("x'", "'") if quote == "'" else ("", "")
        found = (None if v is None else f"{head}{v.hex()}{end}" for v in column.to_pylist())
        column = pa.chunked_array([list(found)], pa.string())
    elif t.is_nested(kind):
        column, quoted = texts.values(column), True
    elif t.is_integer(kind) or t.is_null(kind):
        column = column.cast(pa.string())
    else:
        column, quoted = column.cast(pa.string()), True
    if quoted:
        column = pc.replace_substring(column, quote, quote * 2)
        column = pc.binary_join_element_wise(quote, column, quote, "")
    return pc.fill_null(column, "NULL").combine_chunks()


def _joined(fields: list[pa.Array], head: str, end: str) -> pa.Array:
    """Return the fields of each row in one text, between what begins and what ends it."""
    import pyarrow.compute as pc

    return pc.binary_join_element_wise(head, pc.binary_join_element_wise(*fields, ","), end, "")


def _memory(lines: pa.Array) -> memoryview:
    """Return the texts of an array as they lie in memory, one behind the other."""
    _, offsets, data = lines.buffers()
    ends = pa.Array.from_buffers(pa.int32(), len(lines) + 1, [None, offsets], offset=lines.offset)
    return memoryview(data)[ends[0].as_py() : ends[-1].as_py()]


def _digits(column: pa.ChunkedArray, wanted: pa.DataType, name: str) -> pa.ChunkedArray:
    """A text may be any number that the server reads; only those that Arrow reads as well are judged."""
    t = pa.types
    if t.is_integer(column.type) and t.is_decimal(wanted):
        return column
    if t.is_string(column.type):
        try:
            column = column.cast(pa.decimal256(76, 38))
        except pa.ArrowInvalid:
            return column
    return cast_column(column, wanted, name, "its column")


def _refuse_rest(column: pa.ChunkedArray, digits: int, name: str) -> None:
    import pyarrow.compute as pc

    if digits == _MICROSECONDS:
        return
    unit = 10 ** (_MICROSECONDS - digits)
    kind = pa.time64("us") if pa.types.is_time(column.type) else pa.timestamp("us")
    whole = column.cast(kind).cast(pa.int64())
    if pc.any(pc.not_equal(pc.multiply(pc.divide(whole, unit), unit), whole)).as_py():
        raise DataError(
            f"a value of {name} has parts of a second that its column does not keep",
            hint=f"round {name} in a mapping before, or let its column keep 6 digits",
        )


def _refuse_clock(column: pa.ChunkedArray, name: str) -> None:
    import pyarrow.compute as pc

    moments = column.cast(pa.timestamp("us"))
    if pc.any(pc.not_equal(moments.cast(pa.date32()).cast(pa.timestamp("us")), moments)).as_py():
        raise DataError(f"a value of {name} is no whole day", hint=f"cast {name} to date in a mapping before")


def _times(texts: pa.Array) -> pa.Array:
    import pyarrow.compute as pc

    return pc.binary_join_element_wise("1970-01-01", texts, " ").cast(pa.timestamp("us"))


__all__ = ["exact", "incoming", "is_bytes", "to_lines", "to_tuples", "tuple_lists"]
