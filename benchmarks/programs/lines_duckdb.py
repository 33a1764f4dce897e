"""The bound of W3 and W6 on DuckDB: `lines_duckdb.py w3|w6 LINES OUTPUT`."""

from __future__ import annotations

import sys

import duckdb

COLUMNS = {
    "w3": """{'id': 'BIGINT', 'ts': 'BIGINT', 'type': 'VARCHAR',
        'user': 'STRUCT(id BIGINT, email VARCHAR, address STRUCT(country VARCHAR))',
        'items': 'STRUCT(sku VARCHAR)[]', 'amount': 'DOUBLE'}""",
    "w6": "{'auction': 'BIGINT', 'bidder': 'BIGINT', 'price': 'BIGINT', 'ts': 'BIGINT'}",
}
STATEMENTS = {
    "w3": """select id, ts, type, "user".id as user_id,
        "user".email[1] || '***' || regexp_extract("user".email, '@.*') as email,
        "user".address.country as country, items[1].sku as sku, amount
        from {lines} where type in ('purchase', 'signup')""",
    "w6": "select auction, bidder, price * cast(0.9 as double) as eur, ts from {lines} where price >= 100",
}

workload, lines, output = sys.argv[1:]
session = duckdb.connect()
session.execute("set threads = 2; set preserve_insertion_order = false")
source = f"read_json('{lines}', format = 'newline_delimited', columns = {COLUMNS[workload]})"
session.execute(f"copy ({STATEMENTS[workload].format(lines=source)}) to '{output}' (format json)")
