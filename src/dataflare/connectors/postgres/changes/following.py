"""What the PostgreSQL source does in the modes that follow changes: splits, the first reading, and the stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import pyarrow as pa

from dataflare.batch import Batch
from dataflare.changes import OP, TX, Op
from dataflare.component import Split
from dataflare.component.bad_rows import with_bad_rows
from dataflare.connectors.postgres.changes.publication import refuse_publication
from dataflare.connectors.postgres.changes.shapes import Shapes
from dataflare.connectors.postgres.changes.slot import Names, prepared, refuse_slot, slot_state, taken
from dataflare.connectors.postgres.changes.snapshots import Reading, Snapshot
from dataflare.connectors.postgres.changes.stream import ChangeStream
from dataflare.connectors.postgres.copying import CopySession
from dataflare.connectors.postgres.replication.messages import lsn_number, lsn_text
from dataflare.errors import ExternalError, StateError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from dataflare.batch import Position
    from dataflare.component import Lag, StageContext
    from dataflare.connectors.postgres.changes.tables import FollowedTable
    from dataflare.connectors.postgres.settings import PostgresSourceConfig
    from dataflare.connectors.postgres.statements import Statements
    from dataflare.schema import Schema

CHANGES = "/changes"
SNAPSHOT_SECONDS = 60.0
"""How long one snapshot is held: the server keeps all dead rows meanwhile."""
_RANGES = {bits: (-(1 << bits - 1), (1 << bits - 1) - 1) for bits in (16, 32, 64)}
_BITS = {"int2": 16, "int4": 32, "int8": 64}
_NOW = "select pg_current_wal_insert_lsn()::text"
_MESSAGE = "select pg_logical_emit_message(false, 'dataflare', '')"


class Rows(Protocol):
    """The source, as far as it reads tables."""

    config: PostgresSourceConfig
    context: StageContext
    bytes_read: int

    @property
    def session(self) -> Statements:
        """The connection that is open now; reading may take another one instead."""
        ...

    def ranges(self, name: str, number: int, since: Position | None) -> Iterator[Split]:
        """Yield the parts of a table."""
        ...

    def rows(self, split: Split, since: Position | None, until: Position | None) -> Iterator[Batch]:
        """Yield the rows of a part."""
        ...


class Following:
    """Belongs to one source, which is open."""

    def __init__(self, source: Rows, tables: Mapping[str, FollowedTable]) -> None:
        """Know the tables by output; raise UnavailableError where pyarrow does without numpy."""
        try:
            pa.array(np.zeros(1, np.int64))
        except pa.ArrowInvalid as error:
            raise UnavailableError(
                "pyarrow was started without numpy", hint="say mode: cdc or mode: hybrid in the workflow file itself"
            ) from error
        self.tables = tables
        self.names = Names.of(source.config.cdc, source.context)
        self._source = source
        self._stream: ChangeStream | None = None
        self._snapshot: Snapshot | None = None
        self._until = 0.0

    # ---- splits -------------------------------------------------------------------------------------------------

    def splits(self, since: Position | None) -> Iterator[Split]:
        """Yield the parts of all tables, where they are read first, then the stream behind them."""
        if since and since.get("changes"):
            return
        session, mode, tables = self._source.session, self._source.context.mode, self.tables.values()
        if since is None:
            begin = lsn_text(prepared(session, self._source.config.cdc, self.names, tables))
        else:
            begin = since["begin"]
            refuse_slot(slot_state(session, self.names.slot), self.names.slot, lsn_number(begin))
        refuse_publication(session, self.names, tables, mode)
        if mode == "hybrid":
            self._refuse_a_reader()
            yield from self._parts(since, begin)
        yield Split(CHANGES, {"tables": list(self.tables), "begin": begin}, {"changes": True})

    def _refuse_a_reader(self) -> None:
        """Refuse to read tables while somebody reads the slot that is to tell what changes meanwhile."""
        state = slot_state(self._source.session, self.names.slot)
        if state is not None and state.active_pid is not None:
            raise taken(self.names.slot, state.active_pid, ExternalError)

    def _parts(self, since: Position | None, begin: str) -> Iterator[Split]:
        tx = f"{lsn_number(begin):016x}"
        names = list(self.tables)
        start = since["table"] if since else 0
        for number in range(start, len(names)):
            name = names[number]
            going_on = since if since and number == start and "low" in since else None
            splits = list(self._source.ranges(name, number, going_on)) or [Split(name, {"stream": name})]
            for split in splits:
                first, last = going_on is None and split is splits[0], split is splits[-1]
                data = {**split.data, "tx": tx, **self._widened(name, split, first=first, last=last)}
                resume = {"table": number + 1} if last else dict(split.resume or {})
                yield Split(f"table {split.id}", data, {**resume, "begin": begin}, before=CHANGES)

    def _widened(self, name: str, split: Split, *, first: bool, last: bool) -> dict[str, Any]:
        """Return the range of a part: together they hold every number that there may be, also of rows that are gone."""
        relation = self.tables[name].relation
        key = relation.whole_key()
        if key is None:
            return {}
        least, greatest = _RANGES[_BITS[relation.kinds[key]]]
        low, high = split.data.get("keys", (least, greatest))
        return {"keys": [least if first else low, greatest if last else high]}

    # ---- the first reading --------------------------------------------------------------------------------------

    def read(self, split: Split, since: Position | None, until: Position | None) -> Any:
        """Yield the rows of a part as they are read, or the changes."""
        if split.id == CHANGES:
            return self._changes(split, since, until)
        return self._part(split, since)

    def connected(self, session: Statements) -> None:
        """The source has taken another connection, which has seen nothing yet."""
        if self._snapshot is not None:
            self._take(session)

    def _take(self, session: Statements) -> None:
        """Take a snapshot; raise SchemaChangedError where it sees other columns than planned."""
        self._snapshot = Snapshot.taken(session, self._table.relation.source)
        source = self._source
        Shapes(source.config, source.context, session, self.tables).compare(self._table.name)
        self._until = source.context.runtime.clock.monotonic() + SNAPSHOT_SECONDS

    def _part(self, split: Split, since: Position | None) -> Iterator[Batch]:
        """Yield the rows of a part; its position tells what each range of it was read under."""
        source, name = self._source, split.data["stream"]
        self._table, schema = self.tables[name], source.context.schemas[name]
        reading = Reading.from_json(since) if since is not None else Reading(name, split.data.get("keys"))
        if reading.rows and self._table.whole:
            raise self._unfinished()
        clock = source.context.runtime.clock
        self._take(source.session)
        try:
            for batch in with_bad_rows(lambda a, b: source.rows(split, a, b), reading.reached, None):
                assert batch.position is not None
                reading.under(self._seen)
                reading.reached, reading.rows = batch.position, reading.rows + batch.num_rows
                if batch.stream == "errors":
                    yield Batch(batch.rows, "errors", reading.position())
                    continue
                yield Batch(_as_read(batch.rows, schema, split.data["tx"]), name, reading.position())
                if isinstance(source.session, CopySession) and clock.monotonic() > self._until:
                    source.session.run("commit")
                    self._take(source.session)
            if reading.under(self._seen):  # where nothing was, nothing is left to come but what it has not seen
                yield Batch(schema.to_arrow().empty_table(), name, reading.position())
            source.session.run("commit")
        finally:
            self._snapshot = None

    @property
    def _seen(self) -> Snapshot:
        assert self._snapshot is not None, "nothing is being read"
        return self._snapshot

    def _unfinished(self) -> StateError:
        table = self._table
        return StateError(
            f"the first reading of {table.table} was interrupted, and without a key it cannot go on",
            hint="add a key to the table; or begin anew, with another id of the workflow and another cdc.slot_name",
        )

    # ---- changes ------------------------------------------------------------------------------------------------

    async def _changes(self, split: Split, since: Position | None, until: Position | None) -> AsyncIterator[Batch]:
        self._refuse_new_tables(split)
        self.close()
        source = self._source
        stream = ChangeStream(source.config, source.context, source.session, self.tables, self.names)
        self._stream, before = stream, source.bytes_read
        reading = stream.read(since, until, lsn_number(split.data["begin"]))
        try:
            async for batch in reading:
                source.bytes_read = before + stream.bytes_read
                yield batch
        finally:
            await reading.aclose()

    def _refuse_new_tables(self, split: Split) -> None:
        new = [name for name in self.tables if name not in split.data["tables"]]
        if new and self._source.context.mode == "hybrid":
            raise StateError(
                f"{self.tables[new[0]].table} is new in the workflow, and its rows were not read with the others",
                hint="read it by a workflow of its own",
            )

    def ends(self) -> Mapping[str, Position]:
        """Return where the log ends now; write a little behind it, so that the stream gets there."""
        session = self._source.session
        ((now,),) = session.run(_NOW)
        session.run(_MESSAGE)
        return {CHANGES: {"lsn": now}}

    def acknowledge(self, positions: Mapping[str, Position]) -> None:
        """Pass on what is committed of the stream."""
        if self._stream is not None and (position := positions.get(CHANGES)) is not None:
            self._stream.acknowledge(position)

    def lag(self) -> Lag | None:
        """Return how far the stream is behind the log, once it is read."""
        return None if self._stream is None else self._stream.meter.lag()

    def close(self) -> None:
        """Disconnect from the slot."""
        if self._stream is not None:
            self._stream.close()


def _as_read(rows: pa.Table, schema: Schema, tx: str) -> pa.Table:
    """Return rows as those that were there before any change."""
    told, arrow = {OP: Op.READ.value, TX: tx}, schema.to_arrow()
    arrays = [
        rows.column(f.name)
        if f.name in rows.column_names
        else pa.repeat(pa.scalar(told.get(f.name), f.type), len(rows))
        for f in arrow
    ]
    return pa.Table.from_arrays(arrays, schema=arrow)


__all__ = ["CHANGES", "Following"]
