"""What a log says of the tables that are planned: rows of changes, and where all of them were told."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from dataflare.connectors.mariadb.replication.places import Gtid, Gtids, LogPlace, malformed
from dataflare.connectors.mariadb.replication.rows import (
    COMPRESSED,
    DELETED,
    WRITTEN,
    Changes,
    RowsEvent,
    Table,
    inflated,
    read_rows,
)
from dataflare.connectors.mariadb.replication.statements import Statement
from dataflare.connectors.mariadb.replication.table_maps import peeked, read_table_map
from dataflare.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dataflare.connectors.mariadb.replication.rows import TablePlan
    from dataflare.connectors.mariadb.replication.table_maps import TableMap
    from dataflare.connectors.mariadb.replication.values import Server
    from dataflare.errors import DataFlareError

_QUERY, _ROTATE, _FORMAT, _XID, _LOAD, _TABLE_MAP, _INCIDENT, _PREPARED = 2, 4, 15, 16, 18, 19, 26, 38
_GTID, _QUERY_COMPRESSED = 162, 165
_STATEMENTS = (_QUERY, _QUERY_COMPRESSED, _LOAD)
_ROWS = (*range(WRITTEN, DELETED + 1), *range(WRITTEN + COMPRESSED, DELETED + COMPRESSED + 1))
_HEADER, _CHECKSUM = 19, 4
_STANDALONE, _XA = 1, 64 | 128
_MAPS_MAX = 10_000


@dataclass(frozen=True, slots=True)
class Decoded:
    """Changes of one stream in the order of the log, of one transaction or several."""

    stream: str
    changes: Changes


@dataclass(frozen=True, slots=True)
class Emptied:
    """A table was emptied by a transaction; `when` is its second."""

    stream: str
    number: int
    when: int


@dataclass(frozen=True, slots=True)
class Settled:
    """All changes of all streams were told up to a place; `is_open`: and some of the transaction behind it.

    `at` is that place in the files of the server, and the second of the newest that was told (0: nothing was).
    """

    gtids: Gtids
    is_open: bool
    at: LogPlace


Told = Decoded | Emptied | Settled


class Plans(Protocol):
    """What is planned."""

    def names(self) -> Mapping[tuple[str, str], str]:
        """Return the streams by database and table."""
        ...

    def plan(self, described: TableMap) -> TablePlan:
        """Return the plan of a table as the log describes it.

        Raises SchemaChangedError where there must be another plan, WorkflowError where the two cannot go together.
        """
        ...

    def altered(self, stream: str, statement: Statement) -> None:
        """A table is not what it was: it is described anew before its next rows."""
        ...


class Decoder:
    """Reads events in their order. `gtids` is the place behind which they come, `ahead` what was passed beyond it."""

    def __init__(
        self, plans: Plans, server: Server, gtids: Gtids, ahead: Mapping[str, tuple[int, int]], domain: int
    ) -> None:
        """Changes of the planned tables must be of one domain: those of several have no order."""
        self._plans, self._server, self._domain = plans, server, domain
        self._gtids, self._ahead = Gtids(gtids), dict(ahead)
        self._names = plans.names()
        self._gtid, self._flags, self._when = Gtid(-1, 0, 0), 0, 0
        self._is_open = self._touched = self._checked = False
        self._file, self._byte = "", 0
        self._by_number: dict[bytes, tuple[str, bytes] | None] = {}
        self._tables: dict[bytes, Table] = {}
        self._current: dict[str, Table] = {}
        self._waiting: dict[str, list[RowsEvent]] = {}
        self._counts: dict[str, tuple[int, int]] = {}

    def feed(self, events: Iterable[bytes]) -> Iterator[Told]:
        """Yield what some events say, at last where that is settled."""
        for event in events:
            kind = event[4]
            if kind in _ROWS:
                self._rows(kind, self._body(event))
            elif kind == _TABLE_MAP:
                yield from self._described(self._body(event))
            elif kind in _STATEMENTS:
                yield from self._statement(kind, self._body(event))
            else:
                self._control(kind, event)
            if not self._is_open:
                self._byte = int.from_bytes(event[13:17], "little") or self._byte
        yield from self._flushed()
        yield self._settled()

    def _control(self, kind: int, event: bytes) -> None:
        if kind == _GTID:
            self._begun(event)
        elif kind in (_XID, _PREPARED):
            self._ended()
        elif kind == _ROTATE:
            self._file, self._byte = _file(event), 0
        elif kind == _FORMAT:
            self._checked = event[-_CHECKSUM - 1] == 1
        elif kind == _INCIDENT:
            raise DataError("the server says that its log has a hole", hint="read the tables anew")

    def _settled(self) -> Settled:
        return Settled(Gtids(self._gtids), self._is_open, LogPlace(self._file, self._byte, self._when))

    def _body(self, event: bytes) -> bytes:
        """Return an event without its head and its checksum, which must be right."""
        if not self._checked:
            return event[_HEADER:]
        if zlib.crc32(memoryview(event)[:-_CHECKSUM]) != int.from_bytes(event[-_CHECKSUM:], "little"):
            raise malformed("the checksum of an event is wrong")
        return event[_HEADER:-_CHECKSUM]

    # ---- transactions -------------------------------------------------------------------------------------------

    def _begun(self, event: bytes) -> None:
        when, _, server = struct.unpack_from("<IBI", event)
        number, domain, flags = struct.unpack_from("<QIB", event, _HEADER)
        if number <= self._gtids.number(domain):
            raise DataError(
                f"transaction {domain}-{server}-{number} comes behind {self._gtids[domain]}, so changes have no order",
                hint="let gtid_strict_mode be on, and nobody set gtid_seq_no",
            )
        self._gtid, self._flags, self._when = Gtid(domain, server, number), flags, when
        self._is_open, self._touched = True, False

    def _ended(self) -> None:
        self._gtids[self._gtid.domain] = self._gtid
        self._is_open = False

    # ---- rows ---------------------------------------------------------------------------------------------------

    def _described(self, body: bytes) -> Iterator[Told]:
        number, shape = body[:6], body[6:]
        stream = self._names.get(peeked(body))
        self._by_number[number] = (stream, shape) if stream is not None else None
        if stream is None:
            return
        table = self._tables.get(shape)
        if table is None or self._current.get(stream) is not table:
            yield from self._flushed()
            if len(self._by_number) > _MAPS_MAX:
                self._by_number = {number: (stream, shape)}
                self._tables.clear()
            if table is None:
                yield self._settled()  # what came before counts, also if this needs a plan
                described = read_table_map(body)
                table = self._tables[shape] = Table(described, self._plans.plan(described), self._server)
            self._current[stream] = table

    def _rows(self, kind: int, body: bytes) -> None:
        found = self._by_number.get(body[:6])
        if found is None:
            return
        stream, _ = found
        if self._gtid.domain != self._domain:
            raise self._refused(stream, f"was changed in the domain {self._gtid.domain}, and in {self._domain}")
        if self._flags & _XA:
            raise DataError(
                f"{self._current[stream].described} was changed by an XA transaction, which is logged before it ends",
                hint="let those who write the table do without XA, and read it anew",
            )
        self._touched = True
        self._waiting.setdefault(stream, []).append(read_rows(kind, body, self._gtid.number, self._when))

    def _refused(self, stream: str, what: str) -> DataFlareError:
        return DataError(
            f"{self._current[stream].described} {what}: changes of several domains have no order",
            hint="let all who write the table use one gtid_domain_id, and name it in cdc.domain; then read it anew",
        )

    def _flushed(self) -> Iterator[Told]:
        waiting, self._waiting = self._waiting, {}
        for stream, events in waiting.items():
            passed, before = self._ahead.get(stream, (-1, 0)), self._counts.get(stream, (-1, 0))
            changes = self._current[stream].rows(events, passed, before)
            self._counts[stream] = changes.last
            yield Decoded(stream, changes)

    # ---- statements ---------------------------------------------------------------------------------------------

    def _statement(self, kind: int, body: bytes) -> Iterator[Told]:
        database, text = _query(kind, body)
        word = text.strip().upper()
        if word.startswith("ROLLBACK") and self._touched:
            raise DataError("a transaction is undone in the log", hint="read the tables anew; let them be of InnoDB")
        if word in ("COMMIT", "ROLLBACK"):
            self._ended()
            return
        statement = Statement.of(text, database)
        for (schema, name), stream in self._names.items():
            effect = statement.effect(schema, name)
            if effect == "empties":
                yield from self._flushed()
                if (self._gtid.number, 1) > self._ahead.get(stream, (-1, 0)):
                    yield Emptied(stream, self._gtid.number, self._when)
            elif effect == "alters":
                yield from self._flushed()
                self._plans.altered(stream, statement)
                self._tables = {shape: t for shape, t in self._tables.items() if t.plan.stream != stream}
                self._current.pop(stream, None)
            elif effect != "none":
                raise _unreadable(f"{schema}.{name}", effect, self._gtid)
        if self._flags & _STANDALONE:
            self._ended()


def _unreadable(name: str, effect: str, gtid: Gtid) -> DataFlareError:
    if effect == "ends":
        return DataError(
            f"{name} was dropped, made anew or renamed by transaction {gtid}",
            hint="read it anew: give the workflow another id; mode: hybrid reads what is there",
        )
    return DataError(
        f"rows of {name} were changed by transaction {gtid} without being logged as rows",
        hint="let binlog_format be ROW in all sessions, and remove rows of partitions by delete; then read it anew",
    )


def _file(event: bytes) -> str:
    """Return the name of the next file; the event that tells it stands before the one that tells of checksums."""
    name = event[_HEADER + 8 :]
    if len(name) > _CHECKSUM and zlib.crc32(event[:-_CHECKSUM]) == int.from_bytes(event[-_CHECKSUM:], "little"):
        name = name[:-_CHECKSUM]
    return name.decode("utf-8", "replace")


def _query(kind: int, body: bytes) -> tuple[str, str]:
    """Return the database and the text of a statement."""
    _, _, size, _, status = struct.unpack_from("<IIBHH", body)
    at = 13 + status + (13 if kind == _LOAD else 0)
    database, text = body[at : at + size], body[at + size + 1 :]
    if kind == _QUERY_COMPRESSED:
        text = inflated(text)
    return database.decode("utf-8", "replace"), text.decode("utf-8", "replace")


__all__ = ["Decoded", "Decoder", "Emptied", "Plans", "Settled", "Told"]
