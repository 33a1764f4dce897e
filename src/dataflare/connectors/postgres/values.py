"""Between Arrow and PostgreSQL's binary COPY, which converts nothing: each column must have the table's exact type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.schema import arrow_type
from dataflare.sql.fitting import cast_column, infinite, read_as
from dataflare.sql.postgres_types import type_text

if TYPE_CHECKING:
    from dataflare.connectors.postgres.statements import Described
    from dataflare.formats.jsonl.encode import JsonTexts

_INTEGERS = {"int2": pa.int16(), "int4": pa.int32(), "int8": pa.int64()}
_FLOATS = {"float4": pa.float32(), "float8": pa.float64()}
_TEXTS = ("text", "varchar", "bpchar", "name", "json")
_SAME = {
    "bool": pa.bool_(),
    "bytea": pa.binary(),
    "date": pa.date32(),
    "time": pa.time64("us"),
    "timestamp": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"),
    "interval": pa.month_day_nano_interval(),
}
INFINITY = "infinity"
_INFINITE_MICROSECONDS = -9_222_425_352_054_775_808
_INFINITE_DAYS = -2_147_472_691
"""Infinities wrap around to the least numbers, at or below these."""


def ingest_type(text: str, column: Described) -> pa.DataType | None:
    """Return the Arrow type in which values of a type text go into a column; None where only the server can convert."""
    kind, name = arrow_type(text), column.type
    t = pa.types
    number = t.is_integer(kind) or t.is_floating(kind) or t.is_decimal(kind)
    if name in _INTEGERS or name in _FLOATS:
        return (_INTEGERS | _FLOATS)[name] if number else None
    if name == "numeric":
        return _numeric(kind, column)
    if name.startswith("_"):
        return _array(text, column) if t.is_list(kind) else None
    if name == "jsonb" and (t.is_nested(kind) or text == "json"):
        return pa.json_(pa.string())
    if name in _TEXTS:
        return pa.string() if t.is_string(kind) or t.is_null(kind) or (name == "json" and t.is_nested(kind)) else None
    return _SAME[name] if name in _SAME and (kind.equals(_SAME[name]) or t.is_null(kind)) else None


def _numeric(kind: pa.DataType, column: Described) -> pa.DataType | None:
    wanted = type_text("numeric", column.modifier)
    exact = arrow_type(wanted) if column.modifier >= 0 and wanted != "string" else None
    if pa.types.is_decimal(kind):
        return exact or kind
    if pa.types.is_integer(kind):
        return exact or pa.decimal128(20, 0)
    return None


def _array(text: str, column: Described) -> pa.DataType | None:
    from dataflare.connectors.postgres.statements import Described as Inner

    inner = text.removeprefix("list<").removesuffix(">")
    kind = ingest_type(inner, Inner(column.name, column.type[1:], column.modifier)) if "<" not in inner else None
    return pa.list_(kind) if kind is not None and not isinstance(kind, pa.BaseExtensionType) else None


def outgoing(column: pa.ChunkedArray, kind: pa.DataType, name: str, texts: JsonTexts) -> pa.ChunkedArray:
    """Return a column in the type in which it is sent; raise DataError for a value that does not fit."""
    if pa.types.is_nested(column.type) and not pa.types.is_nested(kind):
        column = texts.values(column)
    if isinstance(kind, pa.BaseExtensionType):
        chunks = [pa.ExtensionArray.from_storage(kind, c) for c in column.cast(pa.string()).chunks]
        return pa.chunked_array(chunks, type=kind)
    if pa.types.is_decimal(kind) and pa.types.is_integer(column.type):
        column = column.cast(pa.decimal128(38, max(0, kind.scale)))
    return cast_column(column, kind, name, "its column")


def incoming(array: pa.Array, text: str, name: str) -> pa.Array:
    """Return an array of an answer as a type text says; raise DataError for a value that it cannot hold."""
    if isinstance(array.type, pa.BaseExtensionType):
        array = array.storage
    t = pa.types
    if t.is_string(array.type) and t.is_nested(arrow_type(text)):
        if not text.startswith("list<") or _holds_json(array):
            from dataflare.formats.jsonl.nested import nested_values

            return nested_values(array, text, name)
        from dataflare.connectors.postgres.replication.parsing import parsed

        return parsed(array.cast(pa.binary()), text, "", name)
    if t.is_timestamp(array.type) or t.is_date(array.type):
        import pyarrow.compute as pc

        if is_infinite(pc.min(array)):
            raise infinite(name)
    return read_as(array, text, name)


def _holds_json(array: pa.Array) -> bool:
    """Tell whether lists are JSON: arrays begin with a brace, or with the bounds of their dimensions."""
    import pyarrow.compute as pc

    return bool(pc.any(pc.match_substring_regex(array, r"^\[(?:[^:]*\]|[^=]*[^\]=][^=]*$)")).as_py())


def is_infinite(value: Any) -> bool:
    """Tell whether a value of an answer is a time without end or beginning; which of them, nobody can say any more."""
    if isinstance(value, pa.Date32Scalar):
        return value.value is not None and value.value <= _INFINITE_DAYS
    return isinstance(value, pa.TimestampScalar) and value.value is not None and value.value <= _INFINITE_MICROSECONDS


__all__ = ["INFINITY", "incoming", "ingest_type", "is_infinite", "outgoing"]
