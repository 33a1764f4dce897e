"""What W1 and W2 ask for, in Arrow's own functions: for the peers that hand batches to a user's code."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

TYPES = {
    "id": pa.int64(),
    "customer_id": pa.int64(),
    "product": pa.string(),
    "city": pa.string(),
    "status": pa.string(),
    "qty": pa.int32(),
    "price": pa.float64(),
    "ts": pa.timestamp("us"),
}


def derived(rows: pa.Table) -> pa.Table:
    """Return the rows of W1: filtered, with five columns computed and cast."""
    rows = rows.filter(pc.and_(pc.not_equal(rows["status"], "cancelled"), pc.greater_equal(rows["qty"], 2)))
    total = pc.multiply(rows["price"], rows["qty"].cast(pa.float64()))
    columns = {name: rows[name] for name in rows.column_names}
    return pa.table(
        {
            **columns,
            "city": pc.utf8_upper(rows["city"]),
            "total": total,
            "is_big": pc.greater(total, 500.0),
            "cents": pc.round(pc.multiply(rows["price"], 100.0)).cast(pa.int64()),
            "day": rows["ts"].cast(pa.date32()),
        }
    )
