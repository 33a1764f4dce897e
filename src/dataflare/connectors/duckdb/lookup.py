"""Looks rows up in a DuckDB file, by the keys that come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.component import lookup
from dataflare.connectors.duckdb.relations import DuckdbRelation, relations
from dataflare.connectors.duckdb.session import DuckdbSession
from dataflare.connectors.duckdb.settings import DuckdbLookupConfig, DuckdbSourceConfig
from dataflare.connectors.duckdb.source import DuckdbSource
from dataflare.connectors.duckdb.values import incoming
from dataflare.sql.lookup import SqlLookup
from dataflare.sql.quoting import quoted

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.component import SourceConnector

_KEYS = "_dataflare_keys"


@lookup("duckdb", status="beta", examples=[{"path": "lake.duckdb", "table": "customers"}])
class DuckdbLookup(SqlLookup[DuckdbLookupConfig, DuckdbSession, DuckdbRelation]):
    """Looks rows up in a table, a view or a query of a DuckDB file.

    It is asked for the keys that come, all of a batch in one statement, and what it answers is remembered. With
    `cache: all` all rows are read once instead: that is cheaper where most keys of the table come.
    """

    def source(self) -> SourceConnector[Any]:
        """Return the source of the table."""
        return DuckdbSource(DuckdbSourceConfig(**self.config.of_source()))

    def connected(self) -> DuckdbSession:
        """Open the file for reading."""
        source = self.source()
        source.context = self.context
        assert isinstance(source, DuckdbSource)
        return source.connected()

    def relations(self, session: DuckdbSession) -> Mapping[str, DuckdbRelation]:
        """Return what the settings name."""
        return relations(session, DuckdbSourceConfig(**self.config.of_source()))

    def find(self, keys: pa.Table) -> pa.Table:
        """Ask for the rows of these keys."""
        session, relation, names = self.asked()
        listed = ", ".join(quoted(name) for name in keys.column_names)
        condition = f"({listed}) in (select ({listed}) from {_KEYS})"  # noqa: S608 - quoted
        session.register(_KEYS, keys)
        picked = ", ".join(relation.columns[n] for n in names)
        found = session.table(f"select {picked} from {relation.source} where {condition}")  # noqa: S608
        columns = [incoming(found.column(n), relation.schema[n].type, n) for n in names]
        return pa.table(columns, names=names)


__all__ = ["DuckdbLookup"]
