"""Casts columns to the types that a table takes; a value that does not fit is an error, never cut or rounded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from dataflare.errors import DataError
from dataflare.schema import arrow_type

if TYPE_CHECKING:
    from dataflare.sql.dialect import Table


def cast_column(column: pa.ChunkedArray, kind: pa.DataType, name: str, where: str) -> pa.ChunkedArray:
    """Return the column as another type; raise DataError naming it where a value does not fit."""
    if column.type.equals(kind):
        return column
    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # its text shows the value, which may be private
        raise DataError(
            f"a value of {name} does not fit {where} as {kind}",
            hint=f"change {name} in a mapping before, or its type in the table",
        ) from None


def read_as(array: pa.Array, text: str, name: str) -> pa.Array:
    """Return an array of an answer as a type text says; raise DataError for a value that it cannot hold."""
    kind = arrow_type(text)
    if array.type.equals(kind):
        return array
    try:
        return array.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # its text shows the value, which may be private
        raise DataError(
            f"a value of {name} is no {text}",
            hint=f"say what the column holds, such as types: {{{name}: string}}",
        ) from None


def infinite(name: str) -> DataError:
    """Return the error of a time that is infinite."""
    return DataError(f"{name} holds infinity, which no time is", hint=f"read it as text: types: {{{name}: string}}")


def conformed(rows: pa.Table, schema: pa.Schema, table: Table) -> pa.Table:
    """Return the rows with the columns of a schema in its order; a column that is not there is null."""
    if rows.schema.equals(schema):
        return rows
    columns = [
        cast_column(rows.column(field.name), field.type, field.name, f"table {table}")
        if field.name in rows.column_names
        else pa.chunked_array([pa.nulls(rows.num_rows, field.type)])
        for field in schema
    ]
    return pa.table(columns, names=schema.names)
