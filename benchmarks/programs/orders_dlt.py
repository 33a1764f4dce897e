"""The peer dlt on W1, by its Arrow path: `orders_dlt.py ORDERS FOLDER STATE`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import dlt
import pyarrow as pa
import pyarrow.csv as pv
from arrow_orders import TYPES, derived

if TYPE_CHECKING:
    from collections.abc import Iterator

orders, folder, state = sys.argv[1:]


@dlt.resource(name="orders", write_disposition="replace")
def rows() -> Iterator[pa.Table]:
    """Yield the derived rows of each block of the file."""
    convert = pv.ConvertOptions(column_types=TYPES, strings_can_be_null=True, null_values=[""])
    for batch in pv.open_csv(orders, read_options=pv.ReadOptions(block_size=16 << 20), convert_options=convert):
        yield derived(pa.Table.from_batches([batch]))


destination = dlt.destinations.filesystem(Path(folder).resolve().as_uri())
pipeline = dlt.pipeline("orders", pipelines_dir=state, destination=destination, dataset_name="out")
print(pipeline.run(rows(), loader_file_format="parquet"))
