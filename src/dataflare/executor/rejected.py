"""Brings rejected rows of any node into one shape, so that all of them fit into one dead-letter destination."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.schema import REJECTED

if TYPE_CHECKING:
    import pyarrow as pa

    from dataflare.batch import Batch
    from dataflare.expression.reject import Rejected


def of_chain(rejected: Rejected) -> pa.Table:
    """Return the rejected rows of a row-wise node: each as a JSON object."""
    import pyarrow.compute as pc

    from dataflare.formats.jsonl.encode import JsonTexts

    texts = JsonTexts()
    try:
        rows = texts.lines(rejected.rows).combine_chunks()
    finally:
        texts.close()
    return _shaped(rejected.node, {"error": rejected.reasons, "row": pc.utf8_rtrim(rows, "\n")})


def normalised(node: str, batch: Batch) -> Batch:
    """Return a batch of the stream `errors` in the one shape; a column `raw` is the row."""
    from dataflare.batch import Encoded

    if isinstance(batch.payload, Encoded) or batch.payload.schema.names == REJECTED.names:
        return batch
    rows = batch.payload
    names = {"raw": "row"}
    return batch.replace(_shaped(node, {names.get(n, n): rows[n] for n in rows.column_names}), "errors")


def _shaped(node: str, columns: dict[str, pa.Array | pa.ChunkedArray]) -> pa.Table:
    import pyarrow as pa

    schema = REJECTED.to_arrow()
    count = len(columns["error"])
    columns = {"node": pa.repeat(pa.scalar(node), count), **columns}
    arrays = [columns[f.name] if f.name in columns else pa.nulls(count, f.type) for f in schema]
    return pa.table([a.cast(f.type) for a, f in zip(arrays, schema, strict=True)], schema=schema)
