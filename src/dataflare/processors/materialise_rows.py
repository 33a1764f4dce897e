"""The newest whole row of each key, by which changes are completed: unchanged values filled in, former rows told."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from dataflare.changes import BEFORE, OP, UNCHANGED, Op, may_be_unchanged
from dataflare.component.processor import SEGMENTED
from dataflare.errors import DataError
from dataflare.expression.fit import fit
from dataflare.expression.session import INPUT, Session, quoted, select
from dataflare.expression.unchanged import literal
from dataflare.processors.held import HeldRows, held_name, told_by

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from dataflare.component import StageContext
    from dataflare.schema import Schema

_HELD, _MADE, _N, _OP, _NAMES, _LOST = "__held", "__made", "__n", "__op", "__names", "__lost"
_LOG = "log"
_LOG_SHARE = 8
"""The part of its memory that a task may fill with the log of a table."""
MERGE_ROWS = 1 << 18
RESULT_ROWS = 1 << 16


class WholeRows:
    """A table that changes are applied to, as they come, and that tells of each the whole row after it and before it.

    What a batch costs grows with the number of rows in the table. What was changed stands in a log, too, from which it
    is in a checkpoint once.
    """

    def __init__(self, schema: Schema, table: Schema, keys: Sequence[str], context: StageContext) -> None:
        """`schema` is that of the changes, `table` that of the rows: its columns but the reserved ones."""
        import pyarrow as pa

        self._table = table.to_arrow()
        names = [held_name(name) for name in self._table.names]
        self._columns = dict(zip(table.names, names, strict=True))
        self._keys = [self._columns[k] for k in keys]
        plain = [f.with_name(name).with_nullable(nullable=True) for f, name in zip(self._table, names, strict=True)]
        self._numbered = pa.schema([*plain, pa.field(_N, pa.int64())])
        self._logged = self._numbered.append(pa.field(_OP, pa.string()))
        self._hidden = [n for n in table.names if n in may_be_unchanged(schema)]
        self._fills = UNCHANGED in schema
        self._sql = self._made_sql()
        memory = context.budget.memory_bytes_max // _LOG_SHARE
        self._log = HeldRows(self._logged, memory, context, self._keys)
        self._session = Session(context.budget)
        self._number = 0
        self.clear()

    def take(self, rows: pa.Table) -> pa.Table:
        """Apply changes, none of them a truncation; return the rows of the table after each, and `_before`.

        Raises DataError where one leaves out a value that was never told (invariant 6).
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        places = pa.arange(self._number, self._number + rows.num_rows)
        self._number += rows.num_rows
        entering = pa.Table.from_arrays([*rows.select(list(self._columns)).columns, places], schema=self._numbered)
        op = rows.column(OP) if OP in rows.schema.names else pa.nulls(rows.num_rows, pa.string())
        entering = entering.append_column(_OP, pc.fill_null(op, Op.UPDATE.value))
        names = rows.column(UNCHANGED) if self._fills else pa.nulls(rows.num_rows, pa.list_(pa.string()))
        self._session.register(entering.append_column(_NAMES, names))
        self._session.execute(f"create or replace temp table {_MADE} as {self._sql}")
        ((lost,),) = self._session.execute(f"select count(*) from {_MADE} where {_LOST}")  # noqa: S608 - names of ours
        if lost:
            raise DataError(
                f"{lost:,} changes of a batch leave values out of rows that the table does not have",
                hint="let the source begin with a snapshot of its table, or tell whole rows",
            )
        columns = [*self._columns.values()]
        came = f"where {_OP} is not null"
        found = self._session.fetch(select([*columns, quoted(BEFORE)], _MADE, f"{came} order by {_N}"))
        last = fit(self._session.fetch(select([*columns, _N, _OP], _MADE, f"{came} {self._newest}")), self._logged)
        self._apply(last)
        self._log.add(last)
        self._begin_anew()
        return found.rename_columns([*self._columns, BEFORE])

    def taken(self) -> Iterator[pa.Table]:
        """Yield the rows of the table, in the order of their last changes; hold nothing after that."""
        import pyarrow as pa

        for rows in self._session.stream(f"select * from {_HELD} order by {_N}", RESULT_ROWS):  # noqa: S608
            yield pa.Table.from_arrays(fit(rows, self._numbered).columns[:-1], schema=self._table)
        self.clear()

    def state(self) -> dict[int, bytes]:
        """Return what was changed, in segments."""
        if not self._log.rows:
            return {}
        return {SEGMENTED: json.dumps({"number": self._number, _LOG: self._log.told()}).encode()}

    def segments(self) -> list[str]:
        """Return the names of the segments that the state refers to."""
        return self._log.segments()

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Take it back, perhaps of several."""
        for told in told_by(state):
            self._number = max(self._number, told["number"])
            self._log.restore(told[_LOG])
        for rows in self._log.all():
            self._apply(rows)

    def clear(self) -> None:
        """Forget all rows."""
        self._log.close()
        self._session.register(self._numbered.empty_table())
        self._session.execute(f"create or replace temp table {_HELD} as select * from {INPUT}")  # noqa: S608

    def close(self) -> None:
        """Free the table."""
        self._session.close()
        self._log.close()

    def _apply(self, changed: pa.Table) -> None:
        """Put rows in the place of those of their keys, which may come again."""
        columns = [*self._columns.values(), _N]
        last = select([*columns, _OP], INPUT, self._newest)
        self._session.register(changed)
        same = " and ".join(f"{_HELD}.{k} is not distinct from i.{k}" for k in self._keys)
        self._session.execute(f"delete from {_HELD} using {INPUT} as i where {same}")  # noqa: S608 - names of ours
        there = select(columns, f"({last})", f"where {_OP} is distinct from '{Op.DELETE}'")
        self._session.execute(f"insert into {_HELD} {there}")

    def _begin_anew(self) -> None:
        """Begin the log anew when most of it does not count any more."""
        if self._log.rows <= MERGE_ROWS:
            return
        ((count,),) = self._session.execute(f"select count(*) from {_HELD}")  # noqa: S608 - a name of ours
        if self._log.rows > MERGE_ROWS + 2 * count:
            self._log.close()
            for rows in self._session.stream(f"select *, 'read' as {_OP} from {_HELD}", RESULT_ROWS):  # noqa: S608
                self._log.add(fit(rows, self._logged))

    @property
    def _newest(self) -> str:
        return f"qualify row_number() over (partition by {', '.join(self._keys)} order by {_N} desc) = 1"

    def _made_sql(self) -> str:
        """Return the statement that puts changes behind the rows of their keys, and fills and looks back."""
        same = " and ".join(f"h.{k} is not distinct from i.{k}" for k in self._keys)
        columns = list(self._columns.values())
        held = select(
            [*(f"h.{c}" for c in columns), f"h.{_N}", f"null as {_OP}", f"null as {_NAMES}"],
            f"{_HELD} as h semi join {INPUT} as i on {same}",
        )
        came = select([*columns, _N, _OP, _NAMES], INPUT)
        window = f"(partition by {', '.join(self._keys)} order by {_N} rows unbounded preceding)"
        filled = [self._filled(name, window) for name in self._columns]
        boxed = select([*filled, _N, _OP], f"({held} union all by name {came})")
        lost = [f"{self._columns[name]} is null" for name in self._hidden]
        opened = [f"struct_extract({c}, 'v') as {c}" if n in self._hidden else c for n, c in self._columns.items()]
        is_lost = f"{_OP} is distinct from '{Op.DELETE}' and ({' or '.join(lost) or 'false'}) as {_LOST}"
        whole = select([*opened, _N, _OP, is_lost], f"({boxed})")
        fields = ", ".join(f"{quoted(name)} := {column}" for name, column in self._columns.items())
        there = f"case when {_OP} is distinct from '{Op.DELETE}' then struct_pack({fields}) end"
        before = f"lag({there}) over (partition by {', '.join(self._keys)} order by {_N}) as {quoted(BEFORE)}"
        return select(["*", before], f"({whole})")

    def _filled(self, name: str, window: str) -> str:
        """Return a column; of one that may be left out a struct of its newest value, null where none was told."""
        column = self._columns[name]
        if name not in self._hidden:
            return column
        hides = f"coalesce(list_contains({_NAMES}, {literal(name)}), false)"
        told = f"case when not {hides} then struct_pack(v := {column}) end"
        return f"last_value({told} ignore nulls) over {window} as {column}"


__all__ = ["WholeRows"]
