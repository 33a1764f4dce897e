"""Asks all rows of bounded inputs a question in SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import WithJsonSchema

from dataflare.component import Config, Field, processor
from dataflare.errors import WorkflowError
from dataflare.expression.query import Query, read_query
from dataflare.expression.session import folded
from dataflare.expression.streaming import Incoming, rows_of, streamed
from dataflare.processors.bounded import TABLES, BoundedProcessor
from dataflare.processors.held import HeldRows

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    import pyarrow as pa

    from dataflare.schema import Schema


class SqlConfig(Config):
    """What is asked."""

    query: Annotated[str, WithJsonSchema({"type": "string", "format": "sql"})] = Field(
        min_length=1, description="One SELECT over the inputs by their names, in the dialect of DuckDB."
    )


@processor(
    "sql",
    status="beta",
    **TABLES,
    parallel=False,
    deterministic=False,
    examples=[
        {"query": "select country, count(*) as orders from paid group by country having count(*) > 10"},
        {
            "query": "select o.*, rank() over (partition by c.country order by o.amount desc) as place "
            "from orders o join customers c on c.id = o.customer_id"
        },
    ],
)
class Sql(BoundedProcessor[SqlConfig]):
    """Asks all rows of bounded inputs a question in SQL.

    Tables are the `inputs`, by the names of their nodes: `orders`, or `split.big` for an output of a node. One with
    other characters is quoted: `"my-node"`. Joins, groups, windows, WITH, subqueries and set operations are as in
    DuckDB. The question is asked once, when all inputs have ended; till then rows wait, in memory as far as they may,
    then on disk, and what the answer takes more of lies on disk, too.

    `validate` reads the query and types its columns. It reads nothing but the inputs: files, the network, settings and
    other tables are refused, and so is what differs from one try to the next: `random()`, `uuid()`, samples. It may
    call the functions of expressions, aggregates among them, and the window functions `row_number`, `rank`,
    `dense_rank`, `percent_rank`, `cume_dist`, `ntile`, `lag`, `lead`, `first_value`, `last_value`, `nth_value` and
    `fill`; tables are made by `range`, `generate_series`, `unnest`, `json_each` and `json_tree`. `now()` is the time of
    the epoch. Without ORDER BY rows come in no order. A value that fails, such as a cast, fails the run.
    """

    tells_tags = True
    _query: Query | None = None

    def outputs(self, inputs: Sequence[Schema]) -> Mapping[str, Schema]:
        """Return the columns of the answer."""
        return {"": self._read(inputs).output}

    def reads(self, inputs: Sequence[Schema], wanted: AbstractSet[str] | None) -> Sequence[AbstractSet[str] | None]:
        """Return the columns of each input that the query names; `*` and its like name all of them."""
        del wanted
        named = self._read(inputs).named
        return [None if named is None else {n for n in s.names if folded(n) in named} for s in inputs]

    def sides(self) -> Mapping[str, HeldRows]:
        """Return what holds the rows of each input."""
        inputs = [self.context.schemas[str(port)] for port in range(len(self.context.schemas))]
        self._query = self._read(inputs)
        memory = self.memory_bytes_max(len(inputs))
        return {str(port): HeldRows(s.to_arrow(), memory, self.context) for port, s in enumerate(inputs)}

    def results(self) -> Iterator[pa.Table]:
        """Yield the answer."""
        assert self._query is not None
        query, sides = self._query, list(self.held.values())
        rows_max = rows_of(sum(s.rows for s in sides), sum(s.bytes for s in sides))
        inputs = {name: Incoming(side.schema, side.all) for name, side in zip(query.tables, sides, strict=True)}
        sql = query.sql(self.context.epoch_time())
        yield from streamed(self.context.budget, inputs, sql, query.output.to_arrow(), rows_max)

    def _read(self, inputs: Sequence[Schema]) -> Query:
        names = self.context.inputs
        if len(names) != len(inputs):
            raise WorkflowError("nobody told the names of its inputs", hint="give the node inputs: [...]")
        return read_query(self.config.query, dict(zip(names, inputs, strict=True)))


__all__ = ["Sql", "SqlConfig"]
