"""The different values of the one group of an aggregate without keys: on disk, however many they are.

Partial rows of that group may be many: each holds some values of one result, and nothing of the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.expression.session import INPUT, quoted, select
from dataflare.expression.streaming import Incoming, streamed

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from dataflare.component import Budget
    from dataflare.expression.aggregate import AggregatePlan
    from dataflare.processors.held import HeldRows

VALUES_OF_A_ROW = 1 << 14


class SpreadValues:
    """Works on partial rows whose lists of values are spread over many rows."""

    def __init__(self, plan: AggregatePlan, budget: Budget) -> None:
        """Work for a plan with `plan.lists`."""
        self._plan, self._budget = plan, budget
        self._nothing: pa.Table | None = None

    def spread(self, rows: pa.Table) -> Iterator[pa.Table]:
        """Yield the same partial rows with few values in each: first what is no list, then the lists."""
        yield self._without_lists(rows)
        for name in self._plan.lists:
            values = rows.column(name).combine_chunks().flatten()
            if len(values):
                yield self._of(name, values)

    def merge_into(self, merged: HeldRows, held: HeldRows) -> None:
        """Add to `merged` what is held, each value once; raise DataError where there are more than there may be."""
        import pyarrow as pa

        plan, schema = self._plan, self._plan.partial_schema
        merged.add(self._without_lists(plan.merge([self._scalars(held)])))
        for name in plan.lists:
            inner = select([f"unnest({quoted(name)}) as v"], INPUT)
            sql, kind = select(["v"], f"({inner})", "group by v"), schema.field(name).type.value_type
            count = 0
            incoming = {INPUT: Incoming(schema, held.all)}
            for found in streamed(self._budget, incoming, sql, pa.schema([("v", kind)]), VALUES_OF_A_ROW):
                count += found.num_rows
                plan.check_values(name, count)
                merged.add(self._of(name, found.column("v").combine_chunks()))

    def result(self, held: HeldRows) -> pa.Table:
        """Return the one result of what is held."""
        return self._plan.final_of(self._scalars(held), Incoming(self._plan.partial_schema, held.all))

    def _scalars(self, held: HeldRows) -> pa.Table:
        import pyarrow as pa

        return pa.concat_tables(self._without_lists(rows) for rows in held.all())

    def _without_lists(self, rows: pa.Table) -> pa.Table:
        import pyarrow as pa

        for name in self._plan.lists:
            at = rows.schema.get_field_index(name)
            rows = rows.set_column(at, rows.schema.field(at), pa.nulls(rows.num_rows, rows.schema.field(at).type))
        return rows

    def _of(self, name: str, values: pa.Array) -> pa.Table:
        """Return partial rows that hold these values and nothing else."""
        import pyarrow as pa

        ends = [*range(0, len(values), VALUES_OF_A_ROW), len(values)]
        if self._nothing is None:
            self._nothing = self._without_lists(self._plan.nothing())
        rows = self._nothing.take(pa.array([0] * (len(ends) - 1), pa.int64()))
        at = rows.schema.get_field_index(name)
        field = rows.schema.field(at)
        lists = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values).cast(field.type)
        return rows.set_column(at, field, lists)


__all__ = ["SpreadValues"]
