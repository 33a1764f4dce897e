"""Table definitions: makes a table for a schema, and finds what a table that is there lacks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.errors import WorkflowError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dataflare.schema import Column, Schema
    from dataflare.sql.dialect import Dialect, Table


def create_table(
    dialect: Dialect,
    table: Table,
    schema: Schema,
    key: Sequence[str] = (),
    *,
    kind: str = "table",
    numbered: bool = False,
) -> str:
    """Return the statement that makes a table unless it is there; `kind` may be `temporary table`.

    Key columns are `not null` and the primary key. A `numbered` table numbers its rows in the dialect's `ordinal`.
    """
    lines = [_defined(dialect, c, key) for c in schema]
    if numbered:
        lines.append(f"{dialect.ordinal} {dialect.numbering}")
    if key:
        lines.append(f"primary key ({dialect.listed(tuple(key))})")
    return f"create {kind} if not exists {dialect.reference(table)} ({', '.join(lines)})"


def add_column(dialect: Dialect, table: Table, column: Column) -> str:
    """Return the statement that adds a column; it is nullable, as rows that are there have no value for it."""
    added = f"{dialect.quote(column.name)} {dialect.column_type(column.type)}"
    return f"alter table {dialect.reference(table)} add column {added}"


def drop_table(dialect: Dialect, table: Table) -> str:
    """Return the statement that removes a table if it is there."""
    return f"drop table if exists {dialect.reference(table)}"


def missing(schema: Schema, found: Iterable[str]) -> list[Column]:
    """Return the columns of a schema that a table lacks."""
    there = set(found)
    return [c for c in schema if c.name not in there]


def check_key(schema: Schema, key: Sequence[str], node: str) -> None:
    """Refuse a key that the rows do not have."""
    lost = [k for k in key if k not in schema]
    if lost:
        raise WorkflowError(
            f"the key column {lost[0]} is not among the columns that reach {node}: {', '.join(schema.names)}",
            hint="name columns of the rows in key",
        )


def merged_schemas(schemas: Mapping[str, Schema], node: str) -> Schema:
    """Return the columns of all inputs of a destination; columns of one name must be of one type.

    Raises WorkflowError where they are not.
    """
    columns: dict[str, Column] = {}
    for schema in schemas.values():
        for column in schema:
            first = columns.setdefault(column.name, column)
            if first.type != column.type:
                raise WorkflowError(
                    f"the inputs of {node} disagree on {column.name}: {first.type} and {column.type}",
                    hint="cast it in a mapping before the destination",
                )
    from dataflare.schema import Schema as Columns

    return Columns(tuple(columns.values()))


def _defined(dialect: Dialect, column: Column, key: Sequence[str]) -> str:
    kind = dialect.key_type(column.type) if column.name in key else dialect.column_type(column.type)
    required = column.name in key or not column.nullable
    return f"{dialect.quote(column.name)} {kind}{' not null' if required else ''}"


__all__ = ["add_column", "check_key", "create_table", "drop_table", "merged_schemas", "missing"]
