"""W6: two million small events are filtered and mapped, JSON Lines to JSON Lines, at full speed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import check, data, w3
from benchmarks.workload import Contender, Limits, Role, Workload

if TYPE_CHECKING:
    from benchmarks.workload import Facts

FACTS = """select count(*) as rows, sum(auction) as auctions, sum(bidder) as bidders, sum(eur) as eur,
    sum(ts - 1735689600000) as times from {files}"""


def facts(contender: Contender) -> Facts:
    """Return counts and sums of the JSON Lines that a contender wrote."""
    return check.of_files(FACTS, f"read_json('{contender.target}', format = 'newline_delimited')")


def workloads(rows: int | None) -> list[Workload]:
    """Return the workload, on two million bids unless told otherwise."""
    rows = rows or w3.ROWS
    bids = str(data.bids(rows))
    contenders = (
        w3.ours("W6", "w6.yaml", "BENCH_BIDS", bids),
        w3.contender("W6", "DuckDB", Role.BOUND, "bounds", "lines_duckdb.py", "w6", bids),
        w3.contender("W6", "orjson loop", Role.BOUND, "bytewax", "lines_loop.py", "w6", bids),
        w3.contender("W6", "bytewax", Role.PEER, "bytewax", "lines_bytewax.py", "w6", bids),
        w3.pyspark("W6", "w6", bids),
    )
    title = "JSON Lines, filter, map"
    return [Workload("W6", title, rows, contenders, facts, Limits(cpu_seconds=rows / 1_000_000))]
