"""The bound of W4b and W4c, DuckDB with its extension: `tables_duckdb.py parquet|load URL SOURCE TARGET`."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

import duckdb

COLUMNS = """{'id': 'BIGINT', 'customer_id': 'BIGINT', 'product': 'VARCHAR', 'city': 'VARCHAR', 'status': 'VARCHAR',
    'qty': 'INTEGER', 'price': 'DOUBLE', 'ts': 'TIMESTAMP'}"""

work, url, source, target = sys.argv[1:]
session = duckdb.connect()
session.execute("set threads = 2; set preserve_insertion_order = false")
package = Path(find_spec("duckdb_extension_postgres_scanner").submodule_search_locations[0])
session.execute(f"load '{next(package.glob('extensions/*/postgres_scanner.duckdb_extension'))}'")
session.execute(f"attach '{url}' as server (type postgres)")
if work == "parquet":
    session.execute(f"copy (select * from server.{source}) to '{target}' (format parquet, compression snappy)")
else:
    rows = f"read_csv('{source}', header = true, columns = {COLUMNS})"
    session.execute(f"insert into server.{target} select * from {rows}")
