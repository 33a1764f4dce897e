"""Reads the stream of changes from a slot: in order, none twice, and acknowledged only as far as it is committed."""

from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from dataflare.batch import Batch
from dataflare.changes import OP, UNCHANGED, Op
from dataflare.component.lag import LagMeter
from dataflare.connectors.postgres.changes.budget import LogBudget
from dataflare.connectors.postgres.changes.caught import Caught
from dataflare.connectors.postgres.changes.logical import LogicalMessages
from dataflare.connectors.postgres.changes.place import lsn_of
from dataflare.connectors.postgres.changes.publication import republished, unpublished
from dataflare.connectors.postgres.changes.resnapshots import Resnapshots
from dataflare.connectors.postgres.changes.shapes import Shapes
from dataflare.connectors.postgres.changes.slot import dropped, log_end, refuse_slot, rolled_back, slot_state, taken
from dataflare.connectors.postgres.changes.unfit import fit_tables, late_tables
from dataflare.connectors.postgres.replication.connection import ReplicationConnection
from dataflare.connectors.postgres.replication.decoder import Decoder
from dataflare.connectors.postgres.replication.messages import (
    Decoded,
    Described,
    Message,
    Point,
    Settled,
    Truncated,
    lsn_text,
)
from dataflare.errors import DataError, ExternalError, SchemaChangedError, UnavailableError
from dataflare.monitoring.events import Noticed
from dataflare.sql.change_source import emptied
from dataflare.sql.misfits import left, put_aside
from dataflare.sql.patterns import tables_since

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence

    from dataflare.batch import Position
    from dataflare.connectors.postgres.changes.parts import Parts
    from dataflare.connectors.postgres.changes.place import Place
    from dataflare.connectors.postgres.changes.slot import Names
    from dataflare.connectors.postgres.changes.tables import FollowedTable, Rows
    from dataflare.connectors.postgres.replication.frames import Frames

RECEIVE_SECONDS, RECEIVE_BYTES = 0.5, 4 << 20
TAKEN_BYTES = 8 << 20
"""About so many bytes of rows are taken at once: a transaction that was kept on disk is as large as it likes."""
PULSE_SECONDS_MAX = 2.0
"""How often the server hears of a reader that is held up (it gives up after a minute, wal_sender_timeout), and is asked
how far its log goes.
"""
WAIT_SECONDS, WAIT_SECONDS_MAX = 0.1, 2.0
LEAVE_MILLISECONDS = 500


