"""W2: the same file is grouped by city, state and day; sum, average, count and count distinct become Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import check, data, w1
from benchmarks.workload import SUBJECT, Contender, Limits, Workload, dataflare, folder

if TYPE_CHECKING:
    from benchmarks.workload import Facts

FACTS = """select count(*) as groups, count(city) as cities, count(day) as days, sum(orders) as orders,
    sum(qty) as qty, sum(total) as total, sum(price) as price, sum(customers) as customers,
    sum(customers * ascii(status)) as customers_by_state from {files}"""


def facts(contender: Contender) -> Facts:
    """Return counts and sums of the groups that a contender wrote."""
    return check.of_files(FACTS, f"read_parquet('{contender.target}')")


def workloads(rows: int | None) -> list[Workload]:
    """Return the workload, on five million rows unless told otherwise."""
    rows = rows or w1.ROWS
    orders = str(data.orders(rows))
    subject = dataflare("W2", "w2.yaml", {"BENCH_ORDERS": orders}, str(folder("W2", SUBJECT) / "out" / "*.parquet"))
    engines = [bound for bound in w1.bounds("W2", orders) if "order kept" not in bound.name]
    limits = Limits(wall=1.20, cpu=1.20)
    contenders = (subject, *engines, *w1.peers("W2", orders))
    return [Workload("W2", "CSV, group by, Parquet", rows, contenders, facts, limits)]
