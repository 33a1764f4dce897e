"""What the MariaDB source does in the modes that follow changes: its snapshots, and the stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from dataflare.component import Split
from dataflare.connectors.mariadb.changes.asking import RANKED
from dataflare.connectors.mariadb.changes.snapshots import Snapshot
from dataflare.connectors.mariadb.changes.stream import ChangeStream
from dataflare.connectors.mariadb.changes.surroundings import refuse_server, stands
from dataflare.connectors.mariadb.changes.tables import FollowedTable
from dataflare.connectors.mariadb.relations import base_type
from dataflare.connectors.mariadb.replication.places import Gtids
from dataflare.connectors.mariadb.replication.refusals import ANEW
from dataflare.sql.change_source import CHANGES, Following, Rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from dataflare.batch import Batch, Position
    from dataflare.connectors.mariadb.session import MariaSession
    from dataflare.connectors.mariadb.settings import MariaSourceConfig


class MariaRows(Rows, Protocol):
    """The source, as far as it reads tables."""

    config: MariaSourceConfig
    bytes_read: int

    @property
    def session(self) -> MariaSession:
        """The connection."""
        ...


class MariaFollowing(Following[FollowedTable, Snapshot]):
    """Belongs to one source, which is open."""

    anew = ANEW

    def __init__(self, source: MariaRows, tables: Mapping[str, FollowedTable]) -> None:
        """Know the tables by output."""
        super().__init__(source, tables)
        self._source, self._domain = source, 0
        self._stream: ChangeStream | None = None

    # ---- splits -------------------------------------------------------------------------------------------------

    def splits(self, since: Position | None) -> Iterator[Split]:
        """Yield the parts of all tables, where they are read first, then the stream behind them."""
        if since and since.get("changes"):
            return
        if since is None:
            refuse_server(self._source.session)
            gtids, own = stands(self._source.session)
            wanted = self._source.config.cdc.domain
            only = next(iter(gtids)) if len(gtids) == 1 else own
            begin, domain = str(gtids), only if wanted is None else wanted
        else:
            begin, domain = since["begin"], since["domain"]
        told = {"begin": begin, "domain": domain}
        if self._source.context.mode == "hybrid":
            tx = f"{Gtids.read(begin).number(domain):016x}"
            yield from self.parts(since, {"domain": domain, "tx": tx}, told)
        yield Split(CHANGES, {"tables": list(self.tables), **told}, {"changes": True})

    def read(self, split: Split, since: Position | None, until: Position | None) -> Any:
        """Yield the rows of a part as they are read, or the changes."""
        if split.id == CHANGES:
            return self._changes(split, since, until)
        self._domain = split.data["domain"]
        return self.part(split, since)

    # ---- the first reading --------------------------------------------------------------------------------------

    def taken(self, table: FollowedTable) -> Snapshot:
        """Begin a transaction."""
        return Snapshot.taken(self._source.session, table.relation.source, self._domain)

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
        self.refuse_new_tables(split)
        self.close()
        source = self._source
        stream = ChangeStream(source.config, source.context, source.session, self.tables)
        self._stream, before = stream, source.bytes_read
        reading = stream.read(since, until, split.data["begin"], split.data["domain"])
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

    def close(self) -> None:
        """Disconnect from the log."""
        if self._stream is not None:
            self._stream.close()


__all__ = ["CHANGES", "MariaFollowing"]
