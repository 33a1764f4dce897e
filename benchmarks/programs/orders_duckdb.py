"""The bound of W1 and W2 on DuckDB: `orders_duckdb.py w1|w2 ORDERS OUTPUT keep|any`."""

from __future__ import annotations

import sys

import duckdb

COLUMNS = """{'id': 'BIGINT', 'customer_id': 'BIGINT', 'product': 'VARCHAR', 'city': 'VARCHAR', 'status': 'VARCHAR',
    'qty': 'INTEGER', 'price': 'DOUBLE', 'ts': 'TIMESTAMP'}"""
STATEMENTS = {
    "w1": """select id, customer_id, product, upper(city) as city, status, qty, price, price * qty as total,
        price * qty > 500 as is_big, cast(round(price * 100) as bigint) as cents, ts, cast(ts as date) as day
        from {orders} where status <> 'cancelled' and qty >= 2""",
    "w2": """select city, status, cast(ts as date) as day, count(*) as orders, sum(qty) as qty,
        sum(price * qty) as total, avg(price) as price, count(distinct customer_id) as customers
        from {orders} group by all""",
}

workload, orders, output, order = sys.argv[1:]
session = duckdb.connect()
session.execute(f"set threads = 2; set preserve_insertion_order = {'true' if order == 'keep' else 'false'}")
source = f"read_csv('{orders}', header = true, columns = {COLUMNS})"
statement = STATEMENTS[workload].format(orders=source)
session.execute(f"copy ({statement}) to '{output}' (format parquet, compression snappy)")
