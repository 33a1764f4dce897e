"""The bound of W10b on DuckDB: `ten_duckdb.py ORDERS OUTPUT`."""

from __future__ import annotations

import sys

import duckdb

orders, output = sys.argv[1:]
duckdb.execute(f"copy (select id, city, price from read_csv('{orders}', header = true)) to '{output}' (format json)")
