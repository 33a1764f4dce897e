"""Dates and times out of the bytes of a log, as the texts that the server would send."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dataflare.errors import DataError
from dataflare.sql.spans import gathered

if TYPE_CHECKING:
    from dataflare.sql.spans import Bytes, Flags, Integers

_DATETIME_ZERO, _TIME_ZERO = 0x8000000000, 0x800000
"""Numbers from there on are not negative."""
_MICROSECONDS = 6
_THREE_DIGITS = 100


def date_texts(raw: Bytes, valid: Flags, *, zero_is_null: bool) -> pa.Array:
    """Return days."""
    number = raw[:, 0] | raw[:, 1].astype(np.int64) << 8 | raw[:, 2].astype(np.int64) << 16
    year, month, day = number >> 9, number >> 5 & 15, number & 31
    if zero_is_null:
        valid = valid & (month > 0) & (day > 0)
    return _texts(_day(year, month, day), valid)


def datetime_texts(raw: Bytes, valid: Flags, digits: int, *, zero_is_null: bool) -> pa.Array:
    """Return days with a clock; `digits` behind the second."""
    number = _big(raw[:, :5]) - _DATETIME_ZERO
    days, clock = number >> 17, number & 0x1FFFF
    months, day = days >> 5, days & 31
    year, month = months // 13, months % 13
    if zero_is_null:
        valid = valid & (month > 0) & (day > 0)
    blank = _letter(" ", len(raw))
    parts = [*_day(year, month, day), blank, *_clock(clock >> 12, clock), *_fraction(_big(raw[:, 5:]), digits)]
    return _texts(parts, valid)


def instants(raw: Bytes, valid: Flags, digits: int, wanted: str, *, zero_is_null: bool) -> pa.Array:
    """Return instants, or their texts in UTC where another type is wanted."""
    seconds = _big(raw[:, :4])
    rest = _big(raw[:, 4:])
    micros = seconds * 1_000_000 + rest * 10 ** (_MICROSECONDS - 2 * ((digits + 1) // 2))
    none = (micros == 0) & valid
    if none.any():
        if zero_is_null:
            valid = valid & ~none
        elif wanted == "timestamp":
            raise DataError("a timestamp is 0000-00-00", hint="zero_dates: null reads it as null")
    found = pa.array(micros, mask=None if valid.all() else ~valid).cast(pa.timestamp("us"))
    if wanted == "timestamp":
        return found.cast(pa.timestamp("us", "UTC"))
    import pyarrow.compute as pc

    texts = pc.utf8_slice_codeunits(found.cast(pa.string()), 0, 19 + (digits + 1 if digits else 0))
    zero = "0000-00-00 00:00:00" + ("." + "0" * digits if digits else "")
    return pc.if_else(pa.array(none), zero, texts) if none.any() else texts


def time_texts(raw: Bytes, valid: Flags, digits: int) -> pa.Array:
    """Return times, which may be negative, and longer than a day."""
    behind = raw.shape[1] - 3
    number = _big(raw) - (_TIME_ZERO << 8 * behind)
    negative, number = number < 0, np.abs(number)
    clock, rest = number >> 8 * behind, number & (1 << 8 * behind) - 1
    hours = clock >> 12 & 0x3FF
    minus = _letter("-", len(raw))
    hundreds = (hours // _THREE_DIGITS + ord("0")).astype(np.uint8)[:, None]
    shown = np.where(hours < _THREE_DIGITS, ord("-"), hundreds[:, 0]).astype(np.uint8)[:, None]
    letters = np.concatenate([minus, shown, *_clock(hours % _THREE_DIGITS, clock), *_fraction(rest, digits)], axis=1)
    starts = np.where(hours < _THREE_DIGITS, 2, 1) - negative
    base = np.arange(len(letters)) * letters.shape[1]
    ends = base + letters.shape[1]
    return gathered(pa.py_buffer(np.ascontiguousarray(letters)), base + starts, ends, valid).cast(pa.string())


def _big(raw: Bytes) -> Integers:
    found = np.zeros(len(raw), np.int64)
    for byte in range(raw.shape[1]):
        found = found << 8 | raw[:, byte]
    return found


def _letter(letter: str, count: int) -> Bytes:
    return np.full((count, 1), ord(letter), np.uint8)


def _digits(numbers: Integers, count: int) -> Bytes:
    powers = 10 ** np.arange(count - 1, -1, -1)
    return (numbers[:, None] // powers % 10 + ord("0")).astype(np.uint8)


def _day(year: Integers, month: Integers, day: Integers) -> list[Bytes]:
    dash = _letter("-", len(year))
    return [_digits(year, 4), dash, _digits(month, 2), dash, _digits(day, 2)]


def _clock(hours: Integers, packed: Integers) -> list[Bytes]:
    colon = _letter(":", len(hours))
    return [_digits(hours, 2), colon, _digits(packed >> 6 & 63, 2), colon, _digits(packed & 63, 2)]


def _fraction(rest: Integers, digits: int) -> list[Bytes]:
    """An odd number of digits is kept as one more."""
    if not digits:
        return []
    return [_letter(".", len(rest)), _digits(rest // 10 ** (digits % 2), digits)]


def _texts(parts: list[Any], valid: Flags) -> pa.Array:
    letters = np.ascontiguousarray(np.concatenate(parts, axis=1))
    ends = np.arange(1, len(letters) + 1) * letters.shape[1]
    return gathered(pa.py_buffer(letters), ends - letters.shape[1], ends, valid).cast(pa.string())


__all__ = ["date_texts", "datetime_texts", "instants", "time_texts"]
