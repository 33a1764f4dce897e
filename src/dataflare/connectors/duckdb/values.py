"""From DuckDB's Arrow to the planned types."""

from __future__ import annotations

import pyarrow as pa

from dataflare.errors import DataError
from dataflare.schema import arrow_type

_DAYS_MAX, _MICROSECONDS_MAX = (1 << 31) - 1, (1 << 63) - 1
"""Infinities are the greatest numbers, and their negatives."""


def incoming(array: pa.Array, text: str, name: str) -> pa.Array:
    """Return an array of an answer as a type text says; raise DataError for a value that it cannot hold."""
    kind, t = arrow_type(text), pa.types
    if t.is_timestamp(array.type) or t.is_date(array.type):
        _refuse_infinity(array, name)
    if array.type.equals(kind):
        return array
    try:
        return array.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # its text shows the value, which may be private
        raise DataError(
            f"a value of {name} is no {text}",
            hint=f"say what the column holds, such as types: {{{name}: string}}",
        ) from None


def _refuse_infinity(array: pa.Array, name: str) -> None:
    import pyarrow.compute as pc

    days = pa.types.is_date(array.type)
    most = _DAYS_MAX if days else _MICROSECONDS_MAX
    found = pc.min_max(array.cast(pa.int32() if days else pa.int64()))
    if found["min"].as_py() is not None and (found["min"].as_py() <= -most or found["max"].as_py() >= most):
        raise DataError(f"{name} holds infinity, which no time is", hint=f"read it as text: types: {{{name}: string}}")


__all__ = ["incoming"]
