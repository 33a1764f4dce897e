"""Changes on their way through a plugin: it is given the rows, and what says of them that they changed passes it by.

A deleted row is not shown to it. An update that it drops, or sends to another output, becomes a delete where it does
not go, as a filter and a route have it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from dataflare.batch import RESERVED
from dataflare.changes import OP, Op, value_in
from dataflare.errors import DataError, WorkflowError
from dataflare.expression.deletes import is_gone
from dataflare.processors.wasm_calls import Returned, leave_out
from dataflare.schema import Schema

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence


def shown(names: Sequence[str], wanted: Sequence[str] | None) -> list[str]:
    """Return the columns that a plugin is given, of those that come in; raise WorkflowError for one that is not there.

    Without a wish these are all; what carries changes never is among them.
    """
    if wanted is None:
        return [n for n in names if n not in RESERVED]
    unknown = [n for n in wanted if n not in names]
    if unknown:
        raise WorkflowError(
            f"the plugin is to be given {unknown[0]!r}, and there is no such column",
            hint=f"there are: {', '.join(n for n in names if n not in RESERVED)}",
        )
    _refuse_reserved(wanted)
    return list(dict.fromkeys(wanted))


def changing(planned: Schema, given: Schema, key: Sequence[str], made: Collection[str], *, passes: bool) -> Schema:
    """Return the columns of an output, with those that carry changes where rows are that.

    `made` are columns that the plugin says it makes; `passes`: others pass it by. Raises WorkflowError where it would
    make the key anew.
    """
    if OP not in given:
        return planned
    _refuse_reserved(made)
    for name in (n for n in key if n in planned):
        if (passes and name in made) or planned[name].type != given[name].type:
            raise WorkflowError(
                f"the plugin makes the key column {name!r} anew, but changes are told apart by it",
                hint="let it return the column as it is, or give the new one another name",
            )
    told = value_in(given)
    columns = [replace(given[c.name] if c.name in key else c, tags=c.tags) for c in planned]
    others = [c for c in given if c.name in RESERVED and c.name not in planned]
    return Schema((*(c if c.told else replace(c, told=told) for c in columns), *others))


def check_state_key(given: Schema, key: Sequence[str], of_changes: Sequence[str]) -> None:
    """Raise WorkflowError where the changes of a row would come to several tasks, and so out of their order."""
    if OP in given and not set(key) <= set(of_changes):
        raise WorkflowError(
            f"key: the changes are told apart by {', '.join(of_changes)}, and would come out of order by others",
            hint="name only columns of that key",
        )


class ChangedRows:
    """Calls a plugin with the rows of changes. `returned` are its columns by output, `key` tells changes apart.

    `in_order`: a truncate is in its place among the changes of all keys.
    """

    def __init__(self, key: Sequence[str], returned: Mapping[str, Schema], *, in_order: bool) -> None:
        """Keep them."""
        self._key, self._returned, self._in_order = key, returned, in_order
        self._dropped: dict[str, pa.Array] = {}

    def run(self, rows: pa.Table, call: Callable[[pa.Table], Returned]) -> Returned:
        """Return what came of changes, in their order; `call` is given those that leave a row."""
        import pyarrow.compute as pc

        if not self._in_order and pc.any(pc.equal(rows.column(OP), Op.TRUNCATE.value)).as_py():
            raise DataError(
                "a truncate of the table came, which several tasks cannot put in order",
                hint="set parallelism: 1 on the node, or have the source leave truncates out",
            )
        gone = is_gone(rows).combine_chunks()
        there, deleted = pc.indices_nonzero(pc.invert(gone)), pc.indices_nonzero(gone)
        found = call(rows.take(there))
        numbers = there.cast(pa.int64())
        found.rejected = {numbers[n].as_py(): why for n, why in found.rejected.items()}
        for output, sources in found.sources.items():
            found.sources[output] = [numbers.take(pa.chunked_array(sources, pa.int64()).combine_chunks())]
            found.rows[output] = [pa.concat_tables(found.rows[output])]
        for output in found.rows:
            found.rejected |= self._misfits(rows, found, output)
        leave_out(found)
        updates = pc.indices_nonzero(pc.equal(rows.column(OP), Op.UPDATE.value)).cast(pa.int64())
        stay = updates.filter(pc.invert(pc.is_in(updates, pa.array(list(found.rejected), pa.int64()))))
        for output in self._returned:
            self._add_deletes(rows, found, output, (deleted.cast(pa.int64()), stay))
        return found

    def told(self, rows: pa.Table, output: str) -> pa.Table:
        """Return the changes as they go to an output: updates that are deletes there say so."""
        import pyarrow.compute as pc

        dropped = self._dropped[output]
        if not len(dropped):
            return rows
        is_dropped = pc.is_in(pa.arange(0, rows.num_rows), dropped)
        op = pc.if_else(is_dropped, Op.DELETE.value, rows.column(OP))
        at = rows.schema.get_field_index(OP)
        return rows.set_column(at, rows.schema.field(at), op)

    def _misfits(self, rows: pa.Table, found: Returned, output: str) -> dict[int, str]:
        """Return why some rows are no changes of those that they came of."""
        import pyarrow.compute as pc

        (made,), (sources,) = found.rows[output], found.sources[output]
        counts = pc.value_counts(sources)
        several = counts.field("values").filter(pc.greater(counts.field("counts"), 1)).to_pylist()
        misfits = dict.fromkeys(several, "the plugin returned several rows for one change")
        for name in (n for n in self._key if n in made.column_names):
            before = rows.column(name).take(sources)
            same = pc.fill_null(pc.equal(made.column(name).cast(before.type), before), fill_value=False)
            changed = sources.filter(pc.invert(same.combine_chunks()))
            misfits |= dict.fromkeys(
                changed.to_pylist(), f"the plugin changed the key column {name!r}, by which changes are told apart"
            )
        return misfits

    def _add_deletes(self, rows: pa.Table, found: Returned, output: str, at: tuple[pa.Array, pa.Array]) -> None:
        """Put the deletes of an output among its rows: those that came, and updates that go on elsewhere or nowhere."""
        import pyarrow.compute as pc

        deleted, updates = at
        schema = self._returned[output].to_arrow()
        made = found.rows.get(output, [schema.empty_table()])
        sources = found.sources.get(output, [])
        here = pa.chunked_array(sources, pa.int64()).combine_chunks()
        dropped = self._dropped[output] = updates.filter(pc.invert(pc.is_in(updates, here)))
        deletes = pa.concat_arrays([deleted, dropped])
        columns = [
            rows.column(f.name).take(deletes).cast(f.type) if f.name in self._key else pa.nulls(len(deletes), f.type)
            for f in schema
        ]
        whole = pa.concat_tables([*made, pa.Table.from_arrays(columns, schema=schema)])
        numbers = pa.concat_arrays([here, deletes])
        order = pc.sort_indices(numbers)
        found.rows[output], found.sources[output] = [whole.take(order)], [numbers.take(order)]


def _refuse_reserved(names: Iterable[str]) -> None:
    reserved = next((n for n in names if n in RESERVED), None)
    if reserved is not None:
        raise WorkflowError(
            f"{reserved!r} tells of a change, which passes the plugin by", hint="leave the column out of what it names"
        )


__all__ = ["ChangedRows", "changing", "check_state_key", "shown"]
