"""W11: growth. W1 on more rows, in more partitions, killed and started again; a thousand workflows in one process."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import cache, partial
from typing import TYPE_CHECKING

from benchmarks import check, data, places, w1
from benchmarks.growth import PARTITIONS, RESUME, SIZES, WORKFLOWS
from benchmarks.workload import SUBJECT, Contender, Role, Workload, dataflare, folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.workload import Facts

ROWS = {"W11a": (1_000_000, 5), "W11b": (10_000_000, 2), "W11c": (50_000_000, 1)}
"""Rows and pairs: each of the six minutes that the whole takes is on its long runs."""
COUNTS = {"W11d": 1, "W11e": 1000}
SPREADS = {"W11f": 1, "W11g": 2, "W11h": 4, "W11i": 8, "W11j": 16}
ROWS_EACH = 5
KEPT = """select count(*) as rows, sum(id) as ids, sum(qty) as qty, sum(price) as price from {files}"""
WROTE = "select count(*) as rows, sum(id) as ids from {files}"


@cache
def kept(orders: str) -> Facts:
    """Return what W1 has to keep of the orders, by another engine."""
    return check.of_files(f"{KEPT} where status <> 'cancelled' and qty >= 2", f"read_csv('{orders}', header = true)")


def written(contender: Contender) -> Facts:
    """Return the same of what was written."""
    return check.of_files(KEPT, f"read_parquet('{contender.target}')")


def orders(name: str, rows: int, title: str, kind: str, pairs: int, *options: str) -> Workload:
    """Return W1 on so many rows, DataFlare alone."""
    path = str(data.orders(rows))
    made = dataflare(name, "w1.yaml", {"BENCH_ORDERS": path}, str(folder(name, SUBJECT) / "out" / "*.parquet"))
    subject = replace(made, command=(*made.command, *options), facts=written, expected=partial(kept, path))
    return Workload(name, title, rows, (subject,), written, chart=kind, pairs_max=pairs)


def workflows(name: str, count: int) -> Workload:
    """Return so many workflows in one process."""
    home = folder(name, SUBJECT)
    program = str(places.PROGRAMS / "many_workflows.py")
    subject = Contender(
        *(SUBJECT, Role.SUBJECT, (sys.executable, program, str(places.WORKFLOWS / "w11.yaml"), str(count))),
        variables={"BENCH_OUTPUT": str(home / "out"), "BENCH_STATE": str(home / "state")},
        target=str(home / "out" / "*" / "*.jsonl"),
        expected=lambda: {"rows": count * ROWS_EACH, "ids": count * sum(range(1, ROWS_EACH + 1))},
    )
    return Workload(
        *(name, "workflows in one process", count, (subject,), _rows_of_all),
        told=_told,
        chart=WORKFLOWS,
        pairs_max=1,
    )


def resumed(name: str, rows: int) -> Workload:
    """Return W1 killed in the middle and started again."""
    made = orders(name, rows, "killed and started again", RESUME, 2)
    subject = made.subject
    program = (sys.executable, str(places.PROGRAMS / "killed_and_resumed.py"), subject.command[-1])
    variables = {**subject.variables, "BENCH_INTERVAL": "300ms"}
    return replace(made, contenders=(replace(subject, command=program, variables=variables),), told=_told)


def workloads(rows: int | None) -> list[Workload]:
    """Return all; given rows, the smallest size has so many, and everything else shrinks or grows alike."""
    scale = (rows or ROWS["W11a"][0]) / ROWS["W11a"][0]
    middle = int(w1.ROWS * scale)
    return [
        *(orders(name, int(n * scale), "W1", SIZES, pairs) for name, (n, pairs) in ROWS.items()),
        *(workflows(name, max(1, int(count * scale))) for name, count in COUNTS.items()),
        *(
            orders(name, middle, f"{n} partitions", PARTITIONS, 1, "--parallelism", str(n))
            for name, n in SPREADS.items()
        ),
        resumed("W11k", middle),
    ]


def _rows_of_all(contender: Contender) -> Facts:
    return check.of_files(WROTE, f"read_json('{contender.target}')")


def _told(log: Path) -> Mapping[str, float]:
    """Return the last line of the log, which is JSON."""
    found: Mapping[str, float] = json.loads(log.read_text().splitlines()[-1])
    return found
