"""The peer connectorx on W4b: `tables_connectorx.py URL OUTPUT`."""

from __future__ import annotations

import sys

import connectorx
import pyarrow.parquet as pq

url, output = sys.argv[1:]
rows = connectorx.read_sql(url, "select * from public.orders", return_type="arrow")
pq.write_table(rows, output, compression="snappy")
