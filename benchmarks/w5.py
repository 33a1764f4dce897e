"""W5: five million orders get three columns from a hundred thousand customers, and become Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import check, data
from benchmarks.workload import SUBJECT, Contender, Limits, Role, Workload, dataflare, folder, script

if TYPE_CHECKING:
    from benchmarks.workload import Facts

ROWS = 5_000_000
FACTS = """select count(*) as rows, sum(id) as ids, count(customer_id) as customers, sum(length(product)) as letters,
    sum(qty) as qty, sum(price) as price, count(segment) as known, sum(ascii(segment)) as segments,
    sum(ascii(country)) as countries, sum(discount) as discount from {files}"""


def facts(contender: Contender) -> Facts:
    """Return counts and sums of the Parquet files that a contender wrote."""
    return check.of_files(FACTS, f"read_parquet('{contender.target}')")


def workloads(rows: int | None) -> list[Workload]:
    """Return the workload, on five million orders unless told otherwise."""
    rows = rows or ROWS
    orders, customers = str(data.orders(rows)), str(data.customers())
    given = {"BENCH_ORDERS": orders, "BENCH_CUSTOMERS": customers}
    engine, spark = folder("W5", "DuckDB") / "out.parquet", folder("W5", "PySpark") / "out"
    duckdb = script("bounds", "enriched_duckdb.py", orders, customers, str(engine))
    pyspark = script("pyspark", "enriched_pyspark.py", orders, customers, str(spark))
    contenders = (
        dataflare("W5", "w5.yaml", given, str(folder("W5", SUBJECT) / "out" / "*.parquet")),
        Contender("DuckDB", Role.BOUND, duckdb, "bounds", target=str(engine)),
        Contender("PySpark", Role.PEER, pyspark, "pyspark", target=str(spark / "*.parquet")),
    )
    limits = Limits(wall=1.0, cpu=1.0, rss_bytes=400 << 20)
    return [Workload("W5", "CSV, enriched from 100,000 rows, Parquet", rows, contenders, facts, limits)]
