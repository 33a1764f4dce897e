"""W6: small events are filtered and mapped: two million JSON Lines at full speed, and a thousand a second (W6b)."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import check, data, places, w3
from benchmarks.workload import LATENCIES, Contender, Limits, Role, Workload, dataflare, folder, script

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.workload import Facts

RATE, SECONDS = 1000, 10

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
    return [Workload("W6", title, rows, contenders, facts, Limits(cpu_seconds=rows / 1_000_000)), latency()]


def latency() -> Workload:
    """W6b: a thousand bids a second come by a connection and leave by another one, each as soon as it is there."""
    contenders = (
        _over_wire(dataflare("W6b", "w6b.yaml", {}, "")),
        _over_wire(Contender("asyncio loop", Role.BOUND, script("bytewax", "wire_loop.py"), "bytewax")),
        _over_wire(Contender("bytewax", Role.PEER, script("bytewax", "wire_bytewax.py"), "bytewax")),
    )
    title = f"{RATE:,} events a second over a connection, filter, map"
    limits = Limits(p50_ms=0.5, p99_ms=1.0)
    return Workload("W6b", title, RATE * SECONDS, contenders, _returned, limits, told=_latencies)


def _over_wire(contender: Contender) -> Contender:
    """Return a contender between both ends of the wire, which tell what came back and when."""
    target = str(folder("W6b", contender.name) / "result.json")
    between = (sys.executable, str(places.PROGRAMS / "wire.py"), str(RATE), str(RATE * SECONDS), target)
    return replace(contender, command=(*between, *contender.command), target=target)


def _returned(contender: Contender) -> Facts:
    return {k: v for k, v in json.loads(Path(contender.target).read_text()).items() if k not in LATENCIES}


def _latencies(log: Path) -> Mapping[str, float]:
    """Return the last line of the log, which is JSON."""
    found: Mapping[str, float] = json.loads(log.read_text().splitlines()[-1])
    return {k: v for k, v in found.items() if k in LATENCIES}
