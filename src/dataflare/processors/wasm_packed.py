"""Numbers of columns as the base64 of their 8 bytes each, which scripts read and write quicker than digits."""

from __future__ import annotations

from binascii import Error, a2b_base64, b2a_base64
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.errors import DataError
from dataflare.processors.python_modes import typed_array

if TYPE_CHECKING:
    from collections.abc import Sequence

NULLS_SHARE_MAX = 8
"""Of the rows at most one in so many may be null: the places of nulls are written as digits."""
_BYTES = 8
_DIGITS_MAX = 1e21
"""From here on JavaScript writes whole numbers with an exponent."""


def packed(column: pa.ChunkedArray, *, whole: bool = True) -> str | None:
    """Return numbers that a float64 holds, as JSON of their bytes and of where nulls are; None for other columns.

    `whole`: those of whole numbers, too, which a script gets as floats.
    """
    import pyarrow.compute as pc

    kind = column.type
    if not ((whole and pa.types.is_integer(kind)) or pa.types.is_float64(kind)) or not len(column):
        return None
    if column.null_count * NULLS_SHARE_MAX > len(column):
        return None
    numbers = column.cast(pa.float64(), safe=False)
    if pa.types.is_floating(kind) and not pc.all(pc.is_finite(numbers)).as_py():
        return None
    filled = numbers if not column.null_count else pc.fill_null(numbers, 0.0)
    array = filled.chunk(0) if filled.num_chunks == 1 else filled.combine_chunks()
    data = memoryview(array.buffers()[1]).cast("B")[array.offset * _BYTES : (array.offset + len(array)) * _BYTES]
    text = b2a_base64(data, newline=False).decode()
    nulls = pc.indices_nonzero(column.is_null()).to_pylist() if column.null_count else ()
    return f'{{"f64":"{text}","nulls":{nulls}}}' if nulls else f'{{"f64":"{text}"}}'


def unpacked(values: Any, name: str) -> Sequence[Any] | pa.Array:
    """Return a list as it came, or packed numbers as an array of float64; raise DataError where it is neither."""
    if isinstance(values, list):
        return values
    try:
        data = a2b_base64(values["f64"], strict_mode=True)
    except (Error, ValueError, KeyError, TypeError):
        raise DataError(f"what the plugin returned as column {name!r} is no list") from None
    if len(data) % _BYTES:
        raise DataError(f"what the plugin returned as column {name!r} is no list of numbers")
    return pa.Array.from_buffers(pa.float64(), len(data) // _BYTES, [None, pa.py_buffer(data)])


def listed(values: Sequence[Any] | pa.Array) -> Sequence[Any]:
    """Return values of a column one by one, numbers as their digits would have been read."""
    if not isinstance(values, pa.Array):
        return values
    return [int(v) if v.is_integer() and abs(v) < _DIGITS_MAX else v for v in values.to_pylist()]


def array_of(values: Sequence[Any] | pa.Array, kind: pa.DataType) -> pa.Array:
    """Return an array of a type; raise what Arrow does where a value does not fit."""
    if isinstance(values, pa.Array) and (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        return values.cast(kind)
    return typed_array(listed(values), kind)


__all__ = ["array_of", "listed", "packed", "unpacked"]
