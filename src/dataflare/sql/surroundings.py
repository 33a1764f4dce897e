"""Looks at the table that a SQL destination will write, and says all that would stop it; changes nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from dataflare.component.alteration import WouldAlterError, WouldStayError
from dataflare.errors import DataFlareError, WorkflowError
from dataflare.sql.altering import comparison_of
from dataflare.sql.following import left, refused
from dataflare.sql.shape import shape_of, unique_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.component import StageContext
    from dataflare.component.alteration import Alteration
    from dataflare.sql.dialect import Dialect, Table
    from dataflare.sql.session import Session
    from dataflare.sql.settings import SqlDestinationConfig
    from dataflare.sql.shape import Shape


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a destination wants of its table, and what it may do where that is not so."""

    context: StageContext
    config: SqlDestinationConfig

    def shape(self) -> Shape | None:
        """Return the columns that reach it; None where they are not known yet. Raises WorkflowError for bad ones."""
        return shape_of(self.context, self.config) if self.context.schemas else None


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


def table_problems(session: Session, dialect: Dialect, table: Table, wishes: Wishes) -> Iterator[DataFlareError]:
    """Yield what stops rows from getting into the table, and what a run would alter."""
    shape = None
    try:
        shape = wishes.shape()
    except WorkflowError as error:
        yield error
    found = session.columns(table)
    if found is None:
        if not wishes.config.create:
            yield no_table(table)
        return
    for alteration in would_alter(session, dialect, table, wishes) if shape is not None else ():
        yield _told(table, alteration, wishes.config)
    unique = shape.unique if shape is not None else unique_key(wishes.context)
    if unique and not session.unique(table, unique):
        yield no_index(table, unique)


def would_alter(session: Session, dialect: Dialect, table: Table, wishes: Wishes) -> list[Alteration]:
    """Return what a run would alter of the table, leave alone or refuse; nothing where it is to be made."""
    shape = wishes.shape()
    found = session.definitions(table)
    if shape is None or not found:
        return []
    alterations = comparison_of(dialect, table, shape, wishes.context).alterations(found)
    if wishes.config.new_columns == "error":
        return [replace(a, verdict="refuse") if a.kind == "add" else a for a in alterations]
    return alterations


def _told(table: Table, alteration: Alteration, config: SqlDestinationConfig) -> DataFlareError:
    if alteration.kind == "add" and config.new_columns == "error":
        return no_column(table, alteration.column)
    if alteration.verdict == "refuse":
        return refused(alteration)
    if alteration.verdict == "leave":
        return WouldStayError(left(alteration), hint="cast it in a mapping before, or let ddl be evolve")
    return WouldAlterError(f"table {table}: {alteration}", hint=f"a run does it: {alteration.statement}")


__all__ = ["Wishes", "no_column", "no_index", "no_table", "table_problems", "would_alter"]
