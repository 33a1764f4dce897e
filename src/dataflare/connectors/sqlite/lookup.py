"""Looks rows up in a SQLite file, by the keys that come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.component import lookup
from dataflare.connectors.sqlite.relations import SqliteRelation, relations
from dataflare.connectors.sqlite.session import SqliteSession
from dataflare.connectors.sqlite.settings import SqliteLookupConfig, SqliteSourceConfig
from dataflare.connectors.sqlite.source import SqliteSource
from dataflare.connectors.sqlite.values import from_values, to_values
from dataflare.errors import WorkflowError
from dataflare.formats.jsonl.encode import JsonTexts
from dataflare.sql.lookup import SqlLookup
from dataflare.sql.quoting import quoted
from dataflare.sql.reading import among, select

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.component import SourceConnector

PARAMETERS_MAX = 8192
"""Values in one statement; SQLite takes four times as many."""


@lookup("sqlite", status="beta", examples=[{"path": "shop.db", "table": "customers"}])
class SqliteLookup(SqlLookup[SqliteLookupConfig, SqliteSession, SqliteRelation]):
    """Looks rows up in a table, a view or a query of a SQLite file.

    It is asked for the keys that come, several thousand at a time, and what it answers is remembered: the key columns
    should have an index. With `cache: all` all rows are read once instead. Keys that are times need `cache: all`.
    """

    def source(self) -> SourceConnector[Any]:
        """Return the source of the table."""
        return SqliteSource(SqliteSourceConfig(**self.config.of_source()))

    def connected(self) -> SqliteSession:
        """Open the file for reading."""
        return SqliteSession(self.context.path(self.config.path), self.config.wait, write=False)

    def relations(self, session: SqliteSession) -> Mapping[str, SqliteRelation]:
        """Return what the settings name."""
        return relations(session, SqliteSourceConfig(**self.config.of_source()))

    def find(self, keys: pa.Table) -> pa.Table:
        """Ask for the rows of these keys."""
        if any(pa.types.is_temporal(field.type) for field in keys.schema):
            raise WorkflowError("SQLite keeps times as text of any form: they are no keys", hint="set cache: all")
        session, relation, names = self.asked()
        order = {name: quoted(name) for name in keys.column_names}
        texts = JsonTexts()
        columns = [to_values(keys.column(name), name, texts) for name in keys.column_names]
        wanted = list(zip(*columns, strict=True))
        step = max(1, PARAMETERS_MAX // len(columns))
        rows: list[tuple[Any, ...]] = []
        for start in range(0, len(wanted), step):
            given: list[Any] = []
            condition = among(order, wanted[start : start + step], lambda _, value, g=given: _parameter(g, value))
            rows += session.run(select(relation.picked(names), [condition]), given)
        found = list(zip(*rows, strict=True)) if rows else [()] * len(names)
        kinds = relation.schema
        return pa.table([from_values(v, kinds[n].type, n) for v, n in zip(found, names, strict=True)], names=names)


def _parameter(given: list[Any], value: Any) -> str:
    given.append(value)
    return f"?{len(given)}"


__all__ = ["SqliteLookup"]
