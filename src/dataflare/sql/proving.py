"""Looks whether a key that a user names tells rows apart: nothing else says so."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dataflare.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from dataflare.sql.reading import ReadRelation

    Run = Callable[[str], list[tuple[Any, ...]]]


def refuse_nulls(run: Run, relation: ReadRelation) -> None:
    """Refuse a key of the user's that some row lacks: it would be in no range and after no position."""
    if relation.proven or not relation.order:
        return
    nulls = " or ".join(f"{text} is null" for text in relation.key().values())
    if run(f"select 1 from {relation.source} where {nulls} limit 1"):  # noqa: S608 - quoted
        raise no_key(relation, "a row has none")


def refuse_twins(run: Run, relation: ReadRelation, conditions: Iterable[str]) -> None:
    """Refuse a key of the user's that two rows share: one of them would be lost where a batch ends between them."""
    if relation.proven:
        return
    names, where = ", ".join(relation.key().values()), " and ".join(f"({c})" for c in conditions) or "true"
    sql = f"select 1 from {relation.source} where {where} group by {names} having count(*) > 1 limit 1"  # noqa: S608
    if run(sql):
        raise no_key(relation, "two rows have the same")


def no_key(relation: ReadRelation, what: str) -> DataError:
    """Return the error of a key that does not tell rows apart."""
    names = ", ".join(relation.key())
    return DataError(f"the key {names} does not tell rows apart: {what}", hint="name columns in key that do")


__all__ = ["no_key", "refuse_nulls", "refuse_twins"]
