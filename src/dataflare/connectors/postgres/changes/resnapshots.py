"""Reads tables beside the stream, a piece at a time between two of its batches: what was asked for, and new tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from dataflare.batch import Batch
from dataflare.clock import wait_blocking
from dataflare.component import Split
from dataflare.connectors.postgres.changes.logical import OURS
from dataflare.connectors.postgres.changes.parts import SEARCH_SECONDS
from dataflare.connectors.postgres.changes.resnapshot import Held, Resnapshot, with_tx
from dataflare.connectors.postgres.changes.snapshots import Reading, Seen
from dataflare.connectors.postgres.relations import WHOLE
from dataflare.errors import ExternalError
from dataflare.monitoring.events import Noticed
from dataflare.sql.change_source import as_read

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dataflare.component import Reread, StageContext
    from dataflare.connectors.postgres.changes.caught import Caught
    from dataflare.connectors.postgres.changes.parts import Parts, Piece
    from dataflare.connectors.postgres.changes.place import Place
    from dataflare.connectors.postgres.changes.resnapshot import Key
    from dataflare.connectors.postgres.changes.snapshots import Flags, Snapshot
    from dataflare.connectors.postgres.changes.tables import FollowedTable
    from dataflare.connectors.postgres.statements import Statements

TRIES, PAUSE_SECONDS = 20, 0.005
WAIT_SECONDS, TOLD_SECONDS = 0.1, 10.0
_BARRIER = "select pg_current_xact_id()::text"
"""Takes the next number of a transaction, so that all that were begun before have smaller ones."""
_MESSAGE = f"select pg_logical_emit_message(true, '{OURS}', '')::text"
"""Something durable behind a snapshot, so that the stream gets there."""


class Resnapshots:
    """Belongs to one stream of changes, and works on the `again` of its place. One piece at a time waits."""

    def __init__(self, context: StageContext, parts: Parts, tables: Mapping[str, FollowedTable]) -> None:
        """Know nothing that is to be read."""
        self._context, self._parts, self._tables = context, parts, tables
        self._barriers: dict[str, int] = {}
        self._asked: list[Reread] = []
        self._held: Held | None = None
        self._began = 0.0
        self._waits = self._told = False

    # ---- what is asked for --------------------------------------------------------------------------------------

    def ask(self, requests: Iterable[Reread]) -> None:
        """Let these be read as well, unless they are known."""
        self._asked += [r for r in requests if r.id not in {known.id for known in self._asked}]

    def forget(self, identities: Iterable[str]) -> None:
        """These were told to be answered, and nobody asks for them any more."""
        gone = set(identities)
        self._asked = [r for r in self._asked if r.id not in gone]

    def unread(self, place: Place) -> bool:
        """Tell whether something is to be read."""
        return bool(place.again) or any(r.id not in place.answered for r in self._asked)

    def wait_seconds(self, place: Place) -> float | None:
        """Return how long the stream may wait for changes before a piece is read; None: there is none to read."""
        if not self.unread(place):
            return None
        passes = bool(place.again) and place.again[0].new and place.again[0].stream in place.seen
        return WAIT_SECONDS if self._waits or passes or self._held is not None else 0.0

    def _take_up(self, place: Place) -> None:
        known = {one.id for one in place.again} | set(place.answered)
        for request in self._asked:
            if request.id in known:
                continue
            if request.stream in self._tables:
                place.again.append(Resnapshot(request.id, request.stream, request.low, request.high, request.where))
            else:
                place.answered.append(request.id)

    # ---- reading ------------------------------------------------------------------------------------------------

    def read(self, session: Statements, place: Place, caught: Caught) -> Iterator[Batch]:
        """Yield what waited for the stream and need not any more; read the next piece."""
        self._take_up(place)
        if self._held is not None:
            saw = self._held.snapshot.saw  # so will all that come later
            caught.passed = {number for number in caught.passed if not saw(number)}
            if place.lsn < self._held.snapshot.lsn:
                return
            for rows in self._held.errors:  # before the piece counts as read: it is read again rather than lost
                yield Batch(rows, "errors", place.position())
            yield self._sent(self._held, place)
        if not place.again:
            return
        one = place.again[0]
        if one.new and one.stream in place.seen:  # of the piece before: the stream has not passed all that it has seen
            return
        if one.id not in self._barriers:
            self._barriers[one.id] = int(session.run(_BARRIER)[0][0])
            self._began, self._told = self._context.runtime.clock.monotonic(), False
        piece = self._piece(one, caught)
        self._waits = piece is None
        if piece is None:
            self._tell_waiting(one)
            return
        if one.new:
            yield from self._new(one, piece, place)
            return
        schema = self._context.schemas[one.stream]
        tables = [as_read(rows, schema, "") for rows, _ in piece.batches]
        rows = pa.concat_tables([schema.to_arrow().empty_table(), *tables])
        key = None if piece.last else piece.batches[-1][1]
        self._held = Held(one, rows, piece.snapshot, key, self._tables[one.stream].key)
        self._held.errors = piece.errors
        self._parts.session.run(_MESSAGE)

    def _new(self, one: Resnapshot, piece: Piece, place: Place) -> Iterator[Batch]:
        """Yield a piece of a new table at once; changes that come are left out as far as its snapshot has seen them.

        Nobody has had its rows, so nothing is lost by that. The batch is all of the piece, with the position behind it:
        an epoch has both, or none.
        """
        for errors in piece.errors:
            yield Batch(errors, "errors", place.position())
        schema, before = self._context.schemas[one.stream], one.key
        tables = [as_read(rows, schema, f"{place.newest:016x}") for rows, _ in piece.batches]
        rows = pa.concat_tables([schema.to_arrow().empty_table(), *tables])
        if piece.last:
            place.again.remove(one)
        else:
            one.key, one.rows = piece.batches[-1][1], one.rows + rows.num_rows
        parts: list[tuple[Key | None, Snapshot | None]] = [] if before is None else [(None, None)]
        parts.append((before, piece.snapshot))
        span = self._split(one).data.get("keys")
        place.seen[one.stream] = Seen([Reading(one.stream, span, rows=rows.num_rows, parts=parts)])
        self._parts.session.run(_MESSAGE)
        yield Batch(rows, one.stream, place.position())

    def _sent(self, held: Held, place: Place) -> Batch:
        """Return what is left of a piece; all that its snapshot has seen is passed on."""
        one, self._held = held.one, None
        one.rows += held.count
        if held.key is None:
            place.again.remove(one)
            if not one.new:
                place.answered.append(one.id)
        else:
            one.key = held.key
        rows = with_tx(held.rows, pa.repeat(pa.scalar(f"{place.newest:016x}"), held.rows.num_rows))
        return Batch(rows, one.stream, place.position())

    def _piece(self, one: Resnapshot, caught: Caught) -> Piece | None:
        """Read under a snapshot that has seen all that was passed on; None where there is none for now.

        What was passed on before the barrier has smaller numbers; what came since is known. The commit of a transaction
        stands in the log, and may be passed on, before others see it: for a moment, as a rule.
        """
        early = False

        def accepts(snapshot: Snapshot) -> bool:
            nonlocal early
            early = snapshot.low < self._barriers[one.id]
            caught.passed = {number for number in caught.passed if not snapshot.saw(number)}
            return not (early or caught.passed)

        try:
            for _ in range(TRIES):
                piece = self._parts.piece(self._split(one), one.key, accepts)
                if piece is not None or early:
                    return piece
                wait_blocking(PAUSE_SECONDS)
        except ExternalError as error:
            if one.where is not None and "statement timeout" in error.what:
                self._read_whole(one)
            elif "holds a lock" not in error.hint:
                raise
        return None

    def _read_whole(self, one: Resnapshot) -> None:
        """Read the rows that do not meet the condition, too: the stream must not wait for the server to find some."""
        one.where = None
        what = (
            f"the server finds no rows of {self._tables[one.stream].table} by the condition that was asked for within "
            f"{SEARCH_SECONDS} seconds: the others of the range are read as well; an index helps it"
        )
        self._context.emit(Noticed(self._context.workflow, "resnapshot.slow", what, self._context.node))

    def _split(self, one: Resnapshot) -> Split:
        relation = self._tables[one.stream].relation
        if self._tables[one.stream].whole:
            return Split(one.id, {"stream": one.stream})
        where = {} if one.where is None else {"where": one.where}
        if (name := relation.whole_key()) is None:
            return Split(one.id, {"stream": one.stream, "between": [one.low, one.high], **where})
        least, greatest = WHOLE[relation.kinds[name]]
        low = least if one.low is None else int(one.low[0])
        high = greatest if one.high is None else int(one.high[0])
        return Split(one.id, {"stream": one.stream, "keys": [low, high], **where})

    def _tell_waiting(self, one: Resnapshot) -> None:
        clock, context = self._context.runtime.clock, self._context
        if not self._told and clock.monotonic() - self._began >= TOLD_SECONDS:
            self._told = True
            what = (
                f"{self._tables[one.stream].table} is read when transactions have ended that were open before it was "
                "asked for, or that hold the table for themselves"
            )
            context.emit(Noticed(context.workflow, "resnapshot.waits", what, context.node))

    # ---- changes meanwhile --------------------------------------------------------------------------------------

    def passing(self, stream: str, changes: pa.Table, place: Place, caught: Caught) -> pa.Table:
        """Return the changes of a stream as they are sent: with rows before them that waited, without what is unread.

        Of a table that is new, changes of rows that are not read yet are left out: a piece that comes will have them.
        """
        new = next((one for one in place.again if one.stream == stream and one.new), None)
        held = self._held if self._held is not None and self._held.one.stream == stream else None
        if (new is None and held is None) or not changes.num_rows:
            return changes
        if new is not None:
            unread = self._unread(changes, new, caught)
            return changes.filter(pa.array(~unread)) if unread.any() else changes
        assert held is not None
        return held.before(changes, held.unseen(caught.numbers(changes)))

    def _unread(self, changes: pa.Table, one: Resnapshot, caught: Caught) -> Flags:
        """Tell which changes are of keys behind the last one that was sent."""
        if one.key is None:
            return np.ones(changes.num_rows, bool)
        table = self._tables[one.stream]
        keys = [changes.column(name).combine_chunks() for name in table.key]
        if table.relation.whole_key() is None:
            return np.asarray(caught.ranks(table, keys, [one.key]) > 0)
        return np.asarray(keys[0].cast("int64").to_numpy() > one.key[0])

    def leaves_out_truncation(self, stream: str, place: Place) -> bool:
        """Tell whether nothing was sent yet of a new table that was emptied, so that nobody need know."""
        return any(one.stream == stream and one.new and one.key is None for one in place.again)

    def emptied(self, stream: str, number: int | None) -> None:
        """A table was emptied, and that is passed on: rows that waited are gone, unless they came later."""
        held = self._held
        if held is not None and held.one.stream == stream and (number is None or not held.snapshot.saw(number)):
            held.rows = held.rows.slice(0, 0)


__all__ = ["Resnapshots"]
