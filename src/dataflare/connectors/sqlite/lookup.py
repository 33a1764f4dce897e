"""Looks rows up in a SQLite file, by the keys that come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa

from dataflare.component import lookup
from dataflare.component.lookup import SourceLookup
from dataflare.connectors.sqlite.relations import SqliteRelation, relations
from dataflare.connectors.sqlite.session import SqliteSession
from dataflare.connectors.sqlite.settings import SqliteLookupConfig, SqliteSourceConfig
from dataflare.connectors.sqlite.source import SqliteSource
from dataflare.connectors.sqlite.values import from_values, to_values
from dataflare.errors import WorkflowError
from dataflare.formats.jsonl.encode import JsonTexts
from dataflare.schema import Schema
from dataflare.sql.quoting import quoted
from dataflare.sql.reading import among, select

if TYPE_CHECKING:
    from dataflare.component import SourceConnector

PARAMETERS_MAX = 8192
"""Values in one statement; SQLite takes four times as many."""


@lookup("sqlite", status="beta", examples=[{"path": "shop.db", "table": "customers"}])
class SqliteLookup(SourceLookup[SqliteLookupConfig]):
    """Looks rows up in a table, a view or a query of a SQLite file.

    It is asked for the keys that come, several thousand at a time, and what it answers is remembered: the key columns
    should have an index. With `cache: all` all rows are read once instead. Keys that are times need `cache: all`.
    """

    by_key = True
    _session: SqliteSession | None = None
    _relation: SqliteRelation

    def source(self) -> SourceConnector[Any]:
        """Return the source of the table."""
        return SqliteSource(self._settings())

    def declared(self) -> Schema | None:
        """Return the declared columns."""
        return None if self.config.columns is None else Schema.of(self.config.columns)

    def schema(self) -> Schema:
        """Return the declared columns, else ask the file."""
        found = super().schema()
        return found if self.config.columns is None else found.select(self.config.columns)

    def find(self, keys: pa.Table) -> pa.Table:
        """Ask for the rows of these keys."""
        if any(pa.types.is_temporal(field.type) for field in keys.schema):
            raise WorkflowError("SQLite keeps times as text of any form: they are no keys", hint="set cache: all")
        session = self._connected()
        names = list(self.config.columns or self._relation.schema.names)
        order = {name: quoted(name) for name in keys.column_names}
        texts = JsonTexts()
        columns = [to_values(keys.column(name), name, texts) for name in keys.column_names]
        wanted = list(zip(*columns, strict=True))
        step = max(1, PARAMETERS_MAX // len(columns))
        rows: list[tuple[Any, ...]] = []
        for start in range(0, len(wanted), step):
            given: list[Any] = []
            condition = among(order, wanted[start : start + step], lambda _, value, g=given: _parameter(g, value))
            rows += session.run(select(self._relation.picked(names), [condition]), given)
        found = list(zip(*rows, strict=True)) if rows else [()] * len(names)
        kinds = self._relation.schema
        return pa.table([from_values(v, kinds[n].type, n) for v, n in zip(found, names, strict=True)], names=names)

    def close(self) -> None:
        """Close the file."""
        session, self._session = self._session, None
        if session is not None:
            session.close()

    def _connected(self) -> SqliteSession:
        if self._session is None:
            session = SqliteSession(self.context.path(self.config.path), self.config.wait, write=False)
            self._session = session
            self._relation = relations(session, self._settings())[""]
        return self._session

    def _settings(self) -> SqliteSourceConfig:
        given = self.config.model_dump(exclude={"columns"}, exclude_defaults=True)
        return SqliteSourceConfig(**given, types=self.config.columns or {})


def _parameter(given: list[Any], value: Any) -> str:
    given.append(value)
    return f"?{len(given)}"


__all__ = ["SqliteLookup"]
