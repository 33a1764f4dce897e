"""Reads parts of tables under snapshots that are known: side by side before the stream, or in pieces beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.batch import Batch
from dataflare.component.bad_rows import with_bad_rows
from dataflare.connectors.postgres.changes.shapes import Shapes
from dataflare.connectors.postgres.changes.snapshots import Reading, Snapshot
from dataflare.connectors.postgres.changes.tables import WHOLE_BYTES, Rows
from dataflare.connectors.postgres.copying import CopySession
from dataflare.errors import StateError
from dataflare.sql.change_source import as_read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from dataflare.batch import Position
    from dataflare.component import Split
    from dataflare.connectors.postgres.changes.tables import FollowedTable
    from dataflare.connectors.postgres.statements import Statements

SNAPSHOT_SECONDS = 60.0
"""How long one snapshot is held: the server keeps all dead rows meanwhile."""
PIECE_ROWS, PIECE_BYTES, PIECE_SECONDS = 50_000, 16 << 20, 1.0
"""About how much is read at once while the stream waits."""
SEARCH_SECONDS = 20
"""How long the server may look for rows by a condition: it hears nothing of us meanwhile (wal_sender_timeout)."""
_SEARCH = f"set local statement_timeout = {SEARCH_SECONDS * 1000}"


@dataclass(frozen=True, slots=True)
class Piece:
    """Rows that were read at once, under one snapshot: batches of the table's columns, with the last key of each.

    `errors` are rows that do not fit. `last`: nothing of the part comes behind it.
    """

    batches: list[tuple[pa.Table, list[Any] | None]]
    errors: list[pa.Table]
    snapshot: Snapshot
    last: bool


class Parts:
    """Belongs to one source, which is open. One part at a time is read."""

    def __init__(self, source: Rows, tables: Mapping[str, FollowedTable]) -> None:
        """Hold no snapshot."""
        self._source, self._tables = source, tables
        self._shapes = Shapes(source, tables)
        self._snapshot: Snapshot | None = None
        self._until = 0.0

    @property
    def session(self) -> Statements:
        """The connection that is open now: reading may have taken another one."""
        return self._source.session

    def connected(self, session: Statements) -> None:
        """The source has taken another connection, which has seen nothing yet."""
        if self._snapshot is not None:
            self._take(session)

    def whole(self, split: Split, since: Position | None) -> Iterator[Batch]:
        """Yield the rows of a part; its position tells what each range of it was read under."""
        source, name = self._source, split.data["stream"]
        if name not in self._tables:  # it was taken out of the workflow meanwhile; if it comes back, it is new
            other, position = next(iter(self._tables)), since or Reading(name, split.data.get("keys")).position()
            yield Batch(source.context.schemas[other].to_arrow().empty_table(), other, {**position, "left": True})
            return
        self._table, schema = self._tables[name], source.context.schemas[name]
        reading = Reading.from_json(since) if since is not None else Reading(name, split.data.get("keys"))
        if reading.rows and self._table.whole:
            raise self._unfinished()
        clock = source.context.runtime.clock
        self._take(source.session)
        try:
            batches = with_bad_rows(lambda a, b: source.rows(split, a, b), reading.reached, None)
            for batch in _together(batches) if self._table.whole else batches:
                assert batch.position is not None
                reading.under(self._seen)
                if batch.stream == "errors" and self._table.whole:  # come again rather than that nothing goes on
                    yield Batch(batch.rows, "errors", reading.position())
                    continue
                reading.reached, reading.rows = batch.position, reading.rows + batch.num_rows
                if batch.stream == "errors":
                    yield Batch(batch.rows, "errors", reading.position())
                    continue
                yield Batch(as_read(batch.rows, schema, split.data["tx"]), name, reading.position())
                if isinstance(source.session, CopySession) and clock.monotonic() > self._until:
                    source.session.run("commit")
                    self._take(source.session)
            if reading.under(self._seen):  # where nothing was, nothing is left to come but what it has not seen
                yield Batch(schema.to_arrow().empty_table(), name, reading.position())
            source.session.run("commit")
        finally:
            self._snapshot = None

    def piece(self, split: Split, key: list[Any] | None, accepts: Callable[[Snapshot], bool]) -> Piece | None:
        """Return some rows of a part behind a key, read under one snapshot; None where it is not accepted.

        Of a table without a key it is all of them. Raises ExternalError where somebody holds the table for himself.
        """
        source, clock = self._source, self._source.context.runtime.clock
        self._table = self._tables[split.data["stream"]]
        found: list[tuple[pa.Table, list[Any] | None]] = []
        errors: list[pa.Table] = []
        try:
            self._take(source.session, wait=False)
            snapshot = self._seen
            if not accepts(snapshot):
                return None
            if "where" in split.data:
                source.session.run(_SEARCH)
            rows, count, size, last = source.rows(split, {"key": key} if key is not None else None, None), 0, 0, True
            until = clock.monotonic() + PIECE_SECONDS
            for batch in rows:
                assert batch.position is not None
                if batch.stream == "errors":  # those of the next batch
                    errors.append(batch.rows)
                    continue
                found.append((batch.rows, batch.position.get("key")))
                count, size = count + batch.num_rows, size + batch.rows.nbytes
                if self._table.whole:
                    continue
                if count >= PIECE_ROWS or size >= PIECE_BYTES or clock.monotonic() >= until:
                    last = False
                    break
            getattr(rows, "close", lambda: None)()
            return (
                Piece(found, errors, snapshot, last) if self._seen is snapshot else None
            )  # another connection was taken
        finally:
            self._snapshot = None
            source.session.run("rollback")

    def _take(self, session: Statements, *, wait: bool = True) -> None:
        """Take a snapshot; raise SchemaChangedError where it sees other columns than planned."""
        self._snapshot = Snapshot.taken(session, self._table.relation.source, wait=wait)
        self._shapes.compare(self._table.name, session)
        self._until = self._source.context.runtime.clock.monotonic() + SNAPSHOT_SECONDS

    @property
    def _seen(self) -> Snapshot:
        assert self._snapshot is not None, "nothing is being read"
        return self._snapshot

    def _unfinished(self) -> StateError:
        table = self._table
        return StateError(
            f"the first reading of {table.table} was interrupted, and without a key it cannot go on",
            hint="take it out of the workflow, empty what it was written to, and let it come back with a key "
            "(dataflare cdc add-table)",
        )


def _together(batches: Iterator[Batch]) -> Iterator[Batch]:
    """Join the first batches to one, as far as memory goes; rows that do not fit come before it."""
    joined, size = list[Batch](), 0
    for batch in batches:
        if batch.stream == "errors":
            yield batch
            continue
        joined.append(batch)
        size += batch.rows.nbytes
        if size > WHOLE_BYTES:
            break
    if joined:
        yield joined[-1].replace(pa.concat_tables([b.rows for b in joined]))
    yield from batches


__all__ = ["Parts", "Piece", "Rows"]
