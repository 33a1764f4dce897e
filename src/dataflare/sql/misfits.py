"""Changes of which a value does not fit: they are put aside, and nothing that is no more true stays in their place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dataflare.changes import BEFORE, COMMIT_TS, OP, TX, Op
from dataflare.component.judging import errors_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from dataflare.sql.spans import Flags

_KEPT = (COMMIT_TS, TX, BEFORE)


@dataclass(frozen=True, slots=True)
class Misfit:
    """A change with a value that its column does not hold: where it is, why (without the value), and its texts.

    `point` is its transaction and its number in that; later changes have greater ones. `row` has `_op`, `_tx` and
    `_commit_ts` beside the values that were told, and the names in `_unchanged`.
    """

    point: tuple[int, int]
    error: str
    row: Mapping[str, Any]


def fitting(keys: Sequence[Any]) -> Flags:
    """Tell which rows have a key: where it does not fit it is null."""
    fits = np.ones(len(keys[0]), bool)
    for key in keys:
        fits &= key.is_valid().to_numpy(zero_copy_only=False)
    return fits


def left(
    rows: pa.Table, misfits: Mapping[int, Misfit], seen: Flags | None, key: Sequence[str]
) -> tuple[pa.Table, list[Misfit]]:
    """Return the rows that go on, and what is put aside; without those that were `seen`.

    In the place of an update that is put aside its row is deleted: what it was before is no more in the table. Where
    the key itself does not fit nobody was ever told of the row, so nothing goes on.
    """
    stays = np.ones(rows.num_rows, bool) if seen is None else ~seen
    wrong = [n for n in misfits if stays[n]]
    if wrong:
        bad = np.zeros(rows.num_rows, bool)
        bad[wrong] = True
        for name in key:
            stays &= ~bad | rows.column(name).is_valid().to_numpy()
        stays &= ~bad | pc.equal(rows.column(OP), Op.UPDATE.value).to_numpy()
        rows = _deleted(rows, bad & stays, key)
    return rows if stays.all() else rows.filter(pa.array(stays)), [misfits[n] for n in wrong]


def _deleted(rows: pa.Table, chosen: Flags, key: Sequence[str]) -> pa.Table:
    """Return the rows with deletes in the place of those that are chosen."""
    if not chosen.any():
        return rows
    nowhere = pa.array(np.arange(rows.num_rows), mask=chosen)
    arrays = []
    for field in rows.schema:
        column = rows.column(field.name)
        if field.name == OP:
            column = pc.if_else(pa.array(chosen), Op.DELETE.value, column)
        elif field.name not in key and field.name not in _KEPT:
            column = column.take(nowhere)
        arrays.append(column)
    return pa.Table.from_arrays(arrays, schema=rows.schema)


def put_aside(misfits: Sequence[Misfit], table: str) -> pa.Table:
    """Return misfits in the shape of rows that a source does not take."""
    return errors_of([m.row for m in misfits], [m.error for m in misfits], table)


__all__ = ["Misfit", "fitting", "left", "put_aside"]
