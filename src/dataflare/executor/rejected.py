"""Brings rejected rows of any node into one shape, so that all of them fit into one dead-letter destination."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataflare.schema import REJECTED

if TYPE_CHECKING:
    import pyarrow as pa

    from dataflare.batch import Batch


def normalised(node: str, batch: Batch) -> Batch:
    """Return a batch of the stream `errors` in the one shape; a column `raw` is the row."""
    from dataflare.batch import Encoded

    if isinstance(batch.payload, Encoded) or batch.payload.schema.names == REJECTED.names:
        return batch
    rows = batch.payload
    names = {"raw": "row"}
    return batch.replace(_shaped(node, {names.get(n, n): rows[n] for n in rows.column_names}), "errors")


def first_reason(batch: Batch) -> str:
    """Return the reason of the first row of a normalised batch."""
    from dataflare.batch import Encoded

    if isinstance(batch.payload, Encoded):
        return "rejected"
    return str(batch.payload["error"][0])


def _shaped(node: str, columns: dict[str, pa.Array | pa.ChunkedArray]) -> pa.Table:
    import pyarrow as pa

    schema = REJECTED.to_arrow()
    count = len(columns["error"])
    columns = {"node": pa.repeat(pa.scalar(node), count), **columns}
    arrays = [columns[f.name] if f.name in columns else pa.nulls(count, f.type) for f in schema]
    return pa.table([a.cast(f.type) for a, f in zip(arrays, schema, strict=True)], schema=schema)
