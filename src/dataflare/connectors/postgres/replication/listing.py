"""Arrays as PostgreSQL shows them, `{1,NULL,"a,b"}`, taken apart for a whole column at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dataflare.connectors.postgres.replication.spans import Flags, gathered, whole

if TYPE_CHECKING:
    from dataflare.connectors.postgres.replication.frames import Bytes, Integers

_QUOTE, _ESCAPE, _OPEN, _CLOSE, _COMMA = b'"\\{},'
_NULL = np.frombuffer(b"NULL", np.uint8)


def split(texts: pa.Array) -> tuple[pa.Array, np.ndarray[Any, np.dtype[np.int32]]]:
    """Return the items of all arrays as texts, and where each array begins among them (int32), with the end.

    An array that is null has no items. Raises ArrowInvalid for a text that is none, with a message for one of several
    dimensions, which Arrow would need another type for.
    """
    bounds, data = whole(texts)
    valid = texts.is_valid().to_numpy(zero_copy_only=False)
    data, bounds, plain = _without_escapes(data, bounds)
    inside = np.cumsum(plain & (data == _QUOTE)) & 1 == 1
    plain &= ~inside
    opens, closes = np.flatnonzero(plain & (data == _OPEN)), np.flatnonzero(plain & (data == _CLOSE))
    commas = np.flatnonzero(plain & (data == _COMMA))
    begins, ends = bounds[:-1][valid], bounds[1:][valid]
    per_value = np.searchsorted(opens, ends) - np.searchsorted(opens, begins)
    if (per_value > 1).any():
        raise pa.ArrowInvalid("an array has several dimensions")
    if len(opens) != len(begins) or not np.array_equal(closes, ends - 1) or not (opens >= begins).all():
        raise pa.ArrowInvalid
    full = closes > opens + 1
    starts = np.sort(np.concatenate([opens[full], commas])) + 1
    stops = np.sort(np.concatenate([closes[full], commas]))
    if not (starts <= stops).all():
        raise pa.ArrowInvalid
    counts = np.zeros(len(texts), np.int64)
    counts[valid] = np.where(full, np.searchsorted(commas, ends) - np.searchsorted(commas, begins) + 1, 0)
    offsets = np.zeros(len(texts) + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
    return _items(data, starts, stops), offsets


def _without_escapes(data: Bytes, bounds: Integers) -> tuple[Bytes, Integers, Flags]:
    """Return the bytes without backslashes that escape the next, and which bytes are not escaped."""
    at = np.flatnonzero(data == _ESCAPE)
    if not len(at):
        return data, bounds, np.ones(len(data), bool)
    first = np.concatenate([[True], np.diff(at) != 1])
    run_starts = np.maximum.accumulate(np.where(first, np.arange(len(at)), 0))
    escapers = at[(np.arange(len(at)) - run_starts) % 2 == 0]
    if escapers[-1] == len(data) - 1:
        raise pa.ArrowInvalid
    kept, plain = np.ones(len(data), bool), np.ones(len(data), bool)
    kept[escapers] = False
    plain[escapers + 1] = False
    moved = np.concatenate([[0], np.cumsum(kept)])
    return data[kept], moved[bounds], plain[kept]


def _items(data: Bytes, starts: Integers, stops: Integers) -> pa.Array:
    """Return slices of bytes as texts; without their quotes, and null where they say so without any."""
    if not len(starts):
        return pa.array([], pa.binary())
    padded = np.concatenate([data, np.zeros(len(_NULL), np.uint8)])
    quoted = padded[starts] == _QUOTE
    null = stops - starts == len(_NULL)
    at = starts[null]
    null[null] = (padded[at[:, None] + np.arange(len(_NULL))] == _NULL).all(axis=1)
    return gathered(pa.py_buffer(padded), starts + quoted, stops - quoted, ~null)


__all__ = ["split"]
