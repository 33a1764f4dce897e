"""Brings the rows of two bounded inputs together by keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.batch import Batch
from dataflare.component import Processor, processor
from dataflare.component.processor import Port
from dataflare.expression.streaming import Incoming, rows_of, streamed
from dataflare.plan_words import EdgeKind
from dataflare.processors.held import HeldRows, restore_told, told_state
from dataflare.processors.join_plan import LEFT, RIGHT, JoinConfig, JoinPlan, join_plan
from dataflare.processors.ordering import numbered, with_numbers

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from dataflare.schema import Schema

_HELD_SHARE = 16
"""The part of its memory that a task may fill with rows of each side."""


@processor(
    "join",
    status="beta",
    accepts=(EdgeKind.APPEND,),
    yields=EdgeKind.APPEND,
    counts=("absorbed", "expanded"),
    examples=[
        {"keys": {"customer_id": "id"}},
        {"how": "left", "keys": ["country"], "take": {"country_name": "name"}},
        {"how": "anti", "keys": ["order_id"]},
        {"how": "asof", "keys": ["symbol"], "at": {"traded_at": "quoted_at"}, "within": "5m"},
    ],
)
class Join(Processor[JoinConfig]):
    """Brings the rows of two bounded inputs together by keys.

    `inputs` names the left side, then the right one. Rows of both wait until both have ended: in memory as far as they
    may, then on disk, so that both may be far larger than memory. They come out in no order.

    Columns of the left side come first and keep their names; of the right side, all but the keys, with a suffix where
    a name is taken. A key stands for both sides: in rows of the right side without a partner it has their value. As in
    SQL, a null equals nothing, not even a null. Of several equally near rows, `asof` takes the last that came, or the
    first where it looks forward.
    """

    tells_tags = True

    def __init__(self, config: JoinConfig) -> None:
        """Hold nothing yet."""
        super().__init__(config)
        self._plan: JoinPlan | None = None
        self._held: dict[str, HeldRows] = {}
        self._fates: dict[str, int] = {}

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        """Return the columns of both sides."""
        return {"": join_plan(self.config, inputs).output}

    def ports(self, count: int) -> Sequence[Port]:
        """Return that equal keys meet; without keys, each task gets all of the right side."""
        pairs = self.config.pairs
        if not pairs:
            return [Port(), *[Port(everywhere=True)] * (count - 1)]
        return [Port(tuple(pairs)), *[Port(tuple(pairs.values()))] * (count - 1)]

    def open(self) -> None:
        """Prepare to hold rows."""
        context, pairs = self.context, self.config.pairs
        plan = self._plan = join_plan(self.config, [context.schemas["0"], context.schemas["1"]])
        memory = context.budget.memory_bytes_max // _HELD_SHARE
        self._held = {
            LEFT: HeldRows(plan.left.to_arrow(), memory, context, tuple(pairs)),
            RIGHT: HeldRows(plan.right.to_arrow(), memory, context, tuple(pairs.values()), everywhere=not pairs),
        }

    def process(self, batch: Batch, port: int = 0) -> Iterable[Batch]:
        """Take the rows in."""
        assert self._plan is not None
        if port == 0:
            self._held[LEFT].add(batch.rows)
        else:
            self._held[RIGHT].add(batch.rows.select(self._plan.right.names))
        self._count("absorbed", batch.num_rows)
        return ()

    def finish(self) -> Iterable[Batch]:
        """Let what comes of both sides through."""
        import pyarrow as pa

        assert self._plan is not None
        plan, left, right = self._plan, self._held[LEFT], self._held[RIGHT]
        names = [f"c{n}" for n in range(len(plan.output.columns))]
        planned = plan.output.to_arrow()
        plain = pa.schema([f.with_name(n) for f, n in zip(planned, names, strict=True)])
        rows_max = rows_of(left.rows + right.rows, left.bytes + right.bytes)
        sql = plan.sql(swapped=left.bytes < right.bytes)
        inputs = {LEFT: _incoming(LEFT, left, plan.left), RIGHT: _incoming(RIGHT, right, plan.right)}
        for table in streamed(self.context.budget, inputs, sql, plain, rows_max):
            self._count("expanded", table.num_rows)
            yield Batch(pa.Table.from_arrays(table.columns, schema=planned))

    def fates(self) -> Mapping[str, int]:
        """Return what became of the rows."""
        fates, self._fates = self._fates, {}
        return fates

    def snapshot(self) -> Mapping[int, bytes]:
        """Return the rows that wait."""
        return told_state(self._held)

    def segments(self) -> Sequence[str]:
        """Return where they are."""
        return [name for held in self._held.values() for name in held.segments()]

    def restore(self, state: Mapping[int, bytes]) -> None:
        """Take them back."""
        restore_told(self._held, state)

    def close(self) -> None:
        """Forget the rows."""
        for held in self._held.values():
            held.close()

    def _count(self, fate: str, rows: int) -> None:
        self._fates[fate] = self._fates.get(fate, 0) + rows


def _incoming(side: str, held: HeldRows, schema: Schema) -> Incoming:
    """Return the rows of a side, numbered, as the statement knows them."""
    plain = numbered(schema.to_arrow(), [f"{side}{n}" for n in range(len(schema.columns))])
    return Incoming(plain, lambda: with_numbers(held.take(), plain))


__all__ = ["Join"]
