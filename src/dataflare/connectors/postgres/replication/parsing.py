"""Values from the texts in which PostgreSQL shows them, whole columns at a time, exactly as the source reads tables.

What Arrow parses by itself it does; years of more than four digits or before Christ, 24:00:00, intervals and arrays
take the longer way. A value that the planned type does not hold fails, by its table, its column and what kind of value
it is; the value itself stays out of the message (invariant 7).
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataflare.connectors.postgres.replication.listing import split
from dataflare.connectors.postgres.replication.spans import whole
from dataflare.errors import DataError
from dataflare.schema import arrow_type

if TYPE_CHECKING:
    from collections.abc import Callable

    from dataflare.connectors.postgres.replication.frames import Integers

    Parts = dict[str, Integers]

_DATE = r"(?P<y>\d+)-(?P<m>\d\d)-(?P<d>\d\d)"
_TIME = r"(?P<h>\d+):(?P<n>\d\d):(?P<s>\d\d)(?:\.(?P<f>\d{1,6}))?"
_PATTERNS = {
    "date": rf"^{_DATE}(?P<bc> BC)?$",
    "datetime": rf"^{_DATE} {_TIME}(?P<bc> BC)?$",
    "timestamp": rf"^{_DATE} {_TIME}\+00(?P<bc> BC)?$",
    "time": rf"^{_TIME}$",
    "interval": (
        r"^(?:(?P<y>[+-]?\d+) years?)? ?(?:(?P<m>[+-]?\d+) mons?)? ?(?:(?P<d>[+-]?\d+) days?)? ?"
        rf"(?:(?P<sign>[+-]?){_TIME})?$"
    ),
}
_MOMENTS = {"date": "date", "timestamp": "datetime", "timestamptz": "timestamp"}
"""What may be planned as another of them: it is cast as the server would, in UTC."""
_SECOND = 10**6
_NO_DIGIT = 255
_INFINITE = r"^[+-]?[iI]nf"


_arrow_type = lru_cache(1024)(arrow_type)


def parsed(texts: pa.Array, kind: str, source: str, name: str) -> pa.Array:
    """Return an array of the Arrow type of `kind` from texts, which are binary.

    `source` is the column's type in pg_type, "" where it is not known; `name` tells table and column in errors. Raises
    DataError.
    """
    if kind.startswith("list<"):
        return _list(texts, kind, source, name)
    shown_as = _MOMENTS.get(source, kind)
    try:
        if kind != shown_as and kind in _MOMENTS.values():
            return parsed(texts, shown_as, source, name).cast(_arrow_type(kind))
        if (make := _MAKERS.get(kind)) is not None:
            return make(texts)
        strings = texts.cast(pa.string())
        if kind in ("string", "json"):
            return _shown(strings, source)
        if source == "numeric" and "int" in kind:
            return strings.cast(pa.decimal128(38, 9)).cast(_arrow_type(kind))
        return strings.cast(_arrow_type(kind))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        raise _unfit(texts, kind, name) from None


def _shown(strings: pa.Array, source: str) -> pa.Array:
    """Return texts as a cast to text makes them, where that is not how a value is shown."""
    if source == "bool":
        return pc.if_else(pc.equal(strings, "t"), "true", "false")
    if source == "inet":
        bare = pc.invert(pc.match_substring(strings, "/"))
        length = pc.if_else(pc.match_substring(strings, ":"), "/128", "/32")
        return pc.if_else(bare, pc.binary_join_element_wise(strings, length, ""), strings)
    return strings


def _unfit(texts: pa.Array, kind: str, name: str) -> DataError:
    """Return the error for a column of which some value is not of its type; look for the kind of value."""
    try:
        strings = texts.cast(pa.string())
    except pa.ArrowInvalid:
        return DataError(f"{name}: a text is not UTF-8", hint="let the database's encoding be the one of its texts")

    def some(pattern: str) -> bool:
        return bool(pc.any(pc.match_substring_regex(strings, pattern)).as_py())

    column = name.rpartition(".")[2]
    hint = f"say what the column holds, such as types: {{{column}: string}}"
    if some(_INFINITE):
        return DataError(f"{name}: infinity is no {kind}", hint=hint)
    if some("^NaN$"):
        return DataError(f"{name}: NaN is no {kind}", hint=hint)
    if kind.startswith("decimal") and not some(r"[^0-9.eE+-]"):
        return DataError(f"{name}: a number has more digits than {kind}", hint=hint)
    return DataError(f"{name}: a value is no {kind}", hint=hint)


def _bool(texts: pa.Array) -> pa.Array:
    true = pc.is_in(texts, pa.array([b"t", b"true"], texts.type))
    false = pc.is_in(texts, pa.array([b"f", b"false"], texts.type))
    if not pc.all(pc.or_(pc.or_(true, false), texts.is_null()), min_count=0).as_py():
        raise pa.ArrowInvalid
    return pc.if_else(texts.is_valid(), true, pa.scalar(None, pa.bool_()))


def _binary(texts: pa.Array) -> pa.Array:
    """Return the bytes that hexadecimal digits behind a mark tell."""
    if not pc.all(pc.starts_with(texts.drop_null(), rb"\x"), min_count=0).as_py():
        raise pa.ArrowInvalid
    bounds, data = whole(texts)
    begins = bounds[:-1][texts.is_valid().to_numpy(zero_copy_only=False)]
    kept = np.ones(len(data), bool)
    kept[begins] = kept[begins + 1] = False
    table = np.full(256, _NO_DIGIT, np.uint8)
    for number, digits in enumerate(zip(b"0123456789abcdef", b"0123456789ABCDEF", strict=True)):
        table[list(digits)] = number
    nibbles = table[data[kept]]
    offsets = np.concatenate([[0], np.cumsum(kept)])[bounds]
    if (offsets % 2).any() or (nibbles == _NO_DIGIT).any():
        raise pa.ArrowInvalid
    octets = (nibbles[::2] << 4) | nibbles[1::2]
    buffers = [_validity(texts), pa.py_buffer((offsets // 2).astype(np.int32)), pa.py_buffer(octets)]
    return pa.Array.from_buffers(pa.binary(), len(texts), buffers)


def _validity(array: pa.Array) -> pa.Buffer:
    return pa.py_buffer(np.packbits(array.is_valid().to_numpy(zero_copy_only=False), bitorder="little"))


def _or(kind: str, slow: Callable[[Parts], Integers]) -> Callable[[pa.Array], pa.Array]:
    """Return what parses times as Arrow does, and those that it does not know by their parts, as numbers of `slow`."""
    arrow = arrow_type(kind)

    def make(texts: pa.Array) -> pa.Array:
        strings = texts.cast(pa.string())
        try:
            if kind != "time":
                return strings.cast(arrow)
            whole = pc.binary_join_element_wise("1970-01-01", strings, " ").cast(pa.timestamp("us"))
            return whole.cast(pa.int64()).cast(arrow)
        except pa.ArrowInvalid:
            numbers = slow(_parts(strings, kind))
            width = pa.int32() if kind == "date" else pa.int64()
            return pa.array(numbers, mask=strings.is_null().to_numpy(zero_copy_only=False)).cast(width).cast(arrow)

    return make


def _parts(strings: pa.Array, kind: str) -> Parts:
    """Return the numbers in texts of a kind, 0 where there is none; `sign` and `bc` are flags."""
    found = pc.extract_regex(strings, _PATTERNS[kind])
    if found.null_count != strings.null_count or pc.any(pc.equal(strings, "")).as_py():
        raise pa.ArrowInvalid
    parts = {}
    for field in found.type:
        texts = pc.fill_null(pc.struct_field(found, field.name), "")
        if field.name in ("bc", "sign"):
            parts[field.name] = pc.is_in(texts, pa.array([" BC", "-"])).to_numpy(zero_copy_only=False)
            continue
        if field.name == "f":
            texts = pc.utf8_rpad(texts, 6, "0")
        texts = pc.replace_substring_regex(texts, r"^\+", "")
        parts[field.name] = pc.if_else(pc.equal(texts, ""), "0", texts).cast(pa.int64()).to_numpy()
    return parts


def _days(p: Parts) -> Integers:
    """Return the days since 1970 of dates of our calendar, which the server extends to before it was made."""
    year = np.where(p["bc"], 1 - p["y"], p["y"]) - (p["m"] <= 2)  # noqa: PLR2004 - a year that begins in March
    era, month = year // 400, (p["m"] + 9) % 12
    of_era = year - era * 400
    of_year = (153 * month + 2) // 5 + p["d"] - 1
    days: Integers = era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468
    return days


def _microseconds(p: Parts) -> Integers:
    time: Integers = ((p["h"] * 60 + p["n"]) * 60 + p["s"]) * _SECOND + p["f"]
    return time


def _interval(texts: pa.Array) -> pa.Array:
    strings = texts.cast(pa.string())
    parts = _parts(strings, "interval")
    time = _microseconds(parts)
    if len(time) and (parts["h"].max() > 2_500_000 or time.max() > np.iinfo(np.int64).max // 1000):  # noqa: PLR2004
        raise pa.ArrowInvalid  # Arrow counts nanoseconds
    packed = np.zeros(len(time), [("months", "<i4"), ("days", "<i4"), ("nanoseconds", "<i8")])
    packed["months"], packed["days"] = parts["y"] * 12 + parts["m"], parts["d"]
    packed["nanoseconds"] = np.where(parts["sign"], -time, time) * 1000
    return pa.Array.from_buffers(pa.month_day_nano_interval(), len(time), [_validity(strings), pa.py_buffer(packed)])


def _list(texts: pa.Array, kind: str, source: str, name: str) -> pa.Array:
    try:
        items, offsets = split(texts)
    except pa.ArrowInvalid as error:
        told = str(error) or f"a value is no {kind}"
        column = name.rpartition(".")[2]
        raise DataError(f"{name}: {told}", hint=f"read it as text: types: {{{column}: string}}") from None
    inner = kind.removeprefix("list<").removesuffix(">")
    values = parsed(items, inner, source[1:] if source.startswith("_") else "", name)
    missing = texts.is_null() if texts.null_count else None
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=_arrow_type(kind), mask=missing)


_MAKERS: dict[str, Callable[[pa.Array], pa.Array]] = {
    "bool": _bool,
    "binary": _binary,
    "date": _or("date", _days),
    "datetime": _or("datetime", lambda p: _days(p) * 86_400 * _SECOND + _microseconds(p)),
    "timestamp": _or("timestamp", lambda p: _days(p) * 86_400 * _SECOND + _microseconds(p)),
    "time": _or("time", _microseconds),
    "interval": _interval,
}

__all__ = ["parsed"]
