"""Looks rows up in PostgreSQL, by the keys that come."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from dataflare.component import lookup
from dataflare.connectors.postgres.relations import PostgresRelation, relations
from dataflare.connectors.postgres.session import PostgresSession
from dataflare.connectors.postgres.settings import PostgresLookupConfig, PostgresSourceConfig
from dataflare.connectors.postgres.source import PostgresSource
from dataflare.connectors.postgres.values import incoming
from dataflare.errors import WorkflowError
from dataflare.sql.lookup import SqlLookup
from dataflare.sql.postgres_types import POSTGRES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.component import SourceConnector

KEYS_MAX = 10_000
"""Keys in one statement."""
_TEXTS = ("text", "varchar", "bpchar", "name", "citext", "")
_UUID = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"


@lookup(
    "postgres",
    status="beta",
    examples=[{"url": "postgresql://app@localhost/shop", "password": "${secret:pg/PASSWORD}", "table": "customers"}],
)
class PostgresLookup(SqlLookup[PostgresLookupConfig, PostgresSession, PostgresRelation]):
    """Looks rows up in a table, a view or a query of PostgreSQL.

    It is asked for the keys that come, up to ten thousand in one statement, and what it answers is remembered: the key
    columns should have an index. With `cache: all` all rows are read once instead.
    """

    def source(self) -> SourceConnector[Any]:
        """Return the source of the table."""
        return PostgresSource(PostgresSourceConfig(**self.config.of_source()))

    def connected(self) -> PostgresSession:
        """Return a new connection."""
        return PostgresSession(self.config, f"dataflare {self.context.workflow}/{self.context.node}"[:63])

    def relations(self, session: PostgresSession) -> Mapping[str, PostgresRelation]:
        """Return what the settings name."""
        return relations(session, PostgresSourceConfig(**self.config.of_source()))

    def find(self, keys: pa.Table) -> pa.Table:
        """Ask for the rows of these keys."""
        session, relation, names = self.asked()
        for name in keys.column_names:
            if relation.kinds[name] == "uuid":
                keys = keys.filter(pc.match_substring_regex(keys[name], _UUID))
        sql, kinds = _statement(relation, keys.schema, names), relation.schema
        parts = []
        for start in range(0, max(1, keys.num_rows), KEYS_MAX):
            texts = [_texts(column) for column in keys.slice(start, KEYS_MAX).columns]
            answer = session.answer(sql, [pa.array([column], pa.list_(pa.string())) for column in texts])
            columns = [_incoming(answer.column(n), kinds[name].type, name) for n, name in enumerate(names)]
            parts.append(pa.table(columns, names=names))
        return pa.concat_tables(parts)


def _statement(relation: PostgresRelation, keys: pa.Schema, names: list[str]) -> str:
    """Return the query; keys come as arrays of text, one for each column."""
    arrays, same = [], []
    for number, field in enumerate(keys):
        kind, column = relation.kinds[field.name], POSTGRES.quote(field.name)
        cast = "uuid" if kind == "uuid" else _cast(field.type)
        if cast == "text" and kind not in _TEXTS:
            column = f"{column}::text"
        arrays.append(f"${number + 1}::text[]::{cast}[]")
        same.append(f"{column} = __keys.k{number}")
    listed = ", ".join(relation.columns[name] for name in names)
    aliases = ", ".join(f"k{number}" for number in range(len(keys)))
    order = f" order by {', '.join(relation.order.values())}" if relation.order else ""
    unnested = f"unnest({', '.join(arrays)}) as __keys({aliases})"
    return f"select {listed} from {relation.source} join {unnested} on {' and '.join(same)}{order}"  # noqa: S608 - quoted


def _cast(kind: pa.DataType) -> str:
    """Return the type of PostgreSQL in which keys are compared: no narrower than what may come."""
    t = pa.types
    tests = (
        (t.is_integer(kind) and str(kind) != "uint64", "int8"),
        (t.is_decimal(kind) or t.is_integer(kind), "numeric"),
        (t.is_floating(kind), "float8"),
        (t.is_boolean(kind), "bool"),
        (t.is_date(kind), "date"),
        (t.is_time(kind), "time"),
        (t.is_timestamp(kind) and kind.tz is not None, "timestamptz"),
        (t.is_timestamp(kind), "timestamp"),
        (t.is_string(kind), "text"),
    )
    for fits, name in tests:
        if fits:
            return name
    raise WorkflowError(f"keys of the type {kind} cannot be asked for", hint="set cache: all")


def _texts(column: pa.ChunkedArray) -> list[str]:
    texts: list[str] = column.cast(pa.string()).to_pylist()
    return texts


def _incoming(column: pa.ChunkedArray, text: str, name: str) -> pa.ChunkedArray:
    from dataflare.schema import arrow_type

    return pa.chunked_array([incoming(chunk, text, name) for chunk in column.chunks], arrow_type(text))


__all__ = ["PostgresLookup"]
