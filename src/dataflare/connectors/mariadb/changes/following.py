"""What the MariaDB source does in the modes that follow changes: its snapshots, and the stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.component import Split
from dataflare.connectors.mariadb.changes.asking import RANKED
from dataflare.connectors.mariadb.changes.lag import LogFiles
from dataflare.connectors.mariadb.changes.place import Place
from dataflare.connectors.mariadb.changes.shapes import Shapes
from dataflare.connectors.mariadb.changes.snapshots import Snapshot
from dataflare.connectors.mariadb.changes.stream import ChangeStream
from dataflare.connectors.mariadb.changes.surroundings import refuse_server, stands
from dataflare.connectors.mariadb.changes.tables import FollowedTable
from dataflare.connectors.mariadb.relations import base_type
from dataflare.connectors.mariadb.replication.places import Gtids
from dataflare.connectors.mariadb.replication.refusals import ANEW
from dataflare.sql.change_source import CHANGES, Following

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from dataflare.batch import Batch, Position
    from dataflare.component import Lag
    from dataflare.connectors.mariadb.changes.tables import MariaRows


_TOLD = ("begin", "domain", "log", "kinds", "row_keys")
"""What the split of the stream knows of its beginning."""


class MariaFollowing(Following[FollowedTable, Snapshot]):
    """Belongs to one source, which is open."""

    anew = ANEW

    def __init__(self, source: MariaRows, tables: Mapping[str, FollowedTable]) -> None:
        """Know the tables by output."""
        super().__init__(source, tables)
        self._source, self._domain = source, 0
        self._shapes = Shapes(source, tables)
        self._stream: ChangeStream | None = None

    # ---- splits -------------------------------------------------------------------------------------------------

    def splits(self, since: Position | None) -> Iterator[Split]:
        """Yield the parts of all tables, where they are read first, then the stream behind them."""
        if since and since.get("changes"):
            return
        if since is None:
            refuse_server(self._source.session)
            log, _ = LogFiles(self._source.session).end()
            gtids, own = stands(self._source.session)
            wanted = self._source.config.cdc.domain
            only = next(iter(gtids)) if len(gtids) == 1 else own
            told: dict[str, Any] = {"begin": str(gtids), "domain": only if wanted is None else wanted}
            told["log"] = list(log)
            told["kinds"] = {name: hidden for name, t in self.tables.items() if (hidden := t.hidden())}
            told["row_keys"] = {name: None if t.whole else list(t.key) for name, t in self.tables.items()}
        else:
            told = {name: since[name] for name in _TOLD if name in since}
        names = list((since or {}).get("names") or self.tables)
        if self._source.context.mode == "hybrid":
            domain = told["domain"]
            tx = f"{Gtids.read(told['begin']).number(domain):016x}"
            yield from self.parts(since, {"domain": domain, "tx": tx}, told, names)
        yield Split(CHANGES, {"tables": [n for n in self.tables if n in names], **told}, {"changes": True})

    def read(self, split: Split, since: Position | None, until: Position | None) -> Any:
        """Yield the rows of a part as they are read, or the changes."""
        if split.id == CHANGES:
            return self._changes(split, since, until)
        self._domain = split.data["domain"]
        return self.part(split, since)

    # ---- the first reading --------------------------------------------------------------------------------------

    def taken(self, table: FollowedTable) -> Snapshot:
        """Begin a transaction; raise SchemaChangedError where it sees other columns than planned."""
        snapshot = Snapshot.taken(self._source.session, table.relation.source, self._domain)
        self._shapes.now(table.name, locked=True)
        return snapshot

    def released(self) -> None:
        """End the transaction."""
        self._source.session.run("commit")

    def renews(self, table: FollowedTable) -> bool:
        """What is read in the order of its key is asked by one statement after another."""
        return self.resumes(table)

    def resumes(self, table: FollowedTable) -> bool:
        """Tell whether the order of the keys can be compared: else nobody knows what was read under which snapshot."""
        kinds = table.relation.kinds
        return not table.whole and all(base_type(kinds[name]) in RANKED for name in table.key)

    def snapshot(self, told: Any) -> Snapshot:
        """Read what a snapshot wrote."""
        return Snapshot.from_json(told)

    # ---- changes ------------------------------------------------------------------------------------------------

    async def _changes(self, split: Split, since: Position | None, until: Position | None) -> AsyncIterator[Batch]:
        place = Place.at(since, split.data)
        self.refuse_new_tables(split, place.left)
        place.left |= {name for name in split.data["tables"] if name not in self.tables}
        for name, key in split.data.get("row_keys", {}).items():
            if name in self.tables:
                self.tables[name].refuse_other_key(key)
        self.close()
        source = self._source
        stream = ChangeStream(source, self.tables, self._shapes)
        self._stream, before = stream, source.bytes_read
        reading = stream.read(place, until, known="gtid" in (since or {}))
        try:
            async for batch in reading:
                source.bytes_read = before + stream.bytes_read
                yield batch
        finally:
            await reading.aclose()

    def ends(self) -> Mapping[str, Position]:
        """Return where the log ends now."""
        gtids, _ = stands(self._source.session)
        return {CHANGES: {"gtid": str(gtids)}}

    def acknowledge(self, positions: Mapping[str, Position]) -> None:
        """Count what is committed of the stream."""
        if self._stream is not None and (position := positions.get(CHANGES)) is not None:
            self._stream.acknowledge(position)

    def lag(self) -> Lag | None:
        """Return how far the stream is behind the log, once it is read."""
        return None if self._stream is None else self._stream.meter.lag()

    def close(self) -> None:
        """Disconnect from the log."""
        if self._stream is not None:
            self._stream.close()


__all__ = ["CHANGES", "MariaFollowing"]
