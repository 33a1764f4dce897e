"""W3: two million nested events are parsed, filtered, projected and masked, by expressions (W3) or a function (W3p)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import check, data
from benchmarks.workload import SUBJECT, Contender, Limits, Role, Workload, dataflare, folder, script

if TYPE_CHECKING:
    from benchmarks.workload import Facts

ROWS = 2_000_000
FACTS = """select count(*) as rows, sum(id) as ids, sum(ts - 1735689600000) as times, sum(length(type)) as types,
    sum(user_id) as users, count(email) as emails, sum(length(email)) as letters, sum(ascii(country)) as countries,
    sum(length(sku)) as skus, sum(amount) as amount from {files}"""


def facts(contender: Contender) -> Facts:
    """Return counts and sums of the JSON Lines that a contender wrote."""
    return check.of_files(FACTS, f"read_json('{contender.target}', format = 'newline_delimited')")


def contender(workload: str, name: str, role: Role, environment: str, program: str, *arguments: str) -> Contender:
    """Return someone whose program takes the input, then the file to write."""
    target = str(folder(workload, name) / "out.jsonl")
    command = script(environment, program, *arguments, target)
    return Contender(name, role, command, environment, target=target)


def pyspark(workload: str, job: str, source: str) -> Contender:
    """Return Spark, which writes a folder."""
    home = folder(workload, "PySpark")
    command = script("pyspark", "lines_pyspark.py", job, source, str(home / "out"))
    return Contender("PySpark", Role.PEER, command, "pyspark", target=str(home / "out" / "*.json"))


def ours(workload: str, file: str, variable: str, source: str) -> Contender:
    """Return DataFlare on one of the workflows with JSON Lines in and out."""
    return dataflare(workload, file, {variable: source}, str(folder(workload, SUBJECT) / "out" / "*.jsonl"))


def workloads(rows: int | None) -> list[Workload]:
    """Return both, on two million events unless told otherwise."""
    rows = rows or ROWS
    events = str(data.events(rows))
    by_expressions = (
        ours("W3", "w3.yaml", "BENCH_EVENTS", events),
        contender("W3", "DuckDB", Role.BOUND, "bounds", "lines_duckdb.py", "w3", events),
        contender("W3", "bytewax", Role.PEER, "bytewax", "lines_bytewax.py", "w3", events),
        pyspark("W3", "w3", events),
    )
    by_function = (
        ours("W3p", "w3p.yaml", "BENCH_EVENTS", events),
        contender("W3p", "msgspec loop", Role.BOUND, "bytewax", "lines_loop.py", "w3", events),
        contender("W3p", "bytewax", Role.PEER, "bytewax", "lines_bytewax.py", "w3", events),
    )
    title = "JSON Lines, filter, project, mask"
    limits = Limits(wall=1.20, cpu=1.25, rss_bytes=200 << 20)
    return [
        Workload("W3", title, rows, by_expressions, facts, limits),
        Workload("W3p", f"{title}, by a Python function", rows, by_function, facts, Limits(cpu_seconds=rows / 450_000)),
    ]
