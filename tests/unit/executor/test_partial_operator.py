"""Rows that a first half holds for a while are counted all the same, and those that turn out bad later are dead."""

from __future__ import annotations

from typing import Any, cast

import pyarrow as pa

from dataflare.batch import Batch
from dataflare.component import StageContext
from dataflare.executor.operators import PartialOperator, Tally
from dataflare.processors.aggregate import Aggregate
from dataflare.schema import Schema


def test_rows_found_to_be_bad_at_a_barrier_are_counted_in_its_epoch() -> None:
    settings: Any = Aggregate.spec.config
    half = Aggregate(settings(aggregations={"t": "sum(cast(v as integer))"})).partial()
    schemas = {"0": Schema.of({"v": "string"})}
    half.context = StageContext(cast("Any", None), workflow="w", node="n", schemas=schemas, on_error="dead_letter")
    half.open()
    operator, tally = PartialOperator("n/partial", "n", half), Tally()
    for values in (["1", "x"], ["y", "2", "3"]):
        assert list(operator.process(Batch(pa.table({"v": values})), 0, tally)) == []
    sent = [(node, output, batch.num_rows) for node, output, batch in operator.flush(tally)]
    assert sent == [("n", "errors", 2), ("n", "/partial", 1)]
    assert tally.take()[0] == {"n": {"in": 5, "absorbed": 3, "dead": 2}}
