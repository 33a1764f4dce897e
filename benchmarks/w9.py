"""W9: records of 88 bytes through plugins, W1 with a plugin that changes nothing, and what calls cost."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from benchmarks import check, data, places, w1, w3
from benchmarks.workload import SUBJECT, Contender, Limits, Role, Workload, dataflare, folder

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from benchmarks.workload import Facts

ROWS = 1_000_000
PLUGINS = places.HERE / "plugins"
SDK = places.ROOT / "src" / "dataflare" / "plugin" / "sdk"
FACTS = """select count(*) as rows, sum(nr) as numbers, sum(amount) as amounts, sum(length(name)) as names,
    sum(length(city)) as cities, sum(epoch(ts::timestamptz)) as times, sum(total) as totals from {files}"""
C = ("clang-19", "--target=wasm32-wasi", "-O3", "-msimd128", "-mexec-model=reactor", "-Wl,--strip-all", "-I", str(SDK))
RUST = (
    *("--edition", "2021", "--crate-type", "cdylib", "--target", "wasm32-unknown-unknown", "-C", "opt-level=3"),
    *("-C", "panic=abort", "-C", "target-feature=+simd128,+bulk-memory", "-C", "strip=symbols"),
    *("-C", "linker=wasm-ld-19"),
)


@lru_cache
def built(name: str) -> Path:
    """Compile a plugin; where its tools are not there, what is returned does not exist."""
    home = places.OUT / "plugins"
    home.mkdir(parents=True, exist_ok=True)
    source, made = PLUGINS / name, home / f"{name}.wasm"
    if source.suffix == ".rs":
        shutil.copy(SDK / "dataflare.rs", home)
        shutil.copy(source, home)
        command = ["/usr/bin/rustc", *RUST, str(home / name), "-o", str(made)]
    else:
        command = [*C, str(source), "-o", str(made)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        made.unlink(missing_ok=True)
    return made


def facts(contender: Contender) -> Facts:
    """Return counts and sums of the JSON Lines that a contender wrote."""
    return check.of_files(FACTS, f"read_json('{contender.target}', format = 'newline_delimited')")


def records(name: str, title: str, plugin: Path, rows: int, limits: Limits) -> Workload:
    """Return the records through a plugin, beside the same function in Python."""
    given = str(data.records(rows))
    target = str(folder(name, SUBJECT) / "out" / "*.jsonl")
    contenders = (
        dataflare(name, "w9.yaml", {"BENCH_RECORDS": given, "BENCH_PLUGIN": str(plugin)}, target),
        w3.contender(name, "orjson loop", Role.BOUND, "bytewax", "lines_loop.py", "w9", given),
        w3.contender(name, "bytewax", Role.PEER, "bytewax", "lines_bytewax.py", "w9", given),
        w3.contender(name, "pathway", Role.PEER, "pathway", "records_pathway.py", given),
    )
    return Workload(name, title, rows, contenders, facts, limits)


def identity(rows: int) -> Workload:
    """W9d: W1 with a plugin that gives every row back, beside W1."""
    orders = str(data.orders(rows))
    given = {"BENCH_ORDERS": orders, "BENCH_PLUGIN": str(built("identity.c"))}
    subject = dataflare("W9d", "w9d.yaml", given, str(folder("W9d", SUBJECT) / "out" / "*.parquet"))
    home = folder("W9d", "W1 without it")
    plain = dataflare("W9d", "w1.yaml", {"BENCH_ORDERS": orders}, str(home / "out" / "*.parquet"))
    variables = {**plain.variables, "BENCH_OUTPUT": str(home / "out"), "BENCH_STATE": str(home / "state")}
    bound = replace(plain, name="W1 without it", role=Role.BOUND, variables=variables)
    title = "W1 with a plugin in C that gives every row back"
    return Workload("W9d", title, rows, (subject, bound), w1.facts, Limits(cpu=1.15))


def calls() -> Workload:
    """W9e: what calls cost."""
    home = places.OUT / "plugins"
    for name in ("copy.c", "lines.c", "lines.rs", "column.c", "identity.c"):
        built(name)
    command = (sys.executable, str(places.PROGRAMS / "plugin_calls.py"), str(home))
    subject = Contender(SUBJECT, Role.SUBJECT, command)
    return Workload("W9e", "what calls of plugins cost", 1, (subject,), lambda _: {}, told=_told, pairs_max=1)


def _told(log: Path) -> Mapping[str, float]:
    found: Mapping[str, float] = json.loads(log.read_text().splitlines()[-1])
    return found


def workloads(rows: int | None) -> list[Workload]:
    """Return all of them, on a million records unless told otherwise."""
    count = rows or ROWS
    return [
        records("W9a", "whole records, JavaScript", PLUGINS / "whole.js", count, Limits(cpu_seconds=count / 100_000)),
        records("W9b", "one column of records, JavaScript", PLUGINS / "column.js", count, Limits()),
        records("W9c", "one column of records, C", built("column.c"), count, Limits()),
        identity(rows or 5_000_000),
        calls(),
    ]
