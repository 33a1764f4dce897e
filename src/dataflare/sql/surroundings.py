"""Looks at the table that a SQL destination will write, and says all that would stop it; changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dataflare.errors import DataFlareError, WorkflowError
from dataflare.sql.ddl import check_key, merged_schemas, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.component import StageContext
    from dataflare.schema import Schema
    from dataflare.sql.dialect import Table
    from dataflare.sql.session import Session


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a destination wants of its table, and what it may do where that is not so."""

    context: StageContext
    may_create: bool
    may_add_columns: bool

    @property
    def merge_key(self) -> tuple[str, ...]:
        """The key by which rows are merged; nothing where they are inserted."""
        return self.context.key if self.context.write_mode == "merge" else ()

    def schema(self) -> Schema | None:
        """Return the columns that reach it; None where they are not known yet. Raises WorkflowError for bad ones."""
        if not self.context.schemas:
            return None
        schema = merged_schemas(self.context.schemas, self.context.node)
        check_key(schema, self.context.key, self.context.node)
        return schema


def no_table(table: Table) -> WorkflowError:
    """Return the error of a table that is not there and must not be made."""
    return WorkflowError(f"there is no table {table}", hint="make it, or let create be true")


def no_column(table: Table, column: str) -> WorkflowError:
    """Return the error of a column that is not there and must not be added."""
    return WorkflowError(
        f"table {table} has no column {column}", hint="add it, leave it out in a mapping, or let new_columns be add"
    )


def no_index(table: Table, columns: tuple[str, ...]) -> WorkflowError:
    """Return the error of a key that the table does not know."""
    key = ", ".join(columns)
    return WorkflowError(
        f"table {table} has no unique index on {key}, so rows cannot be merged by it",
        hint=f"make one: create unique index on {table} ({key})",
    )


def table_problems(session: Session, table: Table, wishes: Wishes) -> Iterator[DataFlareError]:
    """Yield what stops rows from getting into the table."""
    try:
        schema = wishes.schema()
    except WorkflowError as error:
        yield error
        schema = None
    found = session.columns(table)
    if found is None:
        if not wishes.may_create:
            yield no_table(table)
        return
    if schema is not None and not wishes.may_add_columns:
        yield from (no_column(table, column.name) for column in missing(schema, found))
    if wishes.merge_key and not session.unique(table, wishes.merge_key):
        yield no_index(table, wishes.merge_key)


__all__ = ["Wishes", "no_column", "no_index", "no_table", "table_problems"]
