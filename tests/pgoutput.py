"""Writes messages of pgoutput, as a server would."""

from __future__ import annotations

from collections.abc import Sequence

SAME = object()
"""A value that is not sent because it is as before."""
EPOCH_MICROSECONDS = 946_684_800_000_000
Row = Sequence[object]


def number(value: int, size: int) -> bytes:
    return value.to_bytes(size, "big", signed=value < 0)


def text(value: str) -> bytes:
    return value.encode() + b"\0"


def row(values: Row) -> bytes:
    told = []
    for value in values:
        if value is None or value is SAME:
            told.append(b"n" if value is None else b"u")
        else:
            data = str(value).encode()
            told.append(b"t" + number(len(data), 4) + data)
    return number(len(values), 2) + b"".join(told)


def inside(kind: bytes, transaction: int | None) -> bytes:
    """Return how a message begins; it names its transaction where that is streamed while it is open."""
    return kind + (number(transaction, 4) if transaction is not None else b"")


def begin(lsn: int, time: int = EPOCH_MICROSECONDS) -> bytes:
    return b"B" + number(lsn, 8) + number(time - EPOCH_MICROSECONDS, 8) + number(7, 4)


def commit(lsn: int, end_lsn: int, time: int = EPOCH_MICROSECONDS) -> bytes:
    return b"C\0" + number(lsn, 8) + number(end_lsn, 8) + number(time - EPOCH_MICROSECONDS, 8)


def relation(
    oid: int,
    name: str,
    columns: Sequence[tuple[str, int, bool]],
    identity: str = "d",
    transaction: int | None = None,
) -> bytes:
    """Describe a table of schema `s`; columns are (name, type, whether it is of the replica identity)."""
    told = [bytes([key]) + text(column) + number(kind, 4) + number(-1, 4) for column, kind, key in columns]
    head = inside(b"R", transaction) + number(oid, 4) + text("s") + text(name) + identity.encode()
    return head + number(len(columns), 2) + b"".join(told)


def insert(oid: int, new: Row, transaction: int | None = None) -> bytes:
    return inside(b"I", transaction) + number(oid, 4) + b"N" + row(new)


def update(oid: int, new: Row, old: Row | None = None, mark: bytes = b"K", transaction: int | None = None) -> bytes:
    former = b"" if old is None else mark + row(old)
    return inside(b"U", transaction) + number(oid, 4) + former + b"N" + row(new)


def delete(oid: int, old: Row, mark: bytes = b"K", transaction: int | None = None) -> bytes:
    return inside(b"D", transaction) + number(oid, 4) + mark + row(old)


def truncate(oids: Sequence[int], flags: int = 0, transaction: int | None = None) -> bytes:
    return inside(b"T", transaction) + number(len(oids), 4) + bytes([flags]) + b"".join(number(o, 4) for o in oids)


def message(prefix: str, content: bytes, lsn: int = 0, transaction: int | None = None) -> bytes:
    flags = bytes([transaction is not None])
    return inside(b"M", transaction) + flags + number(lsn, 8) + text(prefix) + number(len(content), 4) + content


def stream_start(transaction: int) -> bytes:
    return b"S" + number(transaction, 4) + b"\1"


def stream_stop() -> bytes:
    return b"E"


def stream_abort(transaction: int, inner: int) -> bytes:
    return b"A" + number(transaction, 4) + number(inner, 4)


def stream_commit(transaction: int, lsn: int, end_lsn: int, time: int = EPOCH_MICROSECONDS) -> bytes:
    head = b"c" + number(transaction, 4) + b"\0" + number(lsn, 8) + number(end_lsn, 8)
    return head + number(time - EPOCH_MICROSECONDS, 8)
