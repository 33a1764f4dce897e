"""What the log says of a table before rows of it: its columns as they were there."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dataflare.connectors.mariadb.replication.places import malformed
from dataflare.errors import UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

TINY, SHORT, LONG, FLOAT, DOUBLE, LONGLONG, INT24, DATE, YEAR = 1, 2, 3, 4, 5, 8, 9, 10, 13
VARCHAR, BIT, TIMESTAMP2, DATETIME2, TIME2 = 15, 16, 17, 18, 19
JSON, DECIMAL, ENUM, SET, BLOB, STRING, GEOMETRY = 245, 246, 247, 248, 252, 254, 255
_META_BYTES = {
    **dict.fromkeys((FLOAT, DOUBLE, TIMESTAMP2, DATETIME2, TIME2, JSON, BLOB, GEOMETRY, 140), 1),
    **dict.fromkeys((VARCHAR, BIT, DECIMAL, STRING, ENUM, SET, 141), 2),
}
_NUMERIC = (TINY, SHORT, LONG, FLOAT, DOUBLE, LONGLONG, INT24, YEAR, DECIMAL)
_CHARACTERS = (VARCHAR, BLOB, STRING, GEOMETRY, JSON)
_FIXED = {TINY: 1, YEAR: 1, SHORT: 2, INT24: 3, DATE: 3, LONG: 4, FLOAT: 4, LONGLONG: 8, DOUBLE: 8}
_FRACTIONED = {TIMESTAMP2: 4, DATETIME2: 5, TIME2: 3}
_DIGIT_BYTES = (0, 1, 1, 2, 2, 3, 3, 4, 4, 4)
DIGITS_WHOLE = 9
"""So many digits of a decimal are one number of four bytes."""
_FULL = "set global binlog_row_metadata = 'FULL'; and in the server's settings, so that it stays"
BINARY = 63
"""The collation of bytes that are no text."""
_LONG_BYTES = 255


@dataclass(frozen=True, slots=True)
class LogColumn:
    """A column as the log describes it: `type` and `meta` are the server's own numbers.

    `labels` are the words of an enum or a set, in `collation`, which also tells how texts are written.
    """

    name: str
    type: int
    meta: tuple[int, ...] = ()
    unsigned: bool = False
    collation: int = BINARY
    labels: tuple[bytes, ...] = ()

    @property
    def digits(self) -> int:
        """How many digits of a second are kept."""
        return self.meta[0]

    def size(self) -> int | None:
        """Return how many bytes a value has; None where each value says it."""
        if self.type in _FIXED:
            return _FIXED[self.type]
        if self.type in _FRACTIONED:
            return _FRACTIONED[self.type] + (self.digits + 1) // 2
        if self.type == DECIMAL:
            return sum(decimal_bytes(*self.meta))
        if self.type in (ENUM, SET):
            return self.meta[1]
        return (self.meta[0] + self.meta[1] * 8 + 7) // 8 if self.type == BIT else None

    def prefix(self) -> int:
        """Return how many bytes say how long a value is, where each says it."""
        if self.type == VARCHAR:
            return 1 if self.meta[0] + self.meta[1] * 256 <= _LONG_BYTES else 2
        return (1 if self.width() <= _LONG_BYTES else 2) if self.type == STRING else self.meta[0]

    def width(self) -> int:
        """Return how many bytes a value of a fixed length has at most: two bits of it stand in the type, inverted."""
        return ((self.meta[0] & 0x30 ^ 0x30) << 4) | self.meta[1]


@dataclass(frozen=True, slots=True)
class TableMap:
    """A table as it was at a place of the log."""

    schema: str
    name: str
    columns: tuple[LogColumn, ...]

    def __str__(self) -> str:
        """Render as `schema.table`."""
        return f"{self.schema}.{self.name}"


def decimal_bytes(precision: int, scale: int) -> tuple[int, int]:
    """Return how many bytes a decimal takes before and behind the point."""
    return part_bytes(precision - scale), part_bytes(scale)


def part_bytes(digits: int) -> int:
    """Return how many bytes so many digits take."""
    return digits // DIGITS_WHOLE * 4 + _DIGIT_BYTES[digits % DIGITS_WHOLE]


class Reading:
    """Reads bytes from their beginning; raises DataError where they end too early."""

    def __init__(self, data: bytes, at: int = 0) -> None:
        """Begin at a place."""
        self._data, self.at = data, at

    def raw(self, size: int) -> bytes:
        """Return the next bytes."""
        found = self._data[self.at : self.at + size]
        if len(found) < size:
            raise malformed("an event ends too early")
        self.at += size
        return found

    def number(self, size: int) -> int:
        """Return the whole number of the next bytes."""
        return int.from_bytes(self.raw(size), "little")

    def packed(self) -> int:
        """Return a number of one byte, or of as many as it says."""
        first = self.number(1)
        return first if first < 251 else self.number({252: 2, 253: 3, 254: 8}[first])  # noqa: PLR2004 - the protocol

    def left(self) -> bool:
        """Tell whether there is more."""
        return self.at < len(self._data)


_HEAD = 8
"""Before the names: the number of the table, which is the session's own, and flags."""


