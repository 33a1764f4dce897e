"""Brings rows into the columns of a staging table, and looks at changes before they go there; all in Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from dataflare.batch import RESERVED
from dataflare.changes import COMMIT_TS, OP, Op
from dataflare.errors import DataError
from dataflare.sql.fitting import conformed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dataflare.sql.dialect import Table
    from dataflare.sql.shape import Shape

_INSTANT = pa.timestamp("us", "UTC")
_WORDS = pa.array([str(op) for op in Op])


def as_log(rows: pa.Table, named: Mapping[str, str]) -> pa.Table:
    """Return changes as rows of a log: reserved columns by the names that they have in the table, or not at all."""
    kept = [n for n in rows.column_names if n not in RESERVED or n in named]
    return rows.select(kept).rename_columns([named.get(n, n) for n in kept])


def timed(rows: pa.Table, column: str) -> pa.Table:
    """Return rows as changes of the time that a column tells: a timestamp, a datetime or a date, these in UTC."""
    import pyarrow.compute as pc

    times = rows[column]
    if not times.type.equals(_INSTANT):
        times = pc.assume_timezone(times.cast(pa.timestamp("us")), "UTC")
    there = rows.schema.get_field_index(COMMIT_TS)
    return rows.append_column(COMMIT_TS, times) if there < 0 else rows.set_column(there, COMMIT_TS, times)


def staged_changes(rows: pa.Table, shape: Shape, schema: pa.Schema, table: Table, moment: int) -> pa.Table:
    """Return changes in the columns of a staging table; those that tell no time are of `moment` (microseconds).

    Raises DataError for a change of an unknown kind or without a key. A row without `_op` is an insert.
    """
    import pyarrow.compute as pc

    found = conformed(rows, schema, table)
    operations = pc.fill_null(found[OP], Op.INSERT)
    unknown = found.filter(pc.invert(pc.is_in(operations, _WORDS)))
    if unknown.num_rows:
        raise DataError(
            f"{unknown.num_rows} of {found.num_rows} changes for {table} have an {OP} that is none of {', '.join(Op)}",
            hint="the source must tell one of them",
        )
    whole = pc.equal(operations, Op.TRUNCATE)
    keys = found.select(list(shape.key))
    check_keys(keys.filter(pc.invert(whole)) if pc.any(whole).as_py() else keys, shape.key, table)
    times = pc.fill_null(found[COMMIT_TS], pa.scalar(moment, _INSTANT))
    for name, column in ((OP, operations), (COMMIT_TS, times)):
        found = found.set_column(found.schema.get_field_index(name), name, column)
    return found


def check_keys(rows: pa.Table, key: tuple[str, ...], table: Table) -> None:
    """Raise DataError for a row without its key."""
    for name in key:
        if rows[name].null_count:
            raise DataError(
                f"{rows[name].null_count} of {rows.num_rows} rows for {table} have no {name}, which is in their key",
                hint="fill it in a mapping before, or leave them out by a filter",
            )


__all__ = ["as_log", "check_keys", "staged_changes", "timed"]
