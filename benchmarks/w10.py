"""W10: what it takes to start: the help, a workflow of ten rows, one with little to do, one that is long."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks import check, commands, data, places, venvs
from benchmarks.long_workflow import LINES, long_workflow
from benchmarks.workload import SUBJECT, Contender, Limits, Role, Workload, dataflare, folder, script

if TYPE_CHECKING:
    from benchmarks.workload import Facts

FACTS = "select count(*) as rows, sum(id) as ids from {files}"


def facts(contender: Contender) -> Facts:
    """Return counts and sums of the JSON Lines that a contender wrote."""
    return check.of_files(FACTS, f"read_json('{contender.target}', format = 'newline_delimited')")


def help_text() -> Workload:
    """W10a: the help is shown; for the peers, their version, which asks less of them."""
    sling = (commands.sling("", "", "")[0], "--version")
    contenders = (
        Contender(SUBJECT, Role.SUBJECT, (str(places.DATAFLARE), "--help")),
        Contender("Python alone", Role.BOUND, (str(venvs.python("bounds")), "-c", "pass"), "bounds"),
        Contender("dlt", Role.PEER, (str(venvs.folder("dlt") / "bin" / "dlt"), "--version"), "dlt", note="--version"),
        Contender("sling", Role.PEER, sling, "sling", note="--version"),
    )
    return Workload("W10a", "the help is shown", 1, contenders, lambda _: {}, Limits(cpu_seconds=0.15))


def ten_rows() -> Workload:
    """W10b: ten rows of CSV become JSON Lines."""
    orders = str(data.orders(10))
    engine, dlt, sling = (folder("W10b", name) for name in ("DuckDB", "dlt", "sling"))
    contenders = (
        dataflare("W10b", "w10.yaml", {"BENCH_ORDERS": orders}, str(folder("W10b", SUBJECT) / "out" / "*.jsonl")),
        Contender(
            *("DuckDB", Role.BOUND, script("bounds", "ten_duckdb.py", orders, f"{engine}/out.jsonl"), "bounds"),
            target=f"{engine}/out.jsonl",
        ),
        Contender(
            *("dlt", Role.PEER, script("dlt", "ten_dlt.py", orders, f"{dlt}/out", f"{dlt}/state"), "dlt"),
            target=f"{dlt}/out/out/orders/*",
        ),
        Contender(
            *("sling", Role.PEER, commands.sling(f"file://{orders}", "", f"file://{sling}/out.jsonl"), "sling"),
            variables=commands.sling_variables(sling),
            target=f"{sling}/out.jsonl",
        ),
    )
    limits = Limits(cpu_seconds=0.8, rss_bytes=120 << 20)
    return Workload("W10b", "ten rows, CSV to JSON Lines", 10, contenders, facts, limits)


def idle() -> Workload:
    """W10c: a row a second for five seconds: what a workflow costs that has next to nothing to do."""
    target = str(folder("W10c", SUBJECT) / "out" / "*.jsonl")
    subject = replace(dataflare("W10c", "w10c.yaml", {}, target), facts=facts, expected=lambda: {"rows": 5})
    sleeping = (str(venvs.python("bounds")), "-c", "import time; time.sleep(5)")
    contenders = (subject, Contender("Python alone", Role.BOUND, sleeping, "bounds", note="sleeps"))
    return Workload("W10c", "a row a second for five seconds", 5, contenders, lambda _: {}, Limits(rss_bytes=120 << 20))


def long() -> Workload:
    """W10d: a long workflow is validated: its words, its expressions, its types."""
    file = places.DATA / "long.yaml"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(long_workflow())
    contenders = (
        Contender(SUBJECT, Role.SUBJECT, (str(places.DATAFLARE), "validate", str(file))),
        Contender("Python alone", Role.BOUND, (str(venvs.python("bounds")), "-c", "pass"), "bounds"),
    )
    return Workload(
        "W10d", f"a workflow of {LINES:,} lines is validated", 1, contenders, lambda _: {}, Limits(cpu_seconds=0.5)
    )


def workloads(rows: int | None) -> list[Workload]:
    """Return the four; the number of rows is theirs."""
    del rows
    return [help_text(), ten_rows(), idle(), long()]
