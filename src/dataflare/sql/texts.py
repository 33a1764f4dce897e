"""Texts of values as databases take them, where Arrow would write them otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

_PLAIN_SCALE_MAX = 6
"""Up to so many digits behind the point, Arrow writes decimals without an exponent."""


def decimal_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return decimals with all their digits, and no exponent."""
    import pyarrow as pa

    if 0 <= column.type.scale <= _PLAIN_SCALE_MAX:
        return column.cast(pa.string())
    return pa.chunked_array([[None if v is None else format(v, "f") for v in column.to_pylist()]], pa.string())


def duration_texts(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return intervals as ISO durations."""
    import pyarrow as pa

    found = (None if v is None else f"P{v[0]}M{v[1]}DT{v[2] / 1_000_000_000:.6f}S" for v in column.to_pylist())
    return pa.chunked_array([list(found)], pa.string())


def refuse_nan(column: pa.ChunkedArray, name: str, database: str, *, infinite: bool = True) -> None:
    """Raise DataError if a column of floats holds NaN, or an infinity where the database knows none."""
    import pyarrow.compute as pc

    lacks = [("NaN", pc.is_nan), *([] if infinite else [("infinity", pc.is_inf)])]
    for what, judge in lacks:
        if pc.any(judge(column)).as_py():
            raise DataError(
                f"{name} holds {what}, which {database} cannot keep", hint="make it null in a mapping before"
            )


__all__ = ["decimal_texts", "duration_texts", "refuse_nan"]
