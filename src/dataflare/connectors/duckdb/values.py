"""From DuckDB's Arrow to the planned types."""

from __future__ import annotations

import pyarrow as pa

from dataflare.sql.fitting import infinite, read_as

_DAYS_MAX, _MICROSECONDS_MAX = (1 << 31) - 1, (1 << 63) - 1
"""Infinities are the greatest numbers, and their negatives."""


def incoming(array: pa.Array, text: str, name: str) -> pa.Array:
    """Return an array of an answer as a type text says; raise DataError for a value that it cannot hold."""
    t = pa.types
    if t.is_timestamp(array.type) or t.is_date(array.type):
        _refuse_infinity(array, name)
    return read_as(array, text, name)


def _refuse_infinity(array: pa.Array, name: str) -> None:
    import pyarrow.compute as pc

    days = pa.types.is_date(array.type)
    most = _DAYS_MAX if days else _MICROSECONDS_MAX
    found = pc.min_max(array.cast(pa.int32() if days else pa.int64()))
    if found["min"].as_py() is not None and (found["min"].as_py() <= -most or found["max"].as_py() >= most):
        raise infinite(name)


__all__ = ["incoming"]