class ChangeStream:
    """One reader of a slot; the connection of `source` is for questions, and nobody else uses it meanwhile."""

    def __init__(self, source: Rows, tables: Mapping[str, FollowedTable], names: Names, parts: Parts) -> None:
        """Know all of it; connect later."""
        self._config, self._context, self._source, self._names = source.config, source.context, source, names
        self._tables = tables
        self._shapes = Shapes(source, tables)
        self.resnapshots = Resnapshots(source.context, parts, tables)
        self._connection: ReplicationConnection | None = None
        self._coming: Iterator[Batch] | None = None
        self._lock = threading.Lock()
        self._flushed = self._answered = 0
        self._budget = LogBudget(source.config.cdc, source.context, names)
        self._asked = False
        self._change: SchemaChangedError | None = None
        self._look_next = 0.0
        self._told = set[str]()
        self.leaving: Sequence[list[str]] = ()
        self.bytes_read = 0
        self.meter = LagMeter(0)

    async def read(self, place: Place, until: Position | None) -> AsyncGenerator[Batch]:
        """Yield what comes after a place; up to `until`, where that is given, and to the end of what is read again."""
        call, clock = self._context.runtime.call, self._context.runtime.clock
        end = lsn_of(until) if until is not None else None
        self._place = await self._started(place)
        await call(self._beat)
        pulse = asyncio.create_task(self._pulse())
        try:
            told, when = place.lsn, clock.monotonic()
            while end is None or place.lsn < end or self.resnapshots.unread(place):
                for batch in [*await call(self._taken), *await call(self._again)]:
                    yield batch
                    told, when = lsn_of(batch.position or {}), clock.monotonic()
                if self._change is not None:
                    raise self._change
                due = clock.monotonic() - when >= self._config.cdc.heartbeat or self._asked
                if (due or (end is not None and place.lsn >= end)) and not place.is_open and place.lsn > told:
                    yield self._nothing()
                    told, when = place.lsn, clock.monotonic()
                if pulse.done():
                    pulse.result()
            await call(self._beat)
        finally:
            pulse.cancel()
            await asyncio.gather(pulse, return_exceptions=True)

    def acknowledge(self, position: Position) -> None:
        """Let the server forget what a position has passed: it is committed everywhere (invariant 1).

        The server hears of it with the next receipt, or at the end.
        """
        self._flushed = max(self._flushed, lsn_of(position))
        self.meter.committed(self._flushed)

    def forget(self, answered: Collection[str]) -> None:
        """What was asked for under these names is done, and nobody asks any more."""
        with self._lock:
            self.resnapshots.forget(answered)
            self._place.answered = [i for i in self._place.answered if i not in answered]

    def close(self) -> None:
        """Tell the server what is committed, and disconnect."""
        connection = self._connection
        if connection is not None:
            with suppress(ExternalError):  # the server tells these changes again then, and they are left out
                self._answer()
                self._let_go()
            self._connection = None
            connection.close()
            self._decoder.close()

    # ---- beginning ----------------------------------------------------------------------------------------------

    async def _started(self, place: Place) -> Place:
        """Wait for the slot to be free, and start; retry where somebody takes it first."""
        runtime = self._context.runtime
        deadline, wait = runtime.clock.monotonic() + self._config.cdc.slot_wait, WAIT_SECONDS
        while True:
            found = await runtime.call(slot_state, self._source.session, self._names.slot)
            state = refuse_slot(found, self._names.slot, place.lsn)
            if state.active_pid is None:
                try:
                    await runtime.call(self._start, place)
                except ExternalError:
                    if runtime.clock.monotonic() >= deadline:
                        raise
                else:
                    return place
            elif runtime.clock.monotonic() >= deadline:
                raise taken(self._names.slot, state.active_pid, UnavailableError)
            await runtime.clock.sleep(wait * (0.5 + runtime.random.random()))
            wait = min(wait * 2, WAIT_SECONDS_MAX)

    def _start(self, place: Place) -> None:
        self.close()
        context = self._context
        connection = ReplicationConnection(self._config, f"dataflare {context.workflow}/{context.node}"[:63])
        with ExitStack() as failing:
            failing.callback(connection.close)
            streaming: Literal["on", "off"] = "on" if self._config.cdc.streaming else "off"
            connection.start(self._names.slot, [self._names.publication], place.lsn, streaming=streaming)
            failing.pop_all()
        self._connection, self._flushed, self._answered = connection, place.lsn, 0
        self._coming = None
        self._decoder = Decoder(self._shapes.plan, after=place.after, ahead=place.ahead, undone=self._undone)
        self._caught = Caught(place, self._source, self._tables)
        self._messages = LogicalMessages(self._config.cdc.messages, place)
        self.meter = LagMeter(place.lsn)

    # ---- changes ------------------------------------------------------------------------------------------------

    def _undone(self, numbers: Sequence[int]) -> Collection[int]:
        return rolled_back(self._source.session, numbers)

    def _taken(self) -> list[Batch]:
        """Return what has come, of a large transaction a part; wait for it for a moment; tell what is committed."""
        connection = self._connection
        assert connection is not None, "the stream was not started"
        found, size = list[Batch](), 0
        with self._lock:
            self._answer()
            if self._coming is None:
                wait = self.resnapshots.wait_seconds(self._place)
                frames = connection.receive(RECEIVE_SECONDS if wait is None else wait, RECEIVE_BYTES)
                self.bytes_read += len(frames.data)
                self._caught.look(frames)
                self._coming = self._decoded(frames)
            try:
                for batch in self._coming:
                    found.append(batch)
                    size += batch.rows.nbytes
                    if size >= TAKEN_BYTES:
                        break
                else:
                    self._coming = None
            except SchemaChangedError as change:  # what came before it is still of this plan
                self._change = change
            now, is_open = self._decoder.time, self._place.is_open
            self.meter.read(self._place.lsn, *((0, now) if is_open else (now, 0)))
        return found

    def _decoded(self, frames: Frames) -> Iterator[Batch]:
        for event in self._decoder.feed(frames):
            if isinstance(event, Message):
                yield from self._messages.take(event)
                continue
            if not isinstance(event, Settled):
                yield from self._messages.passed()
            yield from self._batches(event)
        yield from self._messages.passed()
        self._place.read_up_to(frames.wal_end)
        self._asked = frames.reply_wanted  # before it stops, the server waits for all to be acknowledged

    def _again(self) -> list[Batch]:
        """Read a piece of what is to be read beside the stream, where there is one."""
        if self._coming is not None or not self.resnapshots.unread(self._place):
            return []
        with self._lock:
            return list(self.resnapshots.read(self._source.session, self._place, self._caught))

    def _batches(self, event: Any) -> Iterator[Batch]:
        place = self._place
        if isinstance(event, Decoded):
            rows, misfits = left(event.rows, event.misfits, self._caught.seen(event), self._tables[event.stream].key)
            misfits = [m for m in misfits if m.point > place.told.get(event.stream, place.after)]
            if misfits:
                place.told[event.stream] = Point(*misfits[-1].point)
                yield Batch(put_aside(misfits, str(self._tables[event.stream].table)), "errors", place.position())
            self._refuse_moved(event.stream, rows)
            rows = self.resnapshots.passing(event.stream, rows, place, self._caught)
            place.passed(event)
            if rows.num_rows:
                yield Batch(rows, event.stream, place.position())
        elif isinstance(event, Settled):
            place.settled(event)
        elif isinstance(event, Described):
            self._shapes.described(event)
        elif isinstance(event, Truncated):
            yield from self._truncated(event)

    def _refuse_moved(self, stream: str, rows: pa.Table) -> None:
        """Refuse rows that have got another key, and of which values were not sent: they are nowhere to be had."""
        if UNCHANGED not in rows.column_names or rows.column(UNCHANGED).null_count == rows.num_rows:
            return
        moved = pc.and_(pc.equal(rows.column(OP), Op.INSERT.value), pc.is_valid(rows.column(UNCHANGED)))
        if pc.any(moved).as_py():
            name = rows.filter(moved).column(UNCHANGED)[0].as_py()[0]
            table = self._tables[stream]
            raise DataError(
                f"a row of {table.table} has got another key, and its long value of {name} was not sent with it",
                hint=f"alter table {table.reference} replica identity full, and begin anew with this table",
            )

    def _truncated(self, event: Truncated) -> Iterator[Batch]:
        for stream in event.streams:
            number, policy = self._caught.number(event.point.commit_lsn), self._config.cdc.truncate
            seen = self._caught.saw_truncate(stream, event.point.commit_lsn)
            seen = seen or self.resnapshots.leaves_out_truncation(stream, self._place)
            if not seen and policy == "fail":
                raise DataError(
                    f"{self._tables[stream].table} was truncated at {lsn_text(event.point.commit_lsn)}",
                    hint="say what becomes of it, with cdc: {truncate: apply} or {truncate: skip}",
                )
            if seen or policy == "skip":
                continue
            self._place.seen.pop(stream, None)  # all that is in the table from here on comes by the stream
            self.resnapshots.emptied(stream, number)
            self._place.ahead[stream] = event.point
            rows = emptied(self._context.schemas[stream], event.commit_time, f"{event.point.commit_lsn:016x}")
            yield Batch(rows, stream, self._place.position())

    def _nothing(self) -> Batch:
        """Return no rows and where the stream stands."""
        stream = next(iter(self._tables))
        return Batch(self._context.schemas[stream].to_arrow().empty_table(), stream, self._place.position())

    # ---- meanwhile ----------------------------------------------------------------------------------------------

    async def _pulse(self) -> None:
        """Tell the server now and then that somebody reads, also while nobody takes changes; watch its log."""
        runtime = self._context.runtime
        while True:
            await runtime.clock.sleep(min(self._config.cdc.heartbeat, PULSE_SECONDS_MAX))
            await runtime.call(self._beat)

    def _beat(self) -> None:
        with self._lock:
            if self._connection is not None:
                self._connection.acknowledge(self._flushed)
            self.meter.looked(*log_end(self._source.session))
            if (state := slot_state(self._source.session, self._names.slot)) is not None:
                self._budget.look(state, self._drop)
            self._let_go()
            self._look_for_tables()

    def _let_go(self) -> None:
        """Take tables that are followed no more out of the publication; later, where others hold them for now."""
        if not (leaving := self.leaving):
            return
        session = self._source.session
        try:
            session.run("begin")
            session.run(f"set local lock_timeout = {LEAVE_MILLISECONDS}")  # the stream waits meanwhile
            republished(session, self._config.cdc, self._names, [], leaving)
            session.run("commit")
            self.leaving = []
        except ExternalError:
            session.run("rollback")

    def _drop(self) -> None:
        """Give the slot up: the server needs the room."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        dropped(self._source.session, self._names.slot)

    def _look_for_tables(self) -> None:
        """See now and then whether tables have come that a pattern means: they need another plan."""
        now = self._context.runtime.clock.monotonic()
        if now < self._look_next:
            return
        self._look_for_lost()
        first, self._look_next = not self._look_next, now + self._config.cdc.heartbeat
        new = tables_since(self._source, self._source.session)
        fit = self._fitting(new, silently=first) if new else []  # what was there before, the plan has told
        if fit and self._change is None:
            self._change = SchemaChangedError(f"table {fit[0]} is new")

    def _look_for_lost(self) -> None:
        """Tell once of tables that the publication holds no more, as where one was dropped and made anew."""
        lost = unpublished(self._source.session, self._names, self._tables.values())
        for table in (t for t in lost if t.name not in self._told):
            self._told.add(table.name)
            what = (
                f"the publication {self._names.publication} does not hold {table.table} any more: no change of it "
                "comes until the workflow is stopped and run again"
            )
            self._context.emit(Noticed(self._context.workflow, "publication.lacks", what, self._context.node))

    def _fitting(self, new: Mapping[str, str], *, silently: bool) -> list[str]:
        """Return the outputs of tables that can be followed; tell once of each of the others."""
        session, context = self._source.session, self._context
        found = self._config.found([*new.values()])
        tables, unfit = fit_tables(session, found, alone=False)
        unfit |= late_tables(session, found, context, tables)
        for output, error in unfit.items():
            if output not in self._told and not silently:
                what = f"table {output} is left out: {error.what}"
                context.emit(Noticed(context.workflow, "schema.changed", what, context.node))
        self._told |= unfit.keys()
        return [output for output in tables if output not in unfit]

    def _answer(self) -> None:
        if self._connection is not None and self._flushed > self._answered:
            self._answered = self._flushed
            self._connection.acknowledge(self._flushed)


__all__ = ["ChangeStream"]