def _name_pair(reading: Reading) -> tuple[str, str]:
    found = []
    for _ in range(2):
        found.append(reading.raw(reading.number(1)).decode("utf-8", "replace"))
        reading.raw(1)
    return found[0], found[1]


def peeked(body: bytes) -> tuple[str, str]:
    """Return database and table of the body of an event that describes a table."""
    return _name_pair(Reading(body, _HEAD))


def read_table_map(body: bytes) -> TableMap:
    """Read the body of an event that describes a table; raise UnavailableError where it tells no names of columns."""
    reading = Reading(body, _HEAD)
    schema, name = _name_pair(reading)
    types = reading.raw(reading.packed())
    metas = Reading(reading.raw(reading.packed()))
    columns = [_column(kind, tuple(metas.raw(_META_BYTES.get(kind, 0)))) for kind in types]
    reading.raw((len(types) + 7) // 8)
    told = {}
    while reading.left():
        field = reading.number(1)
        told[field] = reading.raw(reading.packed())
    if _NAMES not in told:
        raise UnavailableError(
            f"the log does not tell the columns of {schema}.{name}", hint=f"as an administrator: {_FULL}"
        )
    return TableMap(schema, name, tuple(_told(columns, told)))


_SIGNS, _CHARSET, _CHARSETS, _NAMES, _SETS, _ENUMS, _WORDS_CHARSET, _WORDS_CHARSETS = 1, 2, 3, 4, 5, 6, 10, 11


def _column(kind: int, meta: tuple[int, ...]) -> LogColumn:
    if kind == STRING and meta[0] in (ENUM, SET):
        kind = meta[0]
    return LogColumn("", kind, meta)


def _told(columns: Sequence[LogColumn], told: dict[int, bytes]) -> Iterator[LogColumn]:
    """Yield the columns with what the event says of them besides."""
    names = Reading(told[_NAMES])
    signs = iter([bool(byte >> bit & 1) for byte in told.get(_SIGNS, b"") for bit in range(7, -1, -1)])
    texts = _collations(told, _CHARSET, _CHARSETS)
    words = _collations(told, _WORDS_CHARSET, _WORDS_CHARSETS)
    labels = {SET: Reading(told.get(_SETS, b"")), ENUM: Reading(told.get(_ENUMS, b""))}
    counts = [0, 0]
    for column in columns:
        found = replace(column, name=names.raw(names.packed()).decode())
        if column.type in _NUMERIC:
            found = replace(found, unsigned=next(signs, False))
        elif column.type in _CHARACTERS:
            found = replace(found, collation=texts(counts[0]))
            counts[0] += 1
        elif column.type in labels:
            reading = labels[column.type]
            listed = tuple(reading.raw(reading.packed()) for _ in range(reading.packed()))
            found = replace(found, collation=words(counts[1]), labels=listed)
            counts[1] += 1
        yield found


def _collations(told: dict[int, bytes], default: int, each: int) -> Callable[[int], int]:
    """Return what tells the collation of a column by its number among those that have one."""
    if each in told:
        reading, listed = Reading(told[each]), []
        while reading.left():
            listed.append(reading.packed())
        return lambda number: listed[number]
    if default not in told:
        return lambda _: BINARY
    reading = Reading(told[default])
    most, others = reading.packed(), {}
    while reading.left():
        at = reading.packed()
        others[at] = reading.packed()
    return lambda number: others.get(number, most)


__all__ = ["BINARY", "LogColumn", "Reading", "TableMap", "decimal_bytes", "part_bytes", "peeked", "read_table_map"]
