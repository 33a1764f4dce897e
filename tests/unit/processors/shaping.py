"""Opens a processor that shapes rows, sends rows through it, and compares what was planned with what comes out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pyarrow as pa

from dataflare.batch import Batch
from dataflare.component import StageContext
from dataflare.expression.chain import Chain
from dataflare.expression.step import RowProcessor
from dataflare.schema import Schema
from dataflare.testing.stage import HeldSegments

if TYPE_CHECKING:
    from collections.abc import Sequence

SEGMENTS = HeldSegments()


def opened(cls: Any, schema: Schema, on_error: str = "fail", **config: Any) -> Any:
    """Return an open processor over rows of a schema."""
    component = cls(cls.spec.config(**config))
    runtime = cast("Any", None)
    component.context = StageContext(
        runtime, workflow="w", node="n", schemas={"0": schema}, on_error=on_error, segments=SEGMENTS
    )
    if not isinstance(component, RowProcessor):
        component.open()
    return component


def planned(cls: Any, schema: Schema, **config: Any) -> Schema:
    """Return the schema that the processor plans."""
    component = cls(cls.spec.config(**config))
    component.context = StageContext(runtime=cast("Any", None), workflow="w", node="n", schemas={"0": schema})
    if isinstance(component, RowProcessor):
        return Chain([component.step([schema])], schema).outputs[-1]
    return component.outputs([schema])[""]


def through(
    cls: Any,
    rows: pa.Table | Sequence[dict[str, Any]],
    schema: Schema | None = None,
    *,
    on_error: str = "fail",
    **config: Any,
) -> list[dict[str, Any]]:
    """Return the rows that come out, which must have the planned types."""
    table = rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(list(rows), schema and schema.to_arrow())
    schema = schema or Schema.from_arrow(table.schema)
    expected = planned(cls, schema, **config).to_arrow()
    component = opened(cls, schema, on_error, **config)
    if isinstance(component, RowProcessor):
        found = [Chain([component.step([schema])], schema).run(table).rows]
    else:
        batches = [*component.process(Batch(table, "in", {"at": 1}, 5)), *component.flush(), *component.finish()]
        assert all(b.position in ({"at": 1}, None) for b in batches)
        assert all(b.stream == "" for b in batches)
        found = [b.rows for b in batches]
        component.close()
    for each in found:
        assert each.schema.equals(expected), f"{each.schema}\n{expected}"
    return [row for each in found for row in each.to_pylist()]
