"""Puts all rows of a bounded input in order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.batch import Batch
from dataflare.component import Config, Field, Processor, processor
from dataflare.expression.streaming import Incoming, rows_of, streamed
from dataflare.plan_words import EdgeKind
from dataflare.processors.columns import same_columns
from dataflare.processors.held import HeldRows, restore_told, told_state
from dataflare.processors.ordering import NUMBER, OrderKey, numbered, order_by, with_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dataflare.schema import Schema

_HELD_SHARE = 8
"""The part of its memory that a task may fill with rows that wait."""


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
    accepts=(EdgeKind.APPEND,),
    yields=EdgeKind.APPEND,
    counts=("absorbed", "expanded"),
    parallel=False,
    deterministic=False,
    examples=[
        {"by": ["country", "amount desc"]},
        {"by": [{"column": "seen_at", "order": "desc", "nulls": "first"}]},
    ],
)
class Sort(Processor[SortConfig]):
    """Puts all rows of a bounded input in order.

    Rows come out when the input has ended, and are held till then: in memory as far as they may, then on disk, so
    that there may be far more of them than memory holds. Texts are ordered by code point (`Z` before `a`), NaN is the
    greatest number, nulls come last unless `nulls: first` says otherwise. Rows that are equal in all keys keep the
    order in which they came. One task sorts; behind it, one that writes with several does not keep the order.
    """

    tells_tags = True

    def __init__(self, config: SortConfig) -> None:
        """Hold nothing yet."""
        super().__init__(config)
        self._held: HeldRows | None = None
        self._fates: dict[str, int] = {}

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        """Return the columns as they come."""
        schema = same_columns(inputs)
        order_by(self.config.by, schema, schema.names)
        return {"": schema}

    def open(self) -> None:
        """Prepare to hold rows."""
        memory = self.context.budget.memory_bytes_max // _HELD_SHARE
        self._held = HeldRows(self.context.schemas["0"].to_arrow(), memory, self.context)

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Take the rows in."""
        del port
        self._rows.add(batch.rows)
        self._count("absorbed", batch.num_rows)
        return ()

    def finish(self) -> Iterable[Batch]:
        """Let the rows through, in order."""
        held = self._rows
        if not held.rows:
            return
        schema = self.context.schemas["0"]
        names = [f"c{n}" for n in range(len(schema.columns))]
        planned = schema.to_arrow()
        plain = numbered(planned, names)
        rows_max = rows_of(held.rows, held.bytes)
        incoming = Incoming(plain, lambda: with_numbers(held.take(), plain))
        terms = [*order_by(self.config.by, schema, names), NUMBER]
        columns = ", ".join(f"{name}" for name in names)
        sql = f"select {columns} from rows order by {', '.join(terms)}"  # noqa: S608 - quoted names and our words
        for table in streamed(self.context.budget, {"rows": incoming}, sql, plain.remove(len(names)), rows_max):
            self._count("expanded", table.num_rows)
            yield Batch(table.rename_columns(planned.names).cast(planned))

    def fates(self) -> Mapping[str, int]:
        """Return what became of the rows."""
        fates, self._fates = self._fates, {}
        return fates

    def snapshot(self) -> Mapping[int, bytes]:
        """Return the rows that wait."""
        return told_state({"rows": self._rows})

    def segments(self) -> Sequence[str]:
        """Return where they are."""
        return self._rows.segments()

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Take them back."""
        restore_told({"rows": self._rows}, state)

    def close(self) -> None:
        """Forget the rows."""
        if self._held is not None:
            self._held.close()

    @property
    def _rows(self) -> HeldRows:
        assert self._held is not None, "it is not open"
        return self._held

    def _count(self, fate: str, rows: int) -> None:
        self._fates[fate] = self._fates.get(fate, 0) + rows


__all__ = ["Sort", "SortConfig"]
