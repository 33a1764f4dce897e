"""Statements of the write modes for rows: they go from a staging table into their target.

`append` inserts; `merge` inserts or updates by key, `insert_only` and `update` do only the one; `delete_insert` first
removes what the target has under the keys that are staged. Where one statement may not touch a row twice, as in
PostgreSQL, the rows of one key are collapsed to the last one first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dataflare.sql.dialect import Dialect, Table


@dataclass(frozen=True, slots=True)
class Move:
    """What goes from a staging table into a target.

    `columns` in order; `values` the SQL expressions of those that the database would not convert by itself, or not
    exactly; `key` only where rows are told apart by it.
    """

    columns: tuple[str, ...]
    key: tuple[str, ...] = ()
    values: Mapping[str, str] | None = None
    mode: str = "append"

    def value(self, dialect: Dialect, column: str) -> str:
        """Return the expression of a column."""
        return (self.values or {}).get(column) or dialect.quote(column)


def insert(dialect: Dialect, table: Table, columns: Sequence[str]) -> str:
    """Return the statement that inserts one row of parameters."""
    names = dialect.listed(tuple(columns))
    return f"insert into {dialect.reference(table)} ({names}) values ({dialect.parameters(len(columns))})"  # noqa: S608


def move(dialect: Dialect, move: Move, stage: Table, target: Table, *, unique: bool = False) -> str:
    """Return the statement that moves all rows of a staging table; `unique`: no key is in it twice.

    A merge raises the database's own error where no unique index covers the key.
    """
    if move.mode == "update":
        return _update(dialect, move, stage, target)
    values = ", ".join(move.value(dialect, c) for c in move.columns)
    select = f"select {values} from {dialect.reference(stage)}"  # noqa: S608
    if move.mode == "insert_only":
        order = "" if unique or dialect.repeats else f" order by {dialect.ordinal}"
        query, conflict = f"{select} where true{order}", dialect.conflict(target, move.key, ())
    elif move.mode == "merge":
        condition = "true" if unique or dialect.repeats else _newest(dialect, move, stage)
        others = [c for c in move.columns if c not in move.key]
        query, conflict = f"{select} where {condition}", dialect.conflict(target, move.key, others)
    else:
        query, conflict = select, ""
    return dialect.insertion(target, move.columns, query, conflict=conflict)


def delete_keys(dialect: Dialect, move: Move, stage: Table, target: Table) -> str:
    """Return the statement that deletes the rows whose keys are in a staging table."""
    values = ", ".join(f"{move.value(dialect, c)} as {dialect.quote(c)}" for c in move.key)
    return dialect.deletion(target, move.key, f"select {values} from {dialect.reference(stage)}")  # noqa: S608


def _update(dialect: Dialect, move: Move, stage: Table, target: Table) -> str:
    values = ", ".join(f"{move.value(dialect, c)} as {dialect.quote(c)}" for c in move.columns)
    newest = f"select {values} from {dialect.reference(stage)} where {_newest(dialect, move, stage)}"  # noqa: S608
    same = " and ".join(f"t.{name} = u.{name}" for name in map(dialect.quote, move.key))
    sets = {c: f"u.{dialect.quote(c)}" for c in move.columns if c not in move.key}
    return dialect.update(target, sets, newest, same)


def _newest(dialect: Dialect, move: Move, stage: Table) -> str:
    """Return the condition that a row is the last of its key."""
    key, ordinal = dialect.listed(move.key), dialect.ordinal
    return f"{ordinal} in (select max({ordinal}) from {dialect.reference(stage)} group by {key})"  # noqa: S608


__all__ = ["Move", "delete_keys", "insert", "move"]
