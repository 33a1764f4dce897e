"""Between Arrow columns and what SQLite keeps: integers, floats, text and blobs; all times are ISO text.

Instants are text in UTC with a Z, so that they sort and that SQLite's own functions take them. Decimals of up to 15
digits are numbers, longer ones text; bools are 0 and 1; intervals are ISO durations; nested values are JSON.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.errors import DataError
from dataflare.schema import arrow_type
from dataflare.sql.texts import decimal_texts, duration_texts, refuse_nan

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.formats.jsonl.encode import JsonTexts

_ZONE = r":\d\d(\.\d+)? ?(Z|z|[+-]\d\d(:?\d\d)?)$"


def to_values(column: pa.ChunkedArray, name: str, texts: JsonTexts) -> list[Any]:
    """Return the values of a column as SQLite takes them; raise DataError for NaN, which SQLite would make null."""
    kind, t = column.type, pa.types
    if t.is_floating(kind):
        refuse_nan(column, name, "SQLite")
    if t.is_interval(kind):
        column = duration_texts(column)
    elif t.is_decimal(kind):
        column = decimal_texts(column)
    elif t.is_temporal(kind):
        column = column.cast(pa.string())
    elif t.is_nested(kind):
        column = texts.values(column)
    values: list[Any] = column.to_pylist()
    return values


def from_values(values: Sequence[Any], text: str, name: str) -> pa.Array:
    """Return values of a column of a type text as an Arrow array; raise DataError for one that is no such value."""
    kind = arrow_type(text)
    try:
        return _temporal(values, kind) if pa.types.is_temporal(kind) else _plain(values, kind, text, name)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        # What Arrow says shows the value, which may be private.
        raise DataError(
            f"a value of {name} is no {text}",
            hint=f"say what the column holds, such as types: {{{name}: string}}",
        ) from None


def inferred(values: Sequence[Any]) -> str:
    """Return the type text that a sample of values has; text where they differ."""
    kinds = {type(v) for v in values if v is not None}
    if kinds == {int}:
        return "int64"
    if kinds and kinds <= {int, float}:
        return "float64"
    return "binary" if kinds == {bytes} else "string"


def _plain(values: Sequence[Any], kind: pa.DataType, text: str, name: str) -> pa.Array:
    t = pa.types
    if t.is_string(kind):
        return _texts(values)
    if t.is_boolean(kind):
        return pa.array(values, pa.int64()).cast(pa.bool_())
    if t.is_decimal(kind):
        return pa.array([_digits(v) for v in values], pa.string()).cast(kind)
    if t.is_nested(kind):
        from dataflare.formats.jsonl.nested import nested_values

        return nested_values(_texts(values), text, name)
    return pa.array(values, kind)


def _temporal(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    import pyarrow.compute as pc

    t, column = pa.types, pa.array(values, pa.string())
    if t.is_time(kind):
        return pc.binary_join_element_wise("1970-01-01", column, " ").cast(pa.timestamp("us")).cast(kind)
    return _instants(column) if t.is_timestamp(kind) and kind.tz else column.cast(kind)


def _texts(values: Sequence[Any]) -> pa.Array:
    try:
        return pa.array(values, pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError):
        return pa.array([v if v is None or isinstance(v, str) else _text(v) for v in values], pa.string())


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _digits(value: Any) -> str | None:
    """A float shows its 15 reliable digits: SQLite keeps 0.30000000000000004 for a decimal of 0.3."""
    return value if value is None else f"{value:.15g}" if isinstance(value, float) else str(value)


def _instants(column: pa.Array) -> pa.Array:
    """Text without a zone is UTC."""
    import pyarrow.compute as pc

    zoned = pc.match_substring_regex(column, _ZONE)
    return pc.if_else(zoned, column, pc.binary_join_element_wise(_whole(column), "Z", "")).cast(
        pa.timestamp("us", "UTC")
    )


def _whole(column: pa.Array) -> pa.Array:
    """A day without a time is its midnight."""
    import pyarrow.compute as pc

    is_day = pc.match_substring_regex(column, r"^\d{4}-\d\d-\d\d$")
    return pc.if_else(is_day, pc.binary_join_element_wise(column, "00:00:00", " "), column)


__all__ = ["from_values", "inferred", "to_values"]
