"""W1: a CSV file of five million orders is filtered, gets five computed and cast columns, and becomes Parquet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import check, commands, data
from benchmarks.workload import SUBJECT, Contender, Limits, Role, Workload, dataflare, folder, script

if TYPE_CHECKING:
    from benchmarks.workload import Facts

ROWS = 5_000_000
FACTS = """select count(*) as rows, sum(id) as ids, count(customer_id) as customers, sum(length(product)) as letters,
    sum(ascii(city)) as cities, count(status) as states, sum(qty) as qty, sum(price) as price, sum(total) as total,
    count(*) filter (is_big) as big, sum(cents) as cents, sum(epoch_us(ts)) as microseconds,
    sum(cast(day as date) - date '2025-01-01') as days from {files}"""
COPIED = """select count(*) as rows, sum(id) as ids, count(city) as cities, sum(qty) as qty, sum(price) as price
    from {files}"""


def facts(contender: Contender) -> Facts:
    """Return counts and sums of the Parquet files that a contender wrote."""
    return check.of_files(FACTS, f"read_parquet('{contender.target}')")


def copied(contender: Contender) -> Facts:
    """Return counts and sums of a copy of the orders in CSV."""
    return check.of_files(COPIED, f"read_csv('{contender.target}', header = true)")


def bounds(workload: str, orders: str) -> list[Contender]:
    """Return the engines on the work of W1 or W2."""
    made = []
    for engine, order in (("Polars", "any"), ("DuckDB", "any"), ("Polars", "keep"), ("DuckDB", "keep")):
        name = engine if order == "any" else f"{engine}, order kept"
        target = str(folder(workload, name) / "out.parquet")
        program = script("bounds", f"orders_{engine.lower()}.py", workload[:2].lower(), orders, target, order)
        made.append(Contender(name, Role.BOUND, program, "bounds", target=target))
    return made


def peers(workload: str, orders: str) -> list[Contender]:
    """Return the frameworks on the work of W1 or W2."""
    made = []
    for name in ("Ray Data", "PySpark"):
        environment = name.partition(" ")[0].lower()
        home = folder(workload, name)
        target = "out.parquet" if (environment, workload[:2]) == ("ray", "W2") else "out/*.parquet"
        written = home / target.partition("/")[0]
        program = script(environment, f"orders_{environment}.py", workload[:2].lower(), orders, str(written))
        made.append(Contender(name, Role.PEER, program, environment, target=str(home / target)))
    return made


def dlt(workload: str, orders: str) -> Contender:
    """Return dlt, by its Arrow path, with the transformation in the user's own code."""
    home = folder(workload, "dlt")
    program = script("dlt", "orders_dlt.py", orders, str(home / "out"), str(home / "state"))
    target = str(home / "out" / "out" / "orders" / "*.parquet")
    return Contender("dlt", Role.PEER, program, "dlt", target=target, note="Arrow path")


def sling(workload: str, orders: str) -> Contender:
    """Return sling, which can only copy here: its Parquet writer fetches a program that a closed machine cannot."""
    target = str(folder(workload, "sling") / "out.csv")
    return Contender(
        *("sling", Role.PEER, commands.sling(f"file://{orders}", "", f"file://{target}"), "sling"),
        variables=commands.sling_variables(folder(workload, "sling")),
        target=target,
        note="copies CSV to CSV, no more",
        facts=copied,
        expected=lambda: check.of_files(COPIED, f"read_csv('{orders}', header = true)"),
    )


def workloads(rows: int | None) -> list[Workload]:
    """Return the workload, on five million rows unless told otherwise."""
    rows = rows or ROWS
    orders = str(data.orders(rows))
    subject = dataflare("W1", "w1.yaml", {"BENCH_ORDERS": orders}, str(folder("W1", SUBJECT) / "out" / "*.parquet"))
    others = (*bounds("W1", orders), dlt("W1", orders), *peers("W1", orders), sling("W1", orders))
    title = "CSV, filter, five computed columns, Parquet"
    return [Workload("W1", title, rows, (subject, *others), facts, Limits(wall=1.15, cpu=1.20, rss_bytes=350 << 20))]
