"""The peer dlt on W4, by its Arrow paths: `tables_dlt.py copy|parquet|load|merge URL SOURCE STATE TARGET`.

The target is a folder for Parquet, else the schema of the table `orders`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

os.environ["DATA_WRITER__FILE_MAX_ITEMS"] = "1000000"

import dlt
import pyarrow as pa
import pyarrow.csv as pv
from arrow_orders import TYPES
from dlt.sources.sql_database import sql_table

if TYPE_CHECKING:
    from collections.abc import Iterator

work, url, source, state, target = sys.argv[1:]


@dlt.resource(name="orders", write_disposition="replace")
def file() -> Iterator[pa.Table]:
    """Yield each block of the file."""
    convert = pv.ConvertOptions(column_types=TYPES, strings_can_be_null=True, null_values=[""])
    for batch in pv.open_csv(source, read_options=pv.ReadOptions(block_size=16 << 20), convert_options=convert):
        yield pa.Table.from_batches([batch])


def table() -> Any:
    """Return the table of the server, read with connectorx."""
    rows = sql_table(url, table=source, schema="public", backend="connectorx", chunk_size=100_000)
    if work == "merge":
        disposition = {"disposition": "merge", "strategy": "upsert"}
        rows.apply_hints(table_name="orders", write_disposition=disposition, primary_key="id")
    else:
        rows.apply_hints(table_name="orders", write_disposition="replace")
    return rows


if work == "parquet":
    destination: Any = dlt.destinations.filesystem(Path(target).resolve().as_uri())
else:
    destination = dlt.destinations.postgres(url)
dataset = "out" if work == "parquet" else target
pipeline = dlt.pipeline("orders", pipelines_dir=state, destination=destination, dataset_name=dataset)
print(pipeline.run(file() if work == "load" else table(), loader_file_format="parquet"))
