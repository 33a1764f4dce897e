"""Brings rows to the planned schema: nothing where they have it, a cast where they nearly do, a DataError otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


def fit(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    """Return rows with exactly this schema: columns by name, in its order, of its types; others are left out.

    Raises DataError for a missing column, a value that its type cannot hold, and a null where none may be.
    """
    import pyarrow as pa

    if rows.schema.equals(schema):
        return rows
    columns = []
    for field in schema:
        at = rows.schema.get_field_index(field.name)
        if at < 0:
            known = ", ".join(rows.schema.names)
            raise DataError(f"column {field.name!r} is planned but not in the data", hint=f"the data has {known}")
        column = fit_column(rows.column(at), field)
        if not field.nullable and rows.schema.field(at).nullable and column.null_count:
            raise DataError(f"column {field.name!r} holds nulls, which its schema excludes")
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=schema)


def fit_column(column: pa.ChunkedArray, field: pa.Field) -> pa.ChunkedArray:
    """Return the column with the type of `field`; raise DataError where a value does not fit it."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.type == field.type:
        return column
    try:
        if pa.types.is_timestamp(column.type):  # time units finer than microseconds are not carried
            return column.cast(options=pc.CastOptions(field.type, allow_time_truncate=True))
        return column.cast(field.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise DataError(
            f"column {field.name!r} is {column.type} in the data and does not fit {field.type}",
            hint="plan it as the type it has, or cast it in a mapping",
        ) from None


__all__ = ["fit", "fit_column"]
