"""What the PostgreSQL source does in the modes that follow changes: splits, the first reading, and the stream."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dataflare.component import Split
from dataflare.connectors.postgres.changes.logical import OURS, message_stream
from dataflare.connectors.postgres.changes.parts import Parts
from dataflare.connectors.postgres.changes.place import Place
from dataflare.connectors.postgres.changes.publication import refuse_publication, republished, unpublished
from dataflare.connectors.postgres.changes.resnapshot import Resnapshot
from dataflare.connectors.postgres.changes.slot import Names, prepared, refuse_slot, slot_state, taken
from dataflare.connectors.postgres.changes.stream import ChangeStream
from dataflare.connectors.postgres.changes.tables import WHOLE_BYTES, refuse_large
from dataflare.connectors.postgres.relations import WHOLE
from dataflare.connectors.postgres.replication.messages import lsn_number, lsn_text
from dataflare.errors import ExternalError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from dataflare.batch import Batch, Position
    from dataflare.component import Lag, Reread, Stream
    from dataflare.connectors.postgres.changes.tables import FollowedTable, Rows
    from dataflare.connectors.postgres.statements import Statements
    from dataflare.schema import Schema

CHANGES = "/changes"
_NOW = "select pg_current_wal_insert_lsn()::text"
_MESSAGE = f"select pg_logical_emit_message(false, '{OURS}', '')"


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
        self._rows = Parts(source, tables)
        self._requests: list[Reread] = []
        self._answers: list[str] = []
        self._leaving: list[list[str]] = []
        self._stream: ChangeStream | None = None

    def streams(self, schemas: Mapping[str, Schema]) -> dict[str, Stream]:
        """Return the outputs: tables with the columns that are wanted, and what others write into the log."""
        found = {name: table.stream(schemas[name]) for name, table in self.tables.items()}
        return found | message_stream(self._source.config, found)

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
            new = [t for t in tables if t.name not in since.get("names", self.tables)]
            republished(session, self._source.config.cdc, self.names, new, [])
        refuse_publication(session, self.names, tables, mode)
        names = list((since or {}).get("names") or self.tables)  # others come later, beside the stream
        if mode == "hybrid":
            self._refuse_a_reader()
            yield from self._parts(since, begin, names)
        found = {n: [t.table.schema, t.table.name] for n, t in self.tables.items() if n in names}
        yield Split(CHANGES, {"tables": found, "begin": begin}, {"changes": True})

    def _refuse_a_reader(self) -> None:
        """Refuse to read tables while somebody reads the slot that is to tell what changes meanwhile."""
        state = slot_state(self._source.session, self.names.slot)
        if state is not None and state.active_pid is not None:
            raise taken(self.names.slot, state.active_pid, ExternalError)

    def _parts(self, since: Position | None, begin: str, names: list[str]) -> Iterator[Split]:
        tx = f"{lsn_number(begin):016x}"
        start = since["table"] if since else 0
        for number in range(start, len(names)):
            if (name := names[number]) not in self.tables:
                names[number] = ""  # if it comes back, it is new: nothing of it is read here
                continue
            going_on = since if since and number == start and "low" in since else None
            splits = list(self._source.ranges(name, number, going_on)) or [Split(name, {"stream": name})]
            for split in splits:
                first, last = going_on is None and split is splits[0], split is splits[-1]
                data = {**split.data, "tx": tx, **self._widened(name, split, first=first, last=last)}
                resume = {"table": number + 1} if last else dict(split.resume or {})
                yield Split(f"table {split.id}", data, {**resume, "begin": begin, "names": [*names]}, before=CHANGES)

    def _widened(self, name: str, split: Split, *, first: bool, last: bool) -> dict[str, Any]:
        """Return the range of a part: together they hold every number that there may be, also of rows that are gone."""
        relation = self.tables[name].relation
        key = relation.whole_key()
        if key is None:
            return {}
        least, greatest = WHOLE[relation.kinds[key]]
        low, high = split.data.get("keys", (least, greatest))
        return {"keys": [least if first else low, greatest if last else high]}

    # ---- rows ---------------------------------------------------------------------------------------------------

    def read(self, split: Split, since: Position | None, until: Position | None) -> Any:
        """Yield the rows of a part as they are read, or the changes."""
        if split.id == CHANGES:
            return self._changes(split, since, until)
        return self._rows.whole(split, since)

    def connected(self, session: Statements) -> None:
        """The source has taken another connection, which has seen nothing yet."""
        self._rows.connected(session)

    # ---- changes ------------------------------------------------------------------------------------------------

    async def _changes(self, split: Split, since: Position | None, until: Position | None) -> AsyncIterator[Batch]:
        self.close()
        source = self._source
        place = Place.at(since, lsn_number(split.data["begin"]))
        begun = since is not None and "lsn" in since
        await source.context.runtime.call(partial(self._compare, place, split.data["tables"], is_begun=begun))
        stream = ChangeStream(source, self.tables, self.names, self._rows)
        stream.resnapshots.ask(self._requests)
        self._stream, before = stream, source.bytes_read
        reading = stream.read(place, until)
        try:
            async for batch in reading:
                source.bytes_read = before + stream.bytes_read
                yield batch
        finally:
            await reading.aclose()

    def _compare(self, place: Place, planned: Mapping[str, Any] | Sequence[str], *, is_begun: bool) -> None:
        """Let the place and the publication be those of the tables that are followed now; new ones are to be read."""
        before: Mapping[str, Any] = dict.fromkeys(planned) if place.tables is None else place.tables
        if place.tables is None and isinstance(planned, dict):
            before = planned
        now = self._now()
        known = before
        if is_begun:  # parts of tables that are still to be read go by the names that they had
            before = place.renamed(before, now)
        session, config = self._source.session, self._source.config.cdc
        lost = self._lost() - place.left  # it left the publication, and its changes since then were told to nobody
        new = [n for n in now if n not in before or n in place.left | lost or before[n] not in (None, now[n])]
        place.only([name for name in now if name not in new])
        left = [full for name, full in before.items() if full is not None and full not in now.values()]
        hybrid = self._source.context.mode == "hybrid"
        refuse_large(session, [self.tables[name] for name in new if hybrid], WHOLE_BYTES)
        if new:  # to look at a publication takes locks of its tables
            republished(session, config, self.names, [self.tables[name] for name in new], [])
            refuse_publication(session, self.names, self.tables.values(), self._source.context.mode)
        place.again += [Resnapshot(f"table {name}", name, new=True) for name in new if hybrid]
        place.answered = [i for i in place.answered if i in {r.id for r in self._requests}]
        if known != now:
            place.tables = now
        self._leaving = left  # the server tells of them until that is committed: a kill before it puts them back

    def _now(self) -> dict[str, list[str]]:
        return {name: [t.table.schema, t.table.name] for name, t in self.tables.items()}

    def _lost(self) -> set[str]:
        """Return the outputs of tables that the publication does not hold; looks without a lock."""
        return {t.name for t in unpublished(self._source.session, self.names, self.tables.values())}

    def ask(self, requests: Sequence[Reread]) -> None:
        """Let tables be read again beside the stream, now or as soon as there is one."""
        self._requests = list(requests)
        if self._stream is not None:
            self._stream.resnapshots.ask(requests)

    def answered(self) -> Sequence[str]:
        """Return those of the requests that are read and committed; forget them."""
        found, self._answers = self._answers, []
        self._requests = [r for r in self._requests if r.id not in found]
        if self._stream is not None and found:
            self._stream.forget(found)
        return found

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
            if self._leaving and position.get("tables") == self._now():
                self._stream.leaving, self._leaving = self._leaving, []
            self._answers = list(position.get("answered", ()))

    def lag(self) -> Lag | None:
        """Return how far the stream is behind the log, once it is read."""
        return None if self._stream is None else self._stream.meter.lag()

    def close(self) -> None:
        """Disconnect from the slot."""
        if self._stream is not None:
            self._stream.close()


__all__ = ["CHANGES", "Following"]
