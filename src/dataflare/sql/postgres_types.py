"""Types of PostgreSQL: the column type of a type text, and the type text of a column."""

from __future__ import annotations

import re
from dataclasses import replace

from dataflare.sql.dialect import Dialect

NUMERIC_DEFAULT = "decimal(38,9)"
"""How a numeric without precision is read; a value that does not fit fails, it is never rounded."""

PRECISION_MAX = 38
IDENTIFIER_BYTES_MAX = 63

_COLUMN = {
    "bool": "boolean",
    "int8": "smallint",
    "int16": "smallint",
    "int32": "integer",
    "int64": "bigint",
    "uint8": "smallint",
    "uint16": "integer",
    "uint32": "bigint",
    "uint64": "numeric(20,0)",
    "float32": "real",
    "float64": "double precision",
    "string": "text",
    "binary": "bytea",
    "date": "date",
    "time": "time",
    "timestamp": "timestamp with time zone",
    "datetime": "timestamp without time zone",
    "interval": "interval",
    "json": "jsonb",
    "null": "text",
}
_KEPT = {"int8": "int16", "uint8": "int16", "uint16": "int32", "uint32": "int64", "uint64": "decimal(20,0)"}
_TEXT = {
    "bool": "bool",
    "int2": "int16",
    "int4": "int32",
    "int8": "int64",
    "float4": "float32",
    "float8": "float64",
    "text": "string",
    "varchar": "string",
    "bpchar": "string",
    "name": "string",
    "char": "string",
    "bytea": "binary",
    "date": "date",
    "time": "time",
    "timestamp": "datetime",
    "timestamptz": "timestamp",
    "interval": "interval",
    "json": "json",
    "jsonb": "json",
}


def column_type(text: str) -> str:
    """Return the type of a column that holds values of a type text; nested ones become arrays or jsonb."""
    if found := re.fullmatch(r"decimal\((\d+),(-?\d+)\)", text):
        return f"numeric({found[1]},{found[2]})"
    if found := re.fullmatch(r"list<([^<>]*)>", text):
        return f"{column_type(found[1])}[]"
    return _COLUMN.get(text, "jsonb")


def type_text(name: str, modifier: int = -1) -> str:
    """Return the type text for a type of pg_type (`int4`, `_text`) and its modifier; unknown types are read as text."""
    if name == "numeric":
        return _decimal(modifier)
    if name == "oid":
        return "int64"
    if name.startswith("_") and (name[1:] in _TEXT or name == "_numeric"):
        return f"list<{type_text(name[1:], modifier)}>"
    return _TEXT.get(name, "string")


def kept(text: str) -> str:
    """Return the type text as which a column is told that was made for one."""
    if found := re.fullmatch(r"list<([^<>]*)>", text):
        return f"list<{kept(found[1])}>"
    if text == "null":
        return "string"
    return "json" if column_type(text) == "jsonb" else _KEPT.get(text, text)


def is_plain(name: str, modifier: int) -> bool:
    """Tell whether a type of pg_type is one of those that this room knows, and holds all that its type text says."""
    inner = name.removeprefix("_")
    if inner == "numeric":
        return modifier >= 0 and _decimal(modifier) != "string"
    return inner in _TEXT and inner not in ("bpchar", "name", "char")


def is_native(name: str) -> bool:
    """Tell whether values of a type arrive in Arrow as they are; all others are cast by the server."""
    return name.removeprefix("_") in _TEXT and name not in ("_json", "_jsonb")


def _decimal(modifier: int) -> str:
    if modifier < 0:
        return NUMERIC_DEFAULT
    precision = ((modifier - 4) >> 16) & 0xFFFF
    scale = ((modifier - 4) & 0x7FF ^ 1024) - 1024
    if precision > PRECISION_MAX or scale < 0 or scale > precision:
        return "string"
    return f"decimal({precision},{scale})"


def _staged_type(text: str) -> str:
    """Return the type of a staging column: json, unlike jsonb, keeps a text as it is until it knows its target."""
    found = column_type(text)
    return "json" if found == "jsonb" else found


POSTGRES = Dialect(
    "postgres",
    column_type,
    lambda n: f"${n}",
    identifier_bytes_max=IDENTIFIER_BYTES_MAX,
    row_locks=True,
    kept=kept,
)

POSTGRES_STAGING = replace(POSTGRES, column_type=_staged_type)
"""The dialect of staging tables."""
