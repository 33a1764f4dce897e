"""Slices of a buffer as arrays of Arrow, for decoders that find where the values of a whole column stand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa

from dataflare.errors import DataError

Integers = np.ndarray[Any, np.dtype[np.int64]]
Bytes = np.ndarray[Any, np.dtype[np.uint8]]
Flags = np.ndarray[Any, np.dtype[np.bool_]]

_INT32_MAX = 2**31 - 1


def gathered(data: pa.Buffer, starts: Integers, ends: Integers, valid: Flags | None) -> pa.Array:
    """Return slices of a buffer as an array of binary; they must be in its order. Null where not `valid`.

    The bytes between the values are values of an array too, and are left out of it: so Arrow does the copying.
    """
    count = len(starts)
    if not count:
        return pa.array([], pa.binary())
    if data.size > _INT32_MAX:  # a message has a gigabyte at most, and what is taken with it is bounded
        raise DataError("there are more than two gigabytes of changes at once", hint="report it")
    offsets = np.empty((count, 2), np.int32)
    offsets[:, 0], offsets[:, 1] = starts, ends
    spread = pa.Array.from_buffers(pa.binary(), 2 * count - 1, [None, pa.py_buffer(offsets), data])
    chosen = np.arange(0, 2 * count - 1, 2, dtype=np.int32)
    return spread.take(pa.array(chosen, mask=None if valid is None or valid.all() else ~valid))


def whole(texts: pa.Array) -> tuple[Integers, Bytes]:
    """Return where each of an array of binary begins, with the end, and the bytes of all."""
    _, offsets, data = texts.buffers()
    bounds = np.frombuffer(offsets, np.int32)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    found = np.zeros(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    return bounds - bounds[0], found[bounds[0] : bounds[-1]]


def hex_texts(numbers: Integers) -> pa.Array:
    """Return numbers that are not negative as 16 hexadecimal digits: texts that sort as they do."""
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    nibbles = (numbers[:, None] >> np.arange(60, -1, -4)) & 15
    offsets = np.arange(0, 16 * len(numbers) + 1, 16, dtype=np.int32)
    return pa.Array.from_buffers(
        pa.string(), len(numbers), [None, pa.py_buffer(offsets), pa.py_buffer(np.ascontiguousarray(digits[nibbles]))]
    )


__all__ = ["Bytes", "Flags", "Integers", "gathered", "hex_texts", "whole"]
