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
from dataflare.sql.hashing import duckdb_text, form_of
from dataflare.sql.predicate import Wording, worded
from dataflare.sql.quoting import literal, quoted, split_name
from dataflare.sql.reading import ReadRelation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.connectors.duckdb.session import DuckdbSession
    from dataflare.connectors.duckdb.settings import DuckdbSourceConfig
    from dataflare.sql.hashing import Text
    from dataflare.sql.predicate import Form

ROW_ID = "rowid"
_WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
_COMPARED = (*_WHOLE, "VARCHAR", "BOOLEAN", "DATE", "TIMESTAMP", "TIMESTAMP WITH TIME ZONE")


def _value(text: str, kind: str) -> str:
    if kind == "string":
        return f"encode({text})"
    return text[1:-1] if kind.startswith("int") or kind == "bool" else f"{text}::{column_type(kind)}"


def _odd(column: str, kind: str) -> str:
    """Infinite times, which Arrow lacks."""
    times = kind in ("date", "datetime", "timestamp")
    return f"{column} < '0001-01-01' or {column} > '9999-12-31'" if times else ""


_WORDING = Wording(
    # By their bytes: a collation of the column may take texts for equal that are not the same.
    lambda column, kind: f"encode({column})" if kind == "string" else column,
    _value,
    _odd,
    "decode({}) like decode({})",
)


@dataclass(frozen=True, slots=True)
class DuckdbRelation(ReadRelation):
    """The relation is called `q`. `kinds` are DuckDB's types by column, for literals.

    `by_row_id`: rows are read by their row ids.
    """

    kinds: Mapping[str, str]
    by_row_id: bool = False

    def compares(self, column: str, sign: str) -> bool:
        """Compare as the engine does, which is DuckDB as well; texts by their bytes."""
        kind = self.kinds[column]
        if kind.startswith("DECIMAL"):
            return sign != "like"
        return kind in _COMPARED and (kind == "VARCHAR" or sign != "like")

    def condition(self, form: Form) -> str:
        """Return a condition in the words of DuckDB."""
        return worded(form, self.at, _WORDING)

    def hashed(self, column: str, kind: str) -> Text | None:
        """Write what DuckDB holds as exactly what is planned."""
        own, natural = self.kinds[column], self.found[column]
        same = natural == kind or (form_of(kind) == "int" and form_of(natural) == "int")
        plain = own in (*_COMPARED, "HUGEINT", "FLOAT", "DOUBLE", "BLOB") or own.startswith("DECIMAL")
        return duckdb_text(self.at(column), natural) if same and plain and own != "HUGEINT" else None

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
