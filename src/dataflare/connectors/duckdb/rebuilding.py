"""Alters a table that DuckDB does not alter: one with indexes, or a column of a key. Another table takes its place.

All of it is one transaction. What a copy would not have is refused: generated columns, and by DuckDB itself what
foreign keys of other tables refer to. Views name a table, and find the new one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.connectors.duckdb.session import MAIN
from dataflare.errors import WorkflowError
from dataflare.sql.dialect import Table
from dataflare.sql.duckdb_types import DUCKDB
from dataflare.sql.quoting import literal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dataflare.component.alteration import Alteration
    from dataflare.connectors.duckdb.session import DuckdbSession

_PLACE = "where database_name = current_database() and schema_name = $1 and table_name = $2"


def rebuilding(session: DuckdbSession, table: Table, alteration: Alteration) -> Sequence[str]:
    """Return the statements that alter a table, as the database does it or by a copy; raise WorkflowError."""
    place = (table.schema or MAIN, table.name)
    indexes = session.run(
        f"select index_name, is_unique, cast(expressions as varchar[]) from duckdb_indexes() {_PLACE}",  # noqa: S608
        place,
    )
    keys = session.run(
        f"select constraint_type, constraint_column_names, constraint_text from duckdb_constraints() {_PLACE}",  # noqa: S608
        place,
    )
    keyed = any(kind in ("PRIMARY KEY", "UNIQUE") and alteration.column in names for kind, names, _ in keys)
    if alteration.kind == "add" or not (indexes or (keyed and alteration.kind == "retype")):
        return alteration.statements
    copy = Table(f"_dataflare_copy_of_{table.name}", table.schema)
    rules = [text for kind, _, text in keys if kind != "NOT NULL"]
    return [
        f"drop table if exists {DUCKDB.reference(copy)}",
        *_copied(session, table, copy, alteration, rules),
        f"drop table {DUCKDB.reference(table)}",
        f"alter table {DUCKDB.reference(copy)} rename to {DUCKDB.quote(table.name)}",
        *(alteration.statements if alteration.kind in ("rename", "drop") else ()),
        *_remarks(session, table, alteration),
        *(_index(table, index, alteration) for index in indexes),
    ]


def _copied(
    session: DuckdbSession, table: Table, copy: Table, alteration: Alteration, rules: Sequence[str]
) -> Sequence[str]:
    """Return the statements that make the copy and fill it; types and NOT NULL are those of afterwards."""
    columns = session.run(
        "select column_name, data_type, is_nullable, column_default from duckdb_columns() "  # noqa: S608
        f"{_PLACE} order by column_index",
        (table.schema or MAIN, table.name),
    )
    ((text,),) = session.run(f"select sql from duckdb_tables() {_PLACE}", (table.schema or MAIN, table.name))  # noqa: S608
    if "GENERATED ALWAYS" in text.upper():
        raise WorkflowError(f"table {table} has indexes and columns that are generated", hint="alter it by hand")
    lines, values = [], []
    for name, kind, nullable, default in columns:
        mine, quoted = name == alteration.column, DUCKDB.quote(name)
        made = alteration.now if mine and alteration.kind == "retype" else kind
        free = nullable or (mine and alteration.kind == "nullable")
        given = f" default ({default})" if default is not None else ""
        lines.append(f"{quoted} {made}{'' if free else ' not null'}{given}")
        values.append(quoted if made == kind else f"cast({quoted} as {made})")
    names = DUCKDB.listed([name for name, *_ in columns])
    into = f"insert into {DUCKDB.reference(copy)} ({names})"
    return [
        f"create table {DUCKDB.reference(copy)} ({', '.join([*lines, *rules])})",
        f"{into} select {', '.join(values)} from {DUCKDB.reference(table)}",  # noqa: S608 - quoted
    ]


def _index(table: Table, found: tuple[str, bool, Sequence[str]], alteration: Alteration) -> str:
    """Return the statement that makes an index again; a column of it may have another name now."""
    name, unique, expressions = found
    listed = []
    for expression in expressions:
        column = _plain(expression)
        if alteration.kind == "drop" and alteration.column == column:
            raise WorkflowError(f"index {name} is on column {column}", hint=f"drop index {name}")
        renamed = alteration.kind == "rename" and alteration.was == column
        is_name = column != expression or expression.isidentifier()
        listed.append(DUCKDB.quote(alteration.now if renamed else column) if is_name else expression)
    kind = "unique index" if unique else "index"
    return f"create {kind} {DUCKDB.quote(name)} on {DUCKDB.reference(table)} ({', '.join(listed)})"


def _remarks(session: DuckdbSession, table: Table, alteration: Alteration) -> list[str]:
    """Return the statements that comment on the table and its columns again."""
    of = DUCKDB.reference(table)
    place = (table.schema or MAIN, table.name)
    found = session.run(f"select comment from duckdb_tables() {_PLACE} and comment is not null", place)  # noqa: S608
    made = [f"comment on table {of} is {literal(text)}" for (text,) in found]
    sql = f"select column_name, comment from duckdb_columns() {_PLACE} and comment is not null"  # noqa: S608
    for name, text in session.run(sql, place):
        if alteration.kind == "drop" and name == alteration.column:
            continue
        now = alteration.now if alteration.kind == "rename" and name == alteration.was else name
        made.append(f"comment on column {of}.{DUCKDB.quote(now)} is {literal(text)}")
    return made


def _plain(name: str) -> str:
    """Return a name without the quotes that it may have."""
    return name[1:-1].replace('""', '"') if name[:1] == '"' else name


__all__ = ["rebuilding"]
