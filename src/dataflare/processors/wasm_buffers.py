"""Rows as the buffers of Arrow columns, for plugins that take them so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from dataflare.errors import DataError, Place, WorkflowError
from dataflare.expression.fit import fit

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from dataflare.schema import Schema

Buffers = tuple[memoryview, memoryview, memoryview]
"""Of one column: a bit for each row that is not null (or nothing), offsets (or nothing), values."""
BUFFERS = "buffers"


class UnfitError(Exception):
    """A value does not fit the type in which a plugin wants its column."""


_NOTHING = memoryview(b"")
_BITS, _OFFSET_BYTES = 8, 4


def crosses(kind: pa.DataType) -> bool:
    """Tell whether a type of Arrow is one buffer of values, of one length or with offsets of 4 bytes."""
    return _offsets(kind) or pa.types.is_decimal128(kind) or (pa.types.is_primitive(kind) and not _narrow(kind))


def _offsets(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_binary(kind))


def _narrow(kind: pa.DataType) -> bool:
    return bool(pa.types.is_float16(kind))


def refuse_others(columns: Schema, file: str) -> None:
    """Raise WorkflowError where a column has no such buffers."""
    for field in columns.to_arrow():
        if not crosses(field.type):
            raise WorkflowError(
                f"the plugin takes rows as buffers, and column {field.name!r} of type {columns[field.name].type} has "
                "none that it could be given",
                hint="name the columns that it needs by `columns`, or by its own `input`",
                place=Place(file),
            )


class Arrays:
    """Writes rows as buffers and reads what came of them; `given` are the columns, in the types in which they cross."""

    def __init__(self, given: Schema) -> None:
        """Keep them."""
        self._given = given.to_arrow()

    def inexact(self, rows: pa.Table) -> dict[int, str]:
        """Return nothing: numbers are what they are."""
        del rows
        return {}

    def written(self, rows: pa.Table, form: str) -> list[Buffers]:
        """Return the buffers of each column, from its first row on; raise UnfitError where a value does not fit."""
        del form
        try:
            return [_of(_whole(column)) for column in fit(rows, self._given).columns]
        except DataError as error:
            raise UnfitError(str(error)) from None

    def read(
        self, data: tuple[int, Sequence[Sequence[bytes]]], form: str, schema: Schema, ignored: Collection[str] = ()
    ) -> tuple[pa.Table, dict[int, str]]:
        """Return so many rows of buffers, without those that have a null where none may be, and why these do not fit.

        Raises DataError where the buffers are none of these columns.
        """
        del form, ignored
        count, buffers = data
        arrow = schema.to_arrow()
        if len(buffers) != len(arrow):
            raise DataError(f"the plugin returned {len(buffers)} columns for the {len(arrow)} of the output")
        arrays = [_array(field, count, one) for field, one in zip(arrow, buffers, strict=True)]
        bare = pa.schema([(f.name, f.type) for f in arrow])
        table = pa.Table.from_arrays(arrays, schema=bare)
        unfit = _nulls(table, arrow)
        if unfit:
            table = table.take(pa.array([n for n in range(count) if n not in unfit], pa.int64()))
        return table.cast(arrow), unfit


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()  # which copies one chunk, too


def _of(array: pa.Array) -> Buffers:
    """Return the buffers of an array; those that do not begin at a byte of their own are copied."""
    kind = array.type
    bits = pa.types.is_boolean(kind)
    if array.offset % _BITS and (array.null_count or bits):
        array = pa.concat_arrays([array])
    validity, first, *rest = array.buffers()
    at, count = array.offset, len(array)
    told = _part(validity, at // _BITS, -(-count // _BITS)) if array.null_count else _NOTHING
    if bits:
        return told, _NOTHING, _part(first, at // _BITS, -(-count // _BITS))
    if not _offsets(kind):
        width = kind.bit_width // _BITS
        return told, _NOTHING, _part(first, at * width, count * width)
    offsets = _part(first, at * _OFFSET_BYTES, (count + 1) * _OFFSET_BYTES)
    if not count or offsets.cast("i")[0]:
        array = pa.concat_arrays([array])  # offsets begin at 0
        offsets = _part(array.buffers()[1], 0, (count + 1) * _OFFSET_BYTES) or memoryview(bytes(_OFFSET_BYTES))
        rest = array.buffers()[2:]
        at = 0
    return told, offsets, _part(rest[0], 0, offsets.cast("i")[count])


def _part(buffer: pa.Buffer | None, start: int, size: int) -> memoryview:
    return memoryview(buffer).cast("B")[start : start + size] if buffer is not None and size else _NOTHING


def _array(field: pa.Field, count: int, buffers: Sequence[bytes]) -> pa.Array:
    """Make an array of what a plugin says; nothing of it is believed."""
    kind = field.type
    validity, offsets, values = map(len, buffers)
    width = 1 if pa.types.is_boolean(kind) or _offsets(kind) else kind.bit_width // _BITS
    least = -(-count // _BITS) if pa.types.is_boolean(kind) else 0 if _offsets(kind) else count * width
    if values < least or (validity and validity < -(-count // _BITS)):
        raise DataError(f"the plugin returned too few values of column {field.name!r} for {count} rows")
    if _offsets(kind) and offsets < (count + 1) * _OFFSET_BYTES:
        raise DataError(f"the plugin returned {offsets // _OFFSET_BYTES} offsets of {field.name!r} for {count} rows")
    made = [pa.py_buffer(one) for one in buffers]
    parts = [made[0] if validity else None, *([made[1]] if _offsets(kind) else []), made[2]]
    try:
        array = pa.Array.from_buffers(kind, count, parts)
        array.validate(full=True)
    except pa.ArrowException as error:
        raise DataError(f"what the plugin returned as column {field.name!r} is no {kind}: {error}") from None
    return array


def _nulls(table: pa.Table, schema: pa.Schema) -> dict[int, str]:
    """Return the rows with a null where none may be."""
    import pyarrow.compute as pc

    found: dict[int, str] = {}
    for field in schema:
        column = table.column(field.name)
        if column.null_count and not field.nullable:
            why = f"column {field.name!r} is null, and may not be"
            found |= dict.fromkeys(pc.indices_nonzero(pc.is_null(column)).to_pylist(), why)
    return found


__all__ = ["BUFFERS", "Arrays", "UnfitError", "crosses", "refuse_others"]
