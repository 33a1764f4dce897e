"""Brings the rows of two bounded inputs together by keys."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.component import processor
from dataflare.component.processor import Port
from dataflare.expression.streaming import Incoming, rows_of, streamed
from dataflare.processors.bounded import TABLES, BoundedProcessor
from dataflare.processors.held import HeldRows
from dataflare.processors.join_plan import LEFT, RIGHT, JoinConfig, JoinPlan, join_plan
from dataflare.processors.ordering import numbered, with_numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    import pyarrow as pa

    from dataflare.schema import Schema


@processor(
    "join",
    status="beta",
    **TABLES,
    examples=[
        {"keys": {"customer_id": "id"}},
        {"how": "left", "keys": ["country"], "take": {"country_name": "name"}},
        {"how": "anti", "keys": ["order_id"]},
        {"how": "asof", "keys": ["symbol"], "at": {"traded_at": "quoted_at"}, "within": "5m"},
    ],
)
class Join(BoundedProcessor[JoinConfig]):
    """Brings the rows of two bounded inputs together by keys.

    `inputs` names the left side, then the right one. Rows of both wait until both have ended: in memory as far as they
    may, then on disk, so that both may be far larger than memory. They come out in no order.

    Columns of the left side come first and keep their names; of the right side, all but the keys, with a suffix where
    a name is taken. A key stands for both sides: in rows of the right side without a partner it has their value. As in
    SQL, a null equals nothing, not even a null. Of several equally near rows, `asof` takes the last that came, or the
    first where it looks forward.
    """

    tells_tags = True

    _plan: JoinPlan | None = None

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        """Return the columns of both sides."""
        return {"": join_plan(self.config, inputs).output}

    def reads(self, inputs: Sequence[Schema], wanted: AbstractSet[str] | None) -> Sequence[AbstractSet[str] | None]:
        """Return the keys and what is wanted of each side; a name that both have stays in both."""
        return join_plan(self.config, inputs).reads(wanted)

    def ports(self, count: int) -> Sequence[Port]:
        """Return that equal keys meet; without keys, each task gets all of the right side."""
        pairs = self.config.pairs
        if not pairs:
            return [Port(), *[Port(everywhere=True)] * (count - 1)]
        return [Port(tuple(pairs)), *[Port(tuple(pairs.values()))] * (count - 1)]

    def sides(self) -> Mapping[str, HeldRows]:
        """Return what holds the rows of both sides."""
        context, pairs = self.context, self.config.pairs
        plan = self._plan = join_plan(self.config, [context.schemas["0"], context.schemas["1"]])
        memory, everywhere = self.memory_bytes_max(2), not pairs
        return {
            LEFT: HeldRows(plan.left.to_arrow(), memory, context, tuple(pairs)),
            RIGHT: HeldRows(plan.right.to_arrow(), memory, context, tuple(pairs.values()), everywhere=everywhere),
        }

    def results(self) -> Iterator[pa.Table]:
        """Yield what comes of both sides."""
        import pyarrow as pa

        assert self._plan is not None
        plan, left, right = self._plan, self.held[LEFT], self.held[RIGHT]
        names = [f"c{n}" for n in range(len(plan.output.columns))]
        planned = plan.output.to_arrow()
        plain = pa.schema([f.with_name(n) for f, n in zip(planned, names, strict=True)])
        rows_max = rows_of(left.rows + right.rows, left.bytes + right.bytes)
        sql = plan.sql(swapped=left.bytes < right.bytes)
        inputs = {LEFT: _incoming(LEFT, left, plan.left), RIGHT: _incoming(RIGHT, right, plan.right)}
        for table in streamed(self.context.budget, inputs, sql, plain, rows_max):
            yield pa.Table.from_arrays(table.columns, schema=planned)


def _incoming(side: str, held: HeldRows, schema: Schema) -> Incoming:
    """Return the rows of a side, numbered, as the statement knows them."""
    plain = numbered(schema.to_arrow(), [f"{side}{n}" for n in range(len(schema.columns))])
    return Incoming(plain, lambda: with_numbers(held.all(), plain))


__all__ = ["Join"]
