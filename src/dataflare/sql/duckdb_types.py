"""Types of DuckDB: the column type of a type text, and the type text of a type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.schema import arrow_type
from dataflare.sql.dialect import Dialect
from dataflare.sql.quoting import quoted

if TYPE_CHECKING:
    import pyarrow as pa

DIGITS_MAX = 38

_COLUMN = {
    "bool": "BOOLEAN",
    "int8": "TINYINT",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "uint8": "UTINYINT",
    "uint16": "USMALLINT",
    "uint32": "UINTEGER",
    "uint64": "UBIGINT",
    "float32": "FLOAT",
    "float64": "DOUBLE",
    "string": "VARCHAR",
    "binary": "BLOB",
    "date": "DATE",
    "time": "TIME",
    "timestamp": "TIMESTAMP WITH TIME ZONE",
    "datetime": "TIMESTAMP",
    "interval": "INTERVAL",
    "json": "JSON",
    "null": "VARCHAR",
}
_TEXT = {
    **{name.lower(): text for text, name in _COLUMN.items() if text != "null"},
    "time_ns": "time",
    "timestamp_s": "datetime",
    "timestamp_ms": "datetime",
    "timestamp_ns": "datetime",
    "hugeint": f"decimal({DIGITS_MAX},0)",
    "uhugeint": f"decimal({DIGITS_MAX},0)",
    "union": "json",
    "variant": "json",
}


def column_type(text: str) -> str:
    """Return the type of a column that holds values of a type text."""
    return _COLUMN.get(text) or _of_arrow(arrow_type(text))


def type_text(kind: Any) -> str:
    """Return the type text of a `DuckDBPyType`; what has none of its own, such as UUID, ENUM and BIT, is read as text.

    Wide integers are decimals of 38 digits, unions and variants JSON.
    """
    if str(kind) == "JSON":
        return "json"
    word = str(kind.id)
    if word == "decimal":
        digits = dict(kind.children)
        return f"decimal({digits['precision']},{digits['scale']})"
    if word in ("list", "array"):
        return f"list<{type_text(kind.children[0][1])}>"
    if word == "map":
        return f"map<{', '.join(type_text(inner) for _, inner in kind.children)}>"
    if word == "struct":
        return f"struct<{', '.join(f'{quoted(name)}: {type_text(inner)}' for name, inner in kind.children)}>"
    return _TEXT.get(word, "string")


def _of_arrow(kind: pa.DataType) -> str:
    """Return the type of a column for a decimal or a nested type."""
    import pyarrow as pa

    from dataflare.schema import type_text as text_of

    t = pa.types
    if t.is_decimal(kind):  # DuckDB has no negative scales
        precision, scale = kind.precision - min(0, kind.scale), max(0, kind.scale)
        return f"DECIMAL({precision},{scale})" if precision <= DIGITS_MAX else "VARCHAR"
    if t.is_map(kind):
        return f"MAP({_of_arrow(kind.key_type)}, {_of_arrow(kind.item_type)})"
    if t.is_struct(kind):
        return f"STRUCT({', '.join(f'{quoted(field.name)} {_of_arrow(field.type)}' for field in kind)})"
    if t.is_list(kind):
        return f"{_of_arrow(kind.value_type)}[]"
    return _COLUMN[text_of(kind)]


DUCKDB = Dialect(
    "duckdb",
    column_type,
    lambda n: f"${n}",
    numbering="bigint",
    partial_indexes=False,
    bytewise="",
    holds=lambda column, text: f"list_contains({column}, {text})",
    kept=lambda text: "string" if text == "null" else text,
    savepoints=False,
)
"""Rows of staging tables are numbered by whoever fills them."""

__all__ = ["DIGITS_MAX", "DUCKDB", "column_type", "type_text"]
