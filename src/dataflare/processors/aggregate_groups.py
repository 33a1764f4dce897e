"""The partial rows of groups that wait for the end of the input: merged whenever they have doubled, in portions."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from dataflare.expression.keys import key_groups
from dataflare.expression.session import select
from dataflare.expression.streaming import Incoming, rows_of, streamed
from dataflare.processors.aggregate_values import SpreadValues
from dataflare.processors.held import PART_BYTES, HeldRows, restore_told, told_state

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from dataflare.component import StageContext
    from dataflare.expression.aggregate import AggregatePlan

ROWS_MERGED_MIN = 1 << 20
BYTES_MERGED_MIN = 64 << 20
RESULT_ROWS = 1 << 16
_HELD_SHARE = 8
_PORTION_SHARE = 16
_GROUP = "g"


class HeldGroups:
    """Partial rows by key, for one plan of an aggregate, which is closed with it.

    Where they are more than memory should hold at once, they are sorted by key group, on disk, and taken in portions of
    whole key groups; results are then sorted by key, on disk, too. What one key has gathered is always taken at once.
    """

    def __init__(self, plan: AggregatePlan, context: StageContext) -> None:
        """Hold nothing yet."""
        self._plan, self._context = plan, context
        self._values = SpreadValues(plan, context.budget)
        memory = context.budget.memory_bytes_max
        self._portion_bytes = max(PART_BYTES // 2, memory // _PORTION_SHARE)
        self._bytes_merged_min = min(BYTES_MERGED_MIN, memory // 2)
        self.held = self._new()
        self._merged_rows = self._merged_bytes = 0

    def add(self, rows: pa.Table) -> None:
        """Take partial rows in, and merge all whenever they have doubled."""
        for part in self._values.spread(rows) if self._plan.lists else [rows]:
            self.held.add(part)
        many = self.held.rows > max(ROWS_MERGED_MIN, 2 * self._merged_rows)
        if many or self.held.bytes > max(self._bytes_merged_min, 2 * self._merged_bytes):
            self.merge()

    def merge(self) -> None:
        """Make one partial row of those of each group."""
        merged = self._new()
        if self._is_spread():
            self._values.merge_into(merged, self.held)
        else:
            for portion in self._portions():
                merged.add(self._plan.merge([portion]))
        self.held.close()
        self.held = merged
        self._merged_rows, self._merged_bytes = merged.rows, merged.bytes

    def results(self) -> Iterator[pa.Table]:
        """Yield the results, sorted by key; nothing is held after that."""
        plan = self._plan
        if self._is_spread():
            self.merge()
            yield self._values.result(self.held)
            self.held.close()
            return
        portions = self._portions()
        first = next(portions, plan.partial_schema.empty_table())
        second = next(portions, None)
        if second is None:
            results = plan.final(first)
            self.held.close()
            for start in range(0, results.num_rows, RESULT_ROWS):
                yield results.slice(start, RESULT_ROWS)
        else:
            yield from self._sorted(map(plan.final, chain([first, second], portions)))
            self.held.close()
        self._merged_rows = self._merged_bytes = 0

    def state(self) -> Mapping[int, bytes]:
        """Return the partial rows for a checkpoint; a few are merged, so that it does not grow with what has come."""
        if self.held.bytes <= PART_BYTES and self.held.rows > self._merged_rows:
            self.merge()
        return told_state({"groups": self.held}, self._plan.mark)

    def segments(self) -> Sequence[str]:
        """Return where they are."""
        return self.held.segments()

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Take partial rows over."""
        restore_told({"groups": self.held}, state, self._plan.mark)
        self._merged_rows, self._merged_bytes = self.held.rows, self.held.bytes

    def close(self) -> None:
        """Forget the rows, and free the plan."""
        self.held.close()
        self._plan.close()

    def _is_spread(self) -> bool:
        """Tell whether there are more values than memory should hold, and no key to take them in portions by."""
        return bool(self._plan.lists) and self.held.bytes > self._portion_bytes

    def _new(self) -> HeldRows:
        memory = self._context.budget.memory_bytes_max // _HELD_SHARE
        return HeldRows(self._plan.partial_schema, memory, self._context, self._plan.keys)

    def _portions(self) -> Iterator[pa.Table]:
        """Yield all partial rows in tables of whole key groups."""
        import pyarrow as pa

        waiting: list[pa.Table] = []
        size, last = 0, -1
        for group, rows in self._by_key_group():
            if size >= self._portion_bytes and group != last:
                yield pa.concat_tables(waiting)
                waiting, size = [], 0
            waiting.append(rows)
            size, last = size + rows.nbytes, group
        if waiting:
            yield pa.concat_tables(waiting)

    def _gathered(self, tables: Iterator[pa.Table], schema: pa.Schema) -> Iterator[pa.Table]:
        """Yield tables when all have been made: two queries at a time would not find memory for both."""
        made = HeldRows(schema, self._context.budget.memory_bytes_max // _HELD_SHARE, self._context)
        try:
            for table in tables:
                made.add(table)
            yield from made.take()
        finally:
            made.close()

    def _by_key_group(self) -> Iterator[tuple[int, pa.Table]]:
        """Yield partial rows of one key group after the other; sorted only where they are many."""
        import pyarrow as pa

        held, schema, keys = self.held, self._plan.partial_schema, self._plan.keys
        if held.bytes <= self._portion_bytes or not keys:
            yield from ((0, rows) for rows in held.all())
            return
        names = [f"c{n}" for n in range(len(schema))]
        plain = pa.schema([*(f.with_name(n) for f, n in zip(schema, names, strict=True)), (_GROUP, pa.int32())])

        def grouped() -> Iterator[pa.Table]:
            for rows in held.all():
                yield pa.Table.from_arrays([*rows.columns, key_groups(rows, keys)], schema=plain)

        sql = select(["*"], "rows", f"order by {_GROUP}")
        budget, rows_max = self._context.budget, rows_of(held.rows, held.bytes)
        for table in self._gathered(streamed(budget, {"rows": Incoming(plain, grouped)}, sql, plain, rows_max), plain):
            start = 0
            rows = pa.Table.from_arrays(table.columns[:-1], schema=schema)
            for count in table.column(_GROUP).value_counts():
                group, number = count["values"].as_py(), count["counts"].as_py()
                yield group, rows.slice(start, number)
                start += number

    def _sorted(self, results: Iterator[pa.Table]) -> Iterator[pa.Table]:
        """Yield results sorted by key, however many they are."""
        import pyarrow as pa

        schema = self._plan.output.to_arrow()
        names = [f"c{n}" for n in range(len(schema))]
        plain = pa.schema([f.with_name(n) for f, n in zip(schema, names, strict=True)])
        rows = self._gathered((pa.Table.from_arrays(table.columns, schema=plain) for table in results), plain)
        order = ", ".join(f"{name} nulls last" for name in names[: len(self._plan.keys)])
        sql = select(["*"], "rows", f"order by {order}")
        rows_max = rows_of(self.held.rows, self.held.bytes)
        for table in streamed(self._context.budget, {"rows": Incoming(plain, lambda: rows)}, sql, plain, rows_max):
            yield pa.Table.from_arrays(table.columns, schema=schema)


__all__ = ["HeldGroups"]
