"""Statements of the write modes: rows go from a staging table into their target.

`append` inserts; `merge` inserts or updates by key. Where one statement may not touch a row twice, as in PostgreSQL,
the rows of one key are collapsed to the last one first.
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
    exactly; `key` only where rows are merged.
    """

    columns: tuple[str, ...]
    key: tuple[str, ...] = ()
    values: Mapping[str, str] | None = None


def insert(dialect: Dialect, table: Table, columns: Sequence[str]) -> str:
    """Return the statement that inserts one row of parameters."""
    names = dialect.listed(tuple(columns))
    return f"insert into {dialect.reference(table)} ({names}) values ({dialect.parameters(len(columns))})"  # noqa: S608


def move(dialect: Dialect, move: Move, stage: Table, target: Table, *, unique: bool = False) -> str:
    """Return the statement that moves all rows of a staging table; `unique`: no key is in it twice.

    A merge raises the database's own error where no unique index covers the key.
    """
    names = dialect.listed(move.columns)
    told = move.values or {}
    values = ", ".join(told.get(c) or dialect.quote(c) for c in move.columns)
    select = f"select {values} from {dialect.reference(stage)}"  # noqa: S608
    insertion = f"insert into {dialect.reference(target)} ({names}) {select}"
    if not move.key:
        return insertion
    condition = "true" if unique or dialect.repeats else _newest(dialect, move, stage)
    return f"{insertion} where {condition} {_conflict(dialect, move)}"


def _newest(dialect: Dialect, move: Move, stage: Table) -> str:
    """Return the condition that a row is the last of its key."""
    key, ordinal = dialect.listed(move.key), dialect.ordinal
    return f"{ordinal} in (select max({ordinal}) from {dialect.reference(stage)} group by {key})"  # noqa: S608


def _conflict(dialect: Dialect, move: Move) -> str:
    key = dialect.listed(move.key)
    names = [dialect.quote(c) for c in move.columns if c not in move.key]
    if not names:
        return f"on conflict ({key}) do nothing"
    changes = ", ".join(f"{name} = excluded.{name}" for name in names)
    return f"on conflict ({key}) do update set {changes}"


__all__ = ["Move", "insert", "move"]
