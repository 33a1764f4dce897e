"""The peer Ray Data on W1 and W2: `orders_ray.py w1|w2 ORDERS OUTPUT`."""

from __future__ import annotations

import logging
import sys

import pyarrow as pa
import pyarrow.csv as pv
import pyarrow.parquet as pq
import ray
from arrow_orders import TYPES, derived
from ray.data.aggregate import Count, CountDistinct, Mean, Sum

workload, orders, output = sys.argv[1:]
ray.init(address="local", num_cpus=2, include_dashboard=False, logging_level=logging.ERROR, object_store_memory=2 << 30)
ray.data.DataContext.get_current().enable_progress_bars = False
convert = pv.ConvertOptions(column_types=TYPES, strings_can_be_null=True, null_values=[""])
rows = ray.data.read_csv(orders, convert_options=convert)


def keyed(batch: pa.Table) -> pa.Table:
    """Return the columns that W2 groups by and aggregates."""
    total = pa.compute.multiply(batch["price"], batch["qty"].cast(pa.float64()))
    columns = {name: batch[name] for name in ("city", "status", "qty", "price", "customer_id")}
    return pa.table({**columns, "day": batch["ts"].cast(pa.date32()), "total": total})


if workload == "w1":
    rows.map_batches(derived, batch_format="pyarrow", batch_size=131_072).write_parquet(output, compression="snappy")
else:
    grouped = rows.map_batches(keyed, batch_format="pyarrow", batch_size=131_072).groupby(
        ["city", "status", "day"], num_partitions=4
    )
    aggregates = (
        Count(alias_name="orders"),
        Sum("qty", alias_name="qty"),
        Sum("total", alias_name="total"),
        Mean("price", alias_name="price"),
        CountDistinct("customer_id", alias_name="customers"),
    )
    parts = grouped.aggregate(*aggregates).iter_batches(batch_format="pyarrow", batch_size=None)
    pq.write_table(pa.concat_tables(parts), output, compression="snappy")
