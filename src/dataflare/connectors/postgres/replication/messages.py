"""The words of logical replication: places in the log, relations, plans for them, and what a decoder yields.

An LSN is a whole number: the place of a byte in the server's log. Times are microseconds since 1970, in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from dataflare.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import pyarrow as pa

    from dataflare.schema import Schema
    from dataflare.sql.misfits import Misfit

EPOCH_MICROSECONDS = 946_684_800_000_000
"""The server counts from 2000."""


class Point(NamedTuple):
    """A change in the log: the LSN of its commit, and its number in the transaction, counted from 1.

    All inserts, updates, deletes and truncations count that the publication sends, whether they are planned or not.
    Later changes have greater points.
    """

    commit_lsn: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class RelationColumn:
    """A column as the log describes it; `key`: it belongs to the replica identity."""

    name: str
    type: int
    modifier: int
    key: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """A table as it was at this place of the log.

    `identity` is `d` (primary key), `i` (an index), `f` (the full row) or `n` (nothing).
    """

    oid: int
    schema: str
    name: str
    identity: str
    columns: tuple[RelationColumn, ...]

    def __str__(self) -> str:
        """Render as `schema.table`."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class TablePlan:
    """What becomes of a relation's changes.

    `schema` has the columns that are wanted, in order. `kinds` are their types in pg_type, domains resolved, where they
    are known. `unchanged` and `before` ask for `_unchanged` and `_before`, as in `changing`. Columns of `absent` may be
    missing in the relation, and are null then. `former` are columns by a name that they may have had. `aside`: a value
    that does not fit is told as a `Misfit`, not raised. `emptied`: null stands for one that is not of the key; it is
    told of their column, its type and their number.
    """

    stream: str
    key: tuple[str, ...]
    schema: Schema
    kinds: Mapping[str, str] = field(default_factory=dict)
    unchanged: bool = False
    before: bool = False
    absent: frozenset[str] = frozenset()
    aside: bool = False
    former: Mapping[str, str] = field(default_factory=dict)
    emptied: Callable[[str, str, int], None] | None = None


@dataclass(frozen=True, slots=True)
class Settled:
    """All changes of all streams up to `point` were yielded.

    `end_lsn` is the end of the last transaction that is complete (0: none since the start): once all is durable that
    came before, it may be acknowledged. `is_open`: the transaction of `point` goes on behind it.
    """

    point: Point
    end_lsn: int
    is_open: bool


@dataclass(frozen=True, slots=True)
class Decoded:
    """Changes of one stream in the order of the log, of one transaction or several.

    `rows` have the schema of `changing`. `first` and `last` are the points of the first and the last of them. Changes
    of different streams are in order only where a `settled` stands between them: it does at the last of a group.
    `misfits` are rows by their number that do not fit: such values are null in `rows`, in the key as well. A delete is
    one only by its key; of what else it tells, and of `_before`, nothing is left where it does not fit.
    """

    stream: str
    rows: pa.Table
    first: Point
    last: Point
    settled: Settled | None = None
    misfits: Mapping[int, Misfit] = field(default_factory=dict)

    @property
    def ends(self) -> bool:
        """Tell whether nothing more can come of the transaction of the last change, for any stream."""
        return self.settled is not None and self.settled.end_lsn > self.last.commit_lsn


@dataclass(frozen=True, slots=True)
class Described:
    """A relation that is new (`former` is None then) or not as it was; its changes behind this have this shape."""

    relation: Relation
    former: Relation | None


@dataclass(frozen=True, slots=True)
class Truncated:
    """Tables were emptied; `streams` are the planned ones among them. `commit_time` is that of the transaction."""

    relations: tuple[Relation, ...]
    streams: tuple[str, ...]
    cascade: bool
    restart: bool
    point: Point
    commit_time: int


@dataclass(frozen=True, slots=True)
class Message:
    """What somebody wrote into the log with `pg_logical_emit_message`; `lsn` is where it stands.

    `point` is that of its transaction's commit, and then its own `lsn`; its `lsn` alone where it belongs to none. The
    last one may end where the commit of the transaction around it begins, and comes before all of that: points of
    messages grow in the order in which they come. `commit_time` in microseconds since 1970.
    """

    transactional: bool
    lsn: int
    prefix: str
    content: bytes
    point: Point
    commit_time: int | None


@dataclass(frozen=True, slots=True)
class OriginNamed:
    """A transaction came to the server from elsewhere; told when the name is another than that of the one before.

    It stands before the changes that were fed with it; `commit_lsn` says from which transaction on.
    """

    name: str
    commit_lsn: int


Event = Decoded | Settled | Described | Truncated | Message | OriginNamed


def lsn_text(lsn: int) -> str:
    """Return an LSN as the server writes it, `16/B374D848`."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def lsn_number(text: str) -> int:
    """Return the number of an LSN that the server wrote."""
    high, _, low = text.partition("/")
    return (int(high, 16) << 32) | int(low, 16)


def malformed(what: str) -> DataError:
    """Return the error for bytes that are no pgoutput."""
    return DataError(f"the replication stream is malformed: {what}", hint="report it with the server's version")


class Reading:
    """Reads one message from its beginning; raises DataError where it ends too early."""

    def __init__(self, data: bytes | memoryview, at: int = 0) -> None:
        """Begin at a place."""
        self._data, self._at = data, at

    def number(self, size: int, *, signed: bool = False) -> int:
        """Return the whole number of the next `size` bytes."""
        return int.from_bytes(self.raw(size), "big", signed=signed)

    def raw(self, size: int) -> bytes:
        """Return the next bytes."""
        found = bytes(self._data[self._at : self._at + size])
        if len(found) < size:
            raise malformed("a message ends too early")
        self._at += size
        return found

    def text(self) -> str:
        """Return the text up to the next zero byte."""
        rest = bytes(self._data[self._at :])
        found, zero, _ = rest.partition(b"\0")
        if not zero:
            raise malformed("a text does not end")
        self._at += len(found) + 1
        return found.decode("utf-8", "replace")


def read_relation(message: Reading) -> Relation:
    """Read what follows the kind (and the transaction) of a Relation message."""
    oid = message.number(4)
    schema, name = message.text() or "pg_catalog", message.text()
    identity, count = message.raw(1).decode("latin-1"), message.number(2)
    columns = []
    for _ in range(count):
        flags, column = message.number(1), message.text()
        columns.append(RelationColumn(column, message.number(4), message.number(4, signed=True), bool(flags & 1)))
    return Relation(oid, schema, name, identity, tuple(columns))


__all__ = [
    "EPOCH_MICROSECONDS",
    "Decoded",
    "Described",
    "Event",
    "Message",
    "OriginNamed",
    "Point",
    "Reading",
    "Relation",
    "RelationColumn",
    "Settled",
    "TablePlan",
    "Truncated",
    "lsn_number",
    "lsn_text",
    "malformed",
    "read_relation",
]
