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

_WORDS = pa.array([str(op) for op in Op])


def as_log(rows: pa.Table, named: Mapping[str, str]) -> pa.Table:
    """Return changes as rows of a log: reserved columns by the names that they have in the table, or not at all."""
    kept = [n for n in rows.column_names if n not in RESERVED or n in named]
    return rows.select(kept).rename_columns([named.get(n, n) for n in kept])


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
    for name in shape.key:
        if pc.any(pc.and_(pc.is_null(found[name]), pc.invert(whole))).as_py():
            raise DataError(f"a change for {table} has no {name}, which is part of its key", hint="fill it before")
    times = pc.fill_null(found[COMMIT_TS], pa.scalar(moment, pa.timestamp("us", "UTC")))
    for name, column in ((OP, operations), (COMMIT_TS, times)):
        found = found.set_column(found.schema.get_field_index(name), name, column)
    return found


__all__ = ["as_log", "staged_changes"]
