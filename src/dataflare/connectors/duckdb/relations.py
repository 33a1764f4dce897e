"""What a DuckDB source reads: tables with their row ids or keys, views and queries, each with its columns and types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dataflare.component.deviations import wider_type
from dataflare.connectors.duckdb.session import MAIN
from dataflare.errors import WorkflowError
from dataflare.schema import Column, Schema, canonical
from dataflare.sql.dialect import Table
from dataflare.sql.duckdb_types import DUCKDB, column_type, type_text
from dataflare.sql.quoting import literal, quoted, split_name
from dataflare.sql.reading import ReadRelation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.connectors.duckdb.session import DuckdbSession
    from dataflare.connectors.duckdb.settings import DuckdbSourceConfig

ROW_ID = "rowid"
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")


@dataclass(frozen=True, slots=True)
class DuckdbRelation(ReadRelation):
    """The relation is called `q`. `kinds` are DuckDB's types by column, for literals.

    `by_row_id`: rows are read by their row ids.
    """

    kinds: Mapping[str, str]
    by_row_id: bool = False

    def at(self, column: str) -> str:
        """Return the column of the table, whatever a query that reads it calls an output: `order by` means that one."""
        return f"q.{quoted(column)}"

    def as_json(self, column: str) -> str:
        """Return the expression that yields a column of the order as a number or as text, for a position."""
        name = column.removeprefix("/")
        return f"cast({self.at(name)} as {'bigint' if self.kinds[name] in _WHOLE else 'varchar'})"

    def value(self, column: str, value: Any) -> str:
        """Return a value of a position as a literal."""
        kind = self.kinds[column.removeprefix("/")]
        return f"cast({literal(str(value))} as {kind})"


def relations(session: DuckdbSession, config: DuckdbSourceConfig) -> dict[str, DuckdbRelation]:
    """Return what the settings name, by output; raise WorkflowError for what is not there."""
    if config.query:
        text = config.query.rstrip().rstrip(";")
        if not session.is_query(text):
            raise WorkflowError("the query is not one SELECT", hint="DuckDB files are read by one SELECT alone")
        found = {"": _relation(session, f"({text}\n) as q", config, Table(""))}
    else:
        found = {output: _named(session, name, config) for output, name in config.outputs().items()}
    for column in config.types:
        if not any(column in r.schema for r in found.values()):
            raise WorkflowError(f"types names {column}, which is no column", hint="remove it")
    return found


def _named(session: DuckdbSession, name: str, config: DuckdbSourceConfig) -> DuckdbRelation:
    schema, plain = split_name(name)
    table = Table(plain, schema)
    if session.columns(table) is None:
        tables = "select schema_name, table_name from duckdb_tables()"
        views = "select schema_name, view_name from duckdb_views() where not internal"
        rows = session.run(f"select * from ({tables} union {views}) order by all limit 20")  # noqa: S608 - no value in it
        known = ", ".join(str(Table(n, "" if s == MAIN else s)) for s, n in rows if not n.startswith("_dataflare"))
        raise WorkflowError(f"there is no table {name}", hint=f"there are: {known or 'none'}")
    return _relation(session, f"{DUCKDB.reference(table)} as q", config, table)


def _relation(session: DuckdbSession, source: str, config: DuckdbSourceConfig, table: Table) -> DuckdbRelation:
    told, types = config.told_types(), session.described(source)
    natural = {name: canonical(type_text(kind)) for name, kind in types.items()}
    lost = [k for k in config.key if k not in natural]
    if lost:
        raise WorkflowError(f"there is no column {lost[0]} to be the key", hint=f"there are {', '.join(natural)}")
    schema = Schema(tuple(Column(name, told.get(name) or kind) for name, kind in natural.items()))
    kinds = {name: str(kind) for name, kind in types.items()}
    columns = {c.name: _expression(c, natural[c.name], kinds[c.name]) for c in schema}
    primary = session.primary_key(table) if table.name else ()
    key = tuple(config.key) or primary
    free = ROW_ID not in {name.lower() for name in natural}
    return DuckdbRelation(
        source,
        columns,
        {k: f"q.{quoted(k)}" for k in key},
        schema,
        kinds,
        by_row_id=free and not config.key and bool(table.name) and session.is_table(table),
        proven=bool(key) and set(key) == set(primary),
        unique=key,
        found=natural,
    )


def _expression(column: Column, natural: str, kind: str) -> str:
    """Return the SQL by which a column arrives so that Arrow can make its planned type of it.

    What may not fit its planned type comes as text: DuckDB would fail at the first value that does not.
    """
    name, text = quoted(column.name), column.type
    wanted = column_type(text if wider_type(natural, text) == text or text in ("string", "json") else "string")
    return name if wanted == kind else f"cast({name} as {wanted}) as {name}"


__all__ = ["ROW_ID", "DuckdbRelation", "relations"]
