"""The peer dlt on W10b: `ten_dlt.py ORDERS FOLDER STATE`."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import dlt

if TYPE_CHECKING:
    from collections.abc import Iterator

orders, folder, state = sys.argv[1:]


@dlt.resource(name="orders", write_disposition="replace")
def rows() -> Iterator[dict[str, object]]:
    """Yield the rows of the file."""
    with Path(orders).open(newline="") as file:
        for row in csv.DictReader(file):
            yield {"id": int(row["id"]), "city": row["city"] or None, "price": float(row["price"] or 0)}


destination = dlt.destinations.filesystem(Path(folder).resolve().as_uri())
pipeline = dlt.pipeline("orders", pipelines_dir=state, destination=destination, dataset_name="out")
print(pipeline.run(rows(), loader_file_format="jsonl"))
