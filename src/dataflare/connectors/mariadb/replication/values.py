"""The values of a column out of the bytes of a log: as the server would send their texts, or as Arrow at once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataflare.connectors.mariadb.replication import table_maps as log
from dataflare.connectors.mariadb.replication.kinds import FIXED, UNKNOWN
from dataflare.connectors.mariadb.replication.times import date_texts, datetime_texts, instants, time_texts
from dataflare.connectors.mariadb.values import incoming
from dataflare.errors import DataError, StateError, UnavailableError
from dataflare.schema import arrow_type
from dataflare.sql.spans import gathered, whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from dataflare.connectors.mariadb.replication.table_maps import LogColumn
    from dataflare.connectors.mariadb.replication.walking import Spans
    from dataflare.sql.spans import Bytes, Flags, Integers

_INTEGERS = (log.TINY, log.SHORT, log.INT24, log.LONG, log.LONGLONG)
_FAST_DIGITS = 18
"""Decimals of so many digits are whole numbers of 64 bits."""
_ASKED = {"vector": "vec_totext({})", "inet6": "inet6_ntoa({})", "inet4": "inet6_ntoa({})"}


class Server(Protocol):
    """What the server is asked for that only it knows."""

    def texts_of(self, values: pa.Array, expression: str) -> pa.Array:
        """Return what an expression makes of each of some values, which are bytes; `{}` stands for one."""
        ...

    def charset(self, collation: int) -> str:
        """Return the character set of a collation by its number."""
        ...

    def letters(self, charset: str) -> Sequence[str] | None:
        """Return the letter of each byte; None for a set of which a letter has several."""
        ...


@dataclass(frozen=True, slots=True)
class Wanted:
    """A planned column: the type text, its hidden type (`kinds`), and whether days that are none become null."""

    name: str
    type: str
    kind: str
    zero_is_null: bool


def decoded(octets: Bytes, spans: Spans, column: LogColumn, wanted: Wanted, server: Server) -> pa.Array:
    """Return the values of a column as its planned type; raise DataError for one that is none."""
    found = _found(octets, spans, column, wanted, server)
    kind, t = arrow_type(wanted.type), pa.types
    if t.is_binary(found.type) or t.is_string(found.type):
        return incoming(found, wanted.type, wanted.name)
    if found.type.equals(kind):
        return found
    same = (t.is_decimal, t.is_floating, t.is_integer)
    if any(is_so(found.type) and is_so(kind) for is_so in same):
        try:
            return found.cast(kind)
        except pa.ArrowInvalid:
            raise DataError(f"a value of {wanted.name} is no {wanted.type}", hint="let its column be wider") from None
    return incoming(found.cast(pa.string()), wanted.type, wanted.name)


def _found(octets: Bytes, spans: Spans, column: LogColumn, wanted: Wanted, server: Server) -> pa.Array:
    size = column.size()
    if size is None:
        return _long(octets, spans, column, wanted, server)
    if column.type in (log.ENUM, log.SET):
        return _words(octets, spans, column, server)
    raw = _raw(octets, spans, size)
    read = _READERS.get(column.type)
    if read is None:
        hint = "report it with the table's columns"
        raise UnavailableError(f"the log has {wanted.name} in a form that is not read", hint=hint)
    return read(raw, spans.valid, column, wanted)


def _raw(octets: Bytes, spans: Spans, size: int) -> Bytes:
    """Return the bytes of values of a fixed length, a row for each; those of nulls mean nothing."""
    places = spans.starts[:, None] + np.arange(size)
    return np.ascontiguousarray(octets[places if spans.valid.all() else np.where(spans.valid[:, None], places, 0)])


# ---- numbers ----------------------------------------------------------------------------------------------------


def _mask(valid: Flags) -> Flags | None:
    return None if valid.all() else ~valid


def _integers(raw: Bytes, *, unsigned: bool) -> Integers:
    size = raw.shape[1]
    if size == 3:  # noqa: PLR2004 - mediumint; its sign stands in the highest bit of four bytes
        wide = np.zeros((len(raw), 4), np.uint8)
        wide[:, 1:] = raw
        shifted: Integers = wide.view("<u4" if unsigned else "<i4")[:, 0] >> 8
        return shifted
    found: Integers = raw.view(f"<{'u' if unsigned else 'i'}{size}")[:, 0]
    return found


def _little(raw: Bytes) -> Integers:
    wide = np.zeros((len(raw), 8), np.uint8)
    wide[:, : raw.shape[1]] = raw
    found: Integers = wide.view("<u8")[:, 0]
    return found


def _big(raw: Bytes) -> Integers:
    return _little(raw[:, ::-1])


def _texts_of_years(years: Integers, valid: Flags) -> pa.Array:
    texts = pc.utf8_lpad(pa.array(years, mask=_mask(valid)).cast(pa.string()), 4, "0")
    return texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts


def _decimals(raw: Bytes, valid: Flags, precision: int, scale: int, *, as_number: bool) -> pa.Array:
    """Digits stand in groups of nine, the highest first; of a negative number all bits are inverted but the first."""
    raw = raw.copy()
    negative = raw[:, 0] < 0x80  # noqa: PLR2004 - the highest bit
    raw[:, 0] ^= 0x80
    raw[negative] ^= 0xFF
    groups, at = [], 0
    first, rest = divmod(precision - scale, log.DIGITS_WHOLE)
    counts = [rest] * bool(rest) + [9] * first
    first, rest = divmod(scale, log.DIGITS_WHOLE)
    counts += [9] * first + [rest] * bool(rest)
    for digits in counts:
        size = log.part_bytes(digits)
        groups.append(_big(raw[:, at : at + size]).astype(np.int64))
        at += size
    if as_number and precision <= _FAST_DIGITS:
        total = np.zeros(len(raw), np.int64)
        for digits, group in zip(counts, groups, strict=True):
            total = total * 10**digits + group
        return _of_digits(np.where(negative, -total, total), valid, precision, scale)
    texts = _decimal_texts(groups, counts, negative, valid, scale)
    return texts.cast(pa.decimal128(precision, scale)) if as_number and precision <= 38 else texts  # noqa: PLR2004


def _of_digits(numbers: Integers, valid: Flags, precision: int, scale: int) -> pa.Array:
    words = np.empty((len(numbers), 2), np.int64)
    words[:, 0], words[:, 1] = numbers, numbers >> 63
    bits = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))
    return pa.Array.from_buffers(pa.decimal128(precision, scale), len(numbers), [bits, pa.py_buffer(words)])


def _decimal_texts(
    groups: Sequence[Integers], counts: Sequence[int], negative: Flags, valid: Flags, scale: int
) -> pa.Array:
    columns: list[Any] = []
    for digits, group in zip(counts, groups, strict=True):
        columns += [group // 10**power % 10 for power in range(digits - 1, -1, -1)]
    zero = np.zeros(len(negative), np.int64)
    whole_part = [zero] if len(columns) > scale else [zero, zero]  # a zero stands before the point
    found: Integers = np.stack([*whole_part, *columns], axis=1)
    before = found.shape[1] - scale
    shown = found[:, 1:before] != 0
    shown[:, -1] = True
    start = 1 + shown.argmax(axis=1)
    letters = (found + ord("0")).astype(np.uint8)
    if scale:
        point = np.full((len(letters), 1), ord("."), np.uint8)
        letters = np.concatenate([letters[:, :before], point, letters[:, before:]], axis=1)
    letters[np.flatnonzero(negative), start[negative] - 1] = ord("-")
    return pieces(letters, start - negative, np.full(len(letters), letters.shape[1]), valid)


def pieces(letters: Bytes, starts: Integers, ends: Integers, valid: Flags) -> pa.Array:
    """Return texts of which each is a piece of its row of letters."""
    base = np.arange(len(letters)) * letters.shape[1]
    return gathered(pa.py_buffer(np.ascontiguousarray(letters)), base + starts, base + ends, valid).cast(pa.string())


def _integer(raw: Bytes, valid: Flags, column: LogColumn, wanted: Wanted) -> pa.Array:
    del wanted
    return pa.array(_integers(raw, unsigned=column.unsigned), mask=_mask(valid))


def _year(raw: Bytes, valid: Flags, column: LogColumn, wanted: Wanted) -> pa.Array:
    del column, wanted
    numbers = raw[:, 0].astype(np.int64)
    return _texts_of_years(np.where(numbers == 0, 0, numbers + 1900), valid)


def _float(raw: Bytes, valid: Flags, column: LogColumn, wanted: Wanted) -> pa.Array:
    del wanted
    return pa.array(raw.view("<f4" if column.type == log.FLOAT else "<f8")[:, 0], mask=_mask(valid))


def _decimal(raw: Bytes, valid: Flags, column: LogColumn, wanted: Wanted) -> pa.Array:
    precision, scale = column.meta
    return _decimals(raw, valid, precision, scale, as_number=wanted.type.startswith("decimal"))


def _bit(raw: Bytes, valid: Flags, column: LogColumn, wanted: Wanted) -> pa.Array:
    del column, wanted
    return pa.array(_big(raw), mask=_mask(valid))


def _date(raw: Bytes, valid: Flags, column: LogColumn, wanted: Wanted) -> pa.Array:
    del column
    return date_texts(raw, valid, zero_is_null=wanted.zero_is_null)


def _datetime(raw: Bytes, valid: Flags, column: LogColumn, wanted: Wanted) -> pa.Array:
    return datetime_texts(raw, valid, column.digits, zero_is_null=wanted.zero_is_null)


def _timestamp(raw: Bytes, valid: Flags, column: LogColumn, wanted: Wanted) -> pa.Array:
    return instants(raw, valid, column.digits, wanted.type, zero_is_null=wanted.zero_is_null)


def _time(raw: Bytes, valid: Flags, column: LogColumn, wanted: Wanted) -> pa.Array:
    del wanted
    return time_texts(raw, valid, column.digits)


_READERS: dict[int, Callable[[Bytes, Flags, LogColumn, Wanted], pa.Array]] = {
    **dict.fromkeys(_INTEGERS, _integer),
    **dict.fromkeys((log.FLOAT, log.DOUBLE), _float),
    log.YEAR: _year,
    log.DECIMAL: _decimal,
    log.BIT: _bit,
    log.DATE: _date,
    log.DATETIME2: _datetime,
    log.TIMESTAMP2: _timestamp,
    log.TIME2: _time,
}


# ---- texts and bytes --------------------------------------------------------------------------------------------


def _words(octets: Bytes, spans: Spans, column: LogColumn, server: Server) -> pa.Array:
    """Return the words of an enum, or those of a set with commas between."""
    numbers, valid = _little(_raw(octets, spans, column.meta[1])), spans.valid
    known, which = np.unique(np.where(valid, numbers, 0), return_inverse=True)
    raw = pa.array(column.labels, pa.binary())
    labels = _letters(raw, column.collation, server).cast(pa.string()).to_pylist()
    if column.type == log.ENUM:
        if known[-1] > len(labels):
            raise DataError(f"the log has a word of {column.name} that its column lacks", hint="read the table anew")
        told = ["" if n == 0 else labels[n - 1] for n in known.tolist()]
    else:
        told = [",".join(w for bit, w in enumerate(labels) if n >> bit & 1) for n in known.tolist()]
    return pa.array(told, pa.string()).take(pa.array(which, mask=_mask(valid)))


def _long(octets: Bytes, spans: Spans, column: LogColumn, wanted: Wanted, server: Server) -> pa.Array:
    values = gathered(pa.py_buffer(octets), spans.starts, spans.ends, spans.valid)
    if column.type == log.GEOMETRY:
        return server.texts_of(values, "st_astext({})")
    if (kind := wanted.kind) == UNKNOWN and values.null_count < len(values):
        raise StateError(
            f"{wanted.name} is logged as bytes, and its column is another since: it was a uuid, an address or a vector",
            hint="read the table anew: give the workflow another id; mode: hybrid reads what is there",
        )
    if kind in FIXED:
        values = _padded(values, FIXED[kind])
    if kind == "uuid":
        return _uuids(values)
    if kind in _ASKED:
        return server.texts_of(values, _ASKED[kind])
    if column.collation == log.BINARY:
        return _padded(values, column.width()) if column.type == log.STRING else values
    return _letters(values, column.collation, server)


def _letters(values: pa.Array, collation: int, server: Server) -> pa.Array:
    """Return texts as UTF-8."""
    if collation == log.BINARY:
        return values
    charset = server.charset(collation)
    if charset in ("utf8mb4", "utf8mb3", "utf8", "ascii"):
        return values
    letters = server.letters(charset)
    if letters is None:
        return server.texts_of(values, f"convert(convert({{}} using {charset}) using utf8mb4)")
    bounds, data = whole(values)
    table, sizes = np.zeros((256, 4), np.uint8), np.zeros(256, np.int64)
    for byte, letter in enumerate(letters):
        encoded = letter.encode()
        table[byte, : len(encoded)], sizes[byte] = list(encoded), len(encoded)
    lengths = np.concatenate([[0], np.cumsum(sizes[data])])
    kept = np.arange(4) < sizes[data][:, None]
    offsets = lengths[bounds].astype(np.int32)
    bits = None if values.null_count == 0 else pa.py_buffer(_bits(values))
    return pa.Array.from_buffers(
        pa.string(), len(values), [bits, pa.py_buffer(offsets), pa.py_buffer(table[data][kept])]
    )


def _bits(values: pa.Array) -> Any:
    return np.packbits(values.is_valid().to_numpy(zero_copy_only=False), bitorder="little")


def _padded(values: pa.Array, width: int) -> pa.Array:
    """Return bytes of a fixed length: the log leaves out the zeros at their end."""
    bounds, data = whole(values)
    sizes = np.diff(bounds)
    if not (sizes <= width).all():
        raise DataError("the log has a value that is longer than its column", hint="report it")
    full = np.zeros(len(values) * width, np.uint8)
    inside = np.arange(len(data)) - np.repeat(bounds[:-1], sizes)
    full[np.repeat(np.arange(len(values)) * width, sizes) + inside] = data
    offsets = (np.arange(len(values) + 1) * width).astype(np.int32)
    bits = None if values.null_count == 0 else pa.py_buffer(_bits(values))
    return pa.Array.from_buffers(pa.binary(), len(values), [bits, pa.py_buffer(offsets), pa.py_buffer(full)])


def _uuids(values: pa.Array) -> pa.Array:
    _, data = whole(values)
    raw = data.reshape(-1, 16)
    digits = np.frombuffer(b"0123456789abcdef", np.uint8)
    nibbles = np.stack([digits[raw >> 4], digits[raw & 15]], axis=2).reshape(-1, 32)
    dash = np.full((len(raw), 1), ord("-"), np.uint8)
    parts = [nibbles[:, :8], dash, nibbles[:, 8:12], dash, nibbles[:, 12:16], dash, nibbles[:, 16:20], dash]
    letters = np.concatenate([*parts, nibbles[:, 20:]], axis=1)
    valid = values.is_valid().to_numpy(zero_copy_only=False)
    return pieces(letters, np.zeros(len(raw), np.int64), np.full(len(raw), 36), valid)


__all__ = ["Server", "Wanted", "decoded", "pieces"]
