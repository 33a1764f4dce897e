"""Reads the stream of changes from the log: in order, none twice, from where the state says."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from dataflare.batch import Batch
from dataflare.component.lag import LagMeter
from dataflare.connectors.mariadb.changes.asking import Asking
from dataflare.connectors.mariadb.changes.lag import LogFiles, reader_name, reads
from dataflare.connectors.mariadb.changes.place import gtids_of
from dataflare.connectors.mariadb.replication.connection import BinlogConnection
from dataflare.connectors.mariadb.replication.decoder import Decoded, Decoder, Emptied, Settled
from dataflare.connectors.mariadb.replication.places import LogPlace
from dataflare.errors import DataError, SchemaChangedError
from dataflare.sql.change_source import emptied
from dataflare.sql.misfits import fitting, left, put_aside

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator, Mapping

    from dataflare.batch import Position
    from dataflare.connectors.mariadb.changes.place import Place
    from dataflare.connectors.mariadb.changes.shapes import Shapes
    from dataflare.connectors.mariadb.changes.tables import FollowedTable, MariaRows
    from dataflare.sql.spans import Flags

RECEIVE_SECONDS, RECEIVE_BYTES = 0.5, 2 << 20
PULSE_SECONDS_MAX = 2.0
"""How often the server is asked how far its log goes."""
_SERVER_IDS = (1 << 31, (1 << 32) - 1)
"""Numbers of our own are chosen from the upper half: those of servers are mostly small."""
_QUIET_SECONDS = 31_536_000


class ChangeStream:
    """One reader of the log; the connection of `source` is for questions, and nobody else uses it meanwhile."""

    def __init__(self, source: MariaRows, tables: Mapping[str, FollowedTable], shapes: Shapes) -> None:
        """Know all of it; connect later."""
        self._config, self._context, self._source, self._tables = source.config, source.context, source, tables
        self._shapes, self._asking = shapes, Asking(source.session)
        self._connection: BinlogConnection | None = None
        self._change: SchemaChangedError | None = None
        self._lock, self._files = threading.Lock(), LogFiles(source.session)
        self._name = reader_name(source.context)
        self.bytes_read = 0
        self.meter = LagMeter(0)

    async def read(self, place: Place, until: Position | None, *, known: bool) -> AsyncGenerator[Batch]:
        """Yield what comes after a place, which is `known` already or is told; up to `until`, where that is given.

        Raises SchemaChangedError where what comes next has other columns than planned.
        """
        call, clock = self._context.runtime.call, self._context.runtime.clock
        end = gtids_of(until) if until is not None else None
        self._place = place
        await call(self._start)
        await call(self._beat)
        pulse = asyncio.create_task(self._pulse())
        try:
            told, when = str(place.gtids) if known else None, clock.monotonic()
            while end is None or place.is_open or not place.gtids.reaches(end):
                for batch in await call(self._taken):
                    yield batch
                    told, when = str(gtids_of(batch.position or {})), clock.monotonic()
                if self._change is not None:
                    raise self._change
                due = clock.monotonic() - when >= self._config.cdc.heartbeat
                if due and not place.is_open and str(place.gtids) != told:
                    yield self._nothing()
                    told, when = str(place.gtids), clock.monotonic()
                if pulse.done():
                    pulse.result()
            if str(place.gtids) != told:
                yield self._nothing()
            await call(self._beat)
        finally:
            pulse.cancel()
            await asyncio.gather(pulse, return_exceptions=True)

    def acknowledge(self, position: Position) -> None:
        """Count what a position has passed as committed."""
        if "log" in position:
            self.meter.committed(self._files.byte(LogPlace(*position["log"])))

    def close(self) -> None:
        """Disconnect."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    # ---- parts --------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self.close()
        context, place = self._context, self._place
        number = self._config.cdc.server_id or context.runtime.random.randint(*_SERVER_IDS)
        self._source.session.run(f"set session wait_timeout = {_QUIET_SECONDS}")
        connection = BinlogConnection(self._config, f"dataflare {context.workflow}/{context.node}", number)
        self._connection = connection
        connection.start(place.gtids, self._config.cdc.heartbeat)
        self._shapes.kinds = place.kinds
        if place.log is not None:
            self.meter = LagMeter(self._files.byte(place.log))
        self._decoder = Decoder(self._shapes, self._asking, place.gtids, place.ahead, place.domain)

    def _taken(self) -> list[Batch]:
        """Receive what has come, for a moment at most."""
        connection = self._connection
        assert connection is not None, "the stream was not started"
        events = connection.receive(RECEIVE_SECONDS, RECEIVE_BYTES)
        self.bytes_read += sum(map(len, events))
        with self._lock:
            return self._told(events)

    def _told(self, events: list[bytes]) -> list[Batch]:
        found: list[Batch] = []
        try:
            for one in self._decoder.feed(events):
                if isinstance(one, Settled):
                    self._place.settled(one)
                    self._read_up_to(one)
                else:
                    found += self._changes(one) if isinstance(one, Decoded) else self._emptied(one)
        except SchemaChangedError as change:  # what came before it is still of this plan
            self._change = change
        if found:  # the last one tells that all is passed
            found[-1] = Batch(found[-1].rows, found[-1].stream, self._place.position())
        return found

    def _read_up_to(self, now: Settled) -> None:
        if (log := self._place.log) is not None:
            time = now.at.second * 1_000_000
            self.meter.read(self._files.byte(log), *((0, time) if now.is_open else (time, 0)))

    def _changes(self, one: Decoded) -> Iterator[Batch]:
        table, place = self._tables[one.stream], self._place
        rows, misfits = left(one.changes.rows, one.changes.misfits, self._seen(one), table.key)
        misfits = [m for m in misfits if m.point > place.told.get(one.stream, (-1, 0))]
        if misfits:
            place.told[one.stream] = misfits[-1].point
            yield Batch(put_aside(misfits, str(table.table)), "errors", place.position())
        place.passed(one.stream, *one.changes.last)
        if rows.num_rows:
            yield Batch(rows, one.stream, place.position())

    def _seen(self, one: Decoded) -> Flags | None:
        """Tell by row which changes a first reading saw; None where none. One whose key does not fit was not seen."""
        rows, numbers, table = one.changes.rows, one.changes.numbers, self._tables[one.stream]
        seen = self._place.seen.get(one.stream)
        if seen is None or not len(numbers) or numbers[0] >= seen.until:
            return None
        keys = [rows[name].combine_chunks() for name in table.key]
        fits = fitting(keys) if one.changes.misfits else np.ones(len(numbers), bool)
        keys = [key.filter(pa.array(fits)) for key in keys] if not fits.all() else keys
        flags = np.zeros(len(numbers), bool)
        flags[fits] = seen.flags(numbers[fits], keys, lambda keys, parts: self._asking.ranks(table, keys, parts))
        return flags if flags.any() else None

    def _emptied(self, one: Emptied) -> Iterator[Batch]:
        seen, policy = self._place.seen.get(one.stream), self._config.cdc.truncate
        before = seen is not None and one.number < seen.until and seen.by_all(one.number)
        table = self._tables[one.stream].table
        if not before and policy == "fail":
            raise DataError(
                f"{table} was truncated by transaction {one.number} of domain {self._place.domain}",
                hint="say what becomes of it, with cdc: {truncate: apply} or {truncate: skip}",
            )
        if before or policy == "skip":
            return
        self._place.seen.pop(one.stream, None)  # all that is in the table from here on comes by the stream
        self._place.passed(one.stream, one.number, 1)
        rows = emptied(self._context.schemas[one.stream], one.when * 1_000_000, f"{one.number:016x}")
        yield Batch(rows, one.stream, self._place.position())

    def _nothing(self) -> Batch:
        """Return no rows and where the stream stands."""
        stream = next(iter(self._tables))
        return Batch(self._context.schemas[stream].to_arrow().empty_table(), stream, self._place.position())

    # ---- meanwhile ----------------------------------------------------------------------------------------------

    async def _pulse(self) -> None:
        """Look now and then how far the log goes, also while nobody takes changes."""
        runtime = self._context.runtime
        while True:
            await runtime.clock.sleep(min(self._config.cdc.heartbeat, PULSE_SECONDS_MAX))
            await runtime.call(self._beat)

    def _beat(self) -> None:
        with self._lock:
            reads(self._source.session, self._name)
            end, now = self._files.end()
            self.meter.looked(self._files.byte(end), now)


__all__ = ["ChangeStream"]
