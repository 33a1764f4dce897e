"""The bound of W1 and W2 on Polars: `orders_polars.py w1|w2 ORDERS OUTPUT keep|any`."""

from __future__ import annotations

import sys

import polars as pl

workload, orders, output, order = sys.argv[1:]
columns = {
    "id": pl.Int64,
    "customer_id": pl.Int64,
    "product": pl.String,
    "city": pl.String,
    "status": pl.String,
    "qty": pl.Int32,
    "price": pl.Float64,
    "ts": pl.String,
}
rows = pl.scan_csv(orders, schema=columns).with_columns(ts=pl.col.ts.str.to_datetime("%Y-%m-%d %H:%M:%S"))
total = pl.col.price * pl.col.qty
if workload == "w1":
    rows = rows.filter((pl.col.status != "cancelled") & (pl.col.qty >= 2)).select(
        *("id", "customer_id", "product"),
        pl.col.city.str.to_uppercase(),
        *("status", "qty", "price"),
        total.alias("total"),
        (total > 500).alias("is_big"),
        (pl.col.price * 100).round().cast(pl.Int64).alias("cents"),
        "ts",
        pl.col.ts.dt.date().alias("day"),
    )
else:
    rows = rows.group_by("city", "status", pl.col.ts.dt.date().alias("day")).agg(
        pl.len().alias("orders"),
        pl.col.qty.cast(pl.Int64).sum(),
        total.sum().alias("total"),
        pl.col.price.mean(),
        pl.col.customer_id.drop_nulls().n_unique().alias("customers"),
    )
rows.sink_parquet(output, compression="snappy", maintain_order=order == "keep", engine="streaming")
