"""Puts all rows of a bounded input in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.component import Config, Field, processor
from dataflare.expression.session import select
from dataflare.expression.streaming import Incoming, rows_of, streamed
from dataflare.processors.bounded import TABLES, BoundedProcessor
from dataflare.processors.columns import passed_on, same_columns
from dataflare.processors.held import HeldRows
from dataflare.processors.ordering import NUMBER, OrderKey, numbered, order_by, ordered, with_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    import pyarrow as pa

    from dataflare.schema import Schema


class SortConfig(Config):
    """What rows are put in order by."""

    by: list[OrderKey] = Field(
        min_length=1,
        description="Columns, the most important one first, such as `country`, `amount desc`, `name nulls first`, "
        "or {column: amount, order: desc, nulls: first}.",
    )


@processor(
    "sort",
    status="beta",
    **TABLES,
    parallel=False,
    deterministic=False,
    examples=[
        {"by": ["country", "amount desc"]},
        {"by": [{"column": "seen_at", "order": "desc", "nulls": "first"}]},
    ],
)
class Sort(BoundedProcessor[SortConfig]):
    """Puts all rows of a bounded input in order.

    Rows come out when the input has ended, and are held till then: in memory as far as they may, then on disk, so
    that there may be far more of them than memory holds. Texts are ordered by code point (`Z` before `a`), NaN is the
    greatest number, nulls come last unless `nulls: first` says otherwise. Rows that are equal in all keys keep the
    order in which they came. One task sorts; behind it, one that writes with several does not keep the order.
    """

    tells_tags = True

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        """Return the columns as they come."""
        schema = same_columns(inputs)
        order_by(self.config.by, schema, schema.names)
        return {"": schema}

    def reads(self, inputs: Sequence[Schema], wanted: AbstractSet[str] | None) -> Sequence[AbstractSet[str] | None]:
        """Return what is wanted, and what is ordered by."""
        return [passed_on(wanted, ordered(self.config.by, s)) for s in inputs]

    def sides(self) -> Mapping[str, HeldRows]:
        """Return what holds the rows."""
        schema = self.context.schemas["0"].to_arrow()
        return {"rows": HeldRows(schema, self.memory_bytes_max(1), self.context)}

    def results(self) -> Iterator[pa.Table]:
        """Yield the rows in order."""
        schema, held = self.context.schemas["0"], self.held["rows"]
        if not held.rows:
            return
        names = [f"c{n}" for n in range(len(schema.columns))]
        planned = schema.to_arrow()
        plain = numbered(planned, names)
        incoming = Incoming(plain, lambda: with_numbers(held.all(), plain))
        terms = [*order_by(self.config.by, schema, names), NUMBER]
        sql = select(names, "rows", f"order by {', '.join(terms)}")
        rows_max = rows_of(held.rows, held.bytes)
        for table in streamed(self.context.budget, {"rows": incoming}, sql, plain.remove(len(names)), rows_max):
            yield table.rename_columns(planned.names).cast(planned)


__all__ = ["Sort", "SortConfig"]
