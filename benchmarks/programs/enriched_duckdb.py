"""The bound of W5 on DuckDB: `enriched_duckdb.py ORDERS CUSTOMERS OUTPUT`."""

from __future__ import annotations

import sys

import duckdb

COLUMNS = """{'id': 'BIGINT', 'customer_id': 'BIGINT', 'product': 'VARCHAR', 'city': 'VARCHAR', 'status': 'VARCHAR',
    'qty': 'INTEGER', 'price': 'DOUBLE', 'ts': 'TIMESTAMP'}"""

orders, customers, output = sys.argv[1:]
session = duckdb.connect()
session.execute("set threads = 2; set preserve_insertion_order = false")
session.execute(
    f"""copy (select o.*, c.segment, c.country, c.discount
    from read_csv('{orders}', header = true, columns = {COLUMNS}) o
    left join read_csv('{customers}', header = true) c using (customer_id))
    to '{output}' (format parquet, compression snappy)"""
)
