"""W8: a million changes of a table in PostgreSQL are followed by its log, into Parquet and into another table.

Every run reads a copy of one slot that was made before the changes, so all see the same log. For those that write into
the same server, the changes are made anew each time: log that others left behind them would be read as well.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import check, postgres
from benchmarks.workload import LATENCIES, Contender, Limits, Role, Workload, dataflare, folder, script

if TYPE_CHECKING:
    from collections.abc import Mapping

    from benchmarks.workload import Facts

CHANGES = 1_000_000
INSERTED, UPDATED = 0.6, 0.3
"""Their shares; the rest are deletes."""
TRANSACTION = 1_000
"""Changes in a transaction."""
SCHEMA = "bench_w8"
TABLE, PUBLICATION, BASE = f"{SCHEMA}.orders", "bench_w8", "bench_w8_base"
COLUMNS = "(id bigint primary key, name text, amount numeric(12,2), ts timestamptz, qty int, note text)"
FACTS = """select count(*) as rows, sum(id) as ids, sum(case _op when 'insert' then qty end) as inserted,
    sum(case _op when 'update' then qty end) as updated, sum(case _op when 'delete' then id end) as deleted
    from {files}"""
OF_TABLE = "select count(*), sum(id), sum(qty), sum(amount), sum(length(name)) from {table}"
RATE, SECONDS = 1_000, 10
_FREE = f"""do $$ begin
    while exists (select from pg_replication_slots where slot_name like '{SCHEMA}%' and active) loop
        perform pg_terminate_backend(active_pid) from pg_replication_slots where slot_name like '{SCHEMA}%' and active;
        perform pg_sleep(0.05);
    end loop;
end $$"""
"""A server that has much log to go through does not see at once that nobody reads any more."""


def workloads(rows: int | None) -> list[Workload]:
    """Return the four, over a million changes unless told otherwise."""
    rows = rows or CHANGES
    prepare(rows)
    return [into_files(rows), into_table(rows), latency(), one_transaction(rows)]


def prepare(changes: int, *, anew: bool = False, together: bool = False) -> None:
    """Make the table, the publication, the slot and the changes, `together` in one transaction.

    They are made once for a number, unless `anew`.
    """
    word = f"{changes} changes{' together' if together else ''}"
    made = postgres.execute(f"select coalesce(obj_description(to_regclass('{TABLE}'), 'pg_class'), '')")
    slots = postgres.execute(f"select count(*) from pg_replication_slots where slot_name = '{BASE}'")
    if made == word and slots == "1" and not anew:
        return
    postgres.execute(
        "set client_min_messages = warning",
        _FREE,
        f"select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name like '{SCHEMA}%'",
        f"drop publication if exists {PUBLICATION}",
        f"drop schema if exists {SCHEMA} cascade",
        f"create schema {SCHEMA}",
        f"create table {TABLE} {COLUMNS}",
        f"create publication {PUBLICATION} for table {TABLE}",
        f"select pg_create_logical_replication_slot('{BASE}', 'pgoutput')",
    )
    postgres.execute(*_changes(changes, together=together), "checkpoint", f"comment on table {TABLE} is '{word}'")


def _changes(changes: int, *, together: bool) -> list[str]:
    """Return the statements that make the changes, a thousand rows each, all in one transaction or each in its own."""
    inserted, updated = round(changes * INSERTED), round(changes * UPDATED)
    insert = (
        f"insert into {TABLE} select i, 'customer ' || i, (i % 100000) / 100.0, now(), i % 1000, md5(i::text) "
        "from generate_series({low}, {high}) i"
    )
    update = f"update {TABLE} set qty = qty + 1, ts = now() where id between {{low}} and {{high}}"
    delete = f"delete from {TABLE} where id between {{low}} and {{high}}"
    parts = ((insert, 1, inserted), (update, 1, updated), (delete, updated + 1, changes - inserted))
    commit = "" if together else "commit;"
    loops = [
        f"for low in {first}..{last} by {TRANSACTION} loop {_between(text, last)}; {commit} end loop;"
        for text, first, last in parts
    ]
    return [f"do $$ begin {part} end $$" for part in ([" ".join(loops)] if together else loops)]


def _between(text: str, last: int) -> str:
    return text.format(low="low", high=f"least(low + {TRANSACTION - 1}, {last})")


def _slot(name: str) -> str:
    return f"{SCHEMA}_{folder('w8', name).name.replace('-', '_')}"


def _reset_table(contender: Contender, changes: int) -> None:
    """Make the changes anew: what others merged since they were made is log, too, and one reads to its end."""
    prepare(changes, anew=True)
    _reset(contender)


def _reset(contender: Contender) -> None:
    """Give a contender a copy of the slot, and an empty table where it fills one."""
    slot = _slot(contender.name)
    postgres.execute(
        f"select pg_drop_replication_slot('{slot}') from pg_replication_slots where slot_name = '{slot}'",
        f"select pg_copy_logical_replication_slot('{BASE}', '{slot}')",
    )
    if contender.target.startswith(SCHEMA):
        postgres.execute(
            "set client_min_messages = warning",
            f"drop table if exists {contender.target}",
            f"drop table if exists {SCHEMA}._dataflare_epochs",
            f"create table {contender.target} {COLUMNS}",
            "checkpoint",
        )


def _ours(workload: str, file: str, target: str) -> Contender:
    variables = {"BENCH_POSTGRES": postgres.url(), "BENCH_TABLE": target}
    made = dataflare(workload, file, variables, target)
    return replace(made, command=(*made.command, "--until", "now"))


def into_files(changes: int) -> Workload:
    """W8a: the changes become Parquet."""
    ours, recv, debezium = (folder("W8a", n) for n in ("DataFlare", "pg_recvlogical", "Debezium"))
    end = postgres.execute("select pg_current_wal_lsn()")
    read = ("pg_recvlogical", "-d", postgres.url(), "-S", _slot("pg_recvlogical"), "--start", "-n", "--endpos", end)
    options = ("-o", "proto_version=1", "-o", f"publication_names={PUBLICATION}", "-f", str(recv / "log"))
    engine = script(
        "debezium", "changes_debezium.py", postgres.url(), _slot("Debezium"), PUBLICATION, str(changes), str(debezium)
    )
    contenders = (
        _ours("W8a", "w8a.yaml", f"{ours}/out/*.parquet"),
        Contender("pg_recvlogical", Role.BOUND, (*read, *options), target=f"{recv}/log", facts=_messages),
        Contender("Debezium", Role.PEER, engine, "debezium", target=f"{debezium}/changes.jsonl", facts=_lines),
    )
    others = (replace(c, expected=lambda: {"rows": float(changes)}) for c in contenders[1:])
    contenders = (contenders[0], *others)
    limits = Limits(wall=1 / 0.9)
    title = "changes of PostgreSQL to Parquet"
    return Workload(
        "W8a", title, changes, contenders, _files, limits, reset=_reset, server=True, pairs_max=5, chart="wall"
    )


def into_table(changes: int) -> Workload:
    """W8b: the changes are merged into another table."""
    target = f"{SCHEMA}.{{}}_copy"
    loop = script(
        "changes", "changes_loop.py", postgres.url(), _slot("loop"), PUBLICATION, str(changes), target.format("loop")
    )
    contenders = (
        _ours("W8b", "w8b.yaml", target.format("dataflare")),
        Contender("loop", Role.BOUND, loop, "changes", target=target.format("loop"), note="stage, ON CONFLICT"),
    )
    limits = Limits(wall=1 / 0.8)
    title = "changes of PostgreSQL merged into a table"
    reset = partial(_reset_table, changes=changes)
    return Workload("W8b", title, changes, contenders, _table, limits, reset=reset, server=True, chart="wall")


def latency() -> Workload:
    """W8c: a thousand changes a second, each from its commit until it is visible in another table."""
    home = folder("W8c", "DataFlare")
    ours = _ours("W8c", "w8c.yaml", f"{SCHEMA}.live_copy")
    program = script(
        "changes", "changes_live.py", postgres.url(), str(RATE), str(RATE * SECONDS), str(home / "result.json")
    )
    command = (*program, *ours.command[:-2])
    contender = replace(ours, command=command, environment="changes", target=str(home / "result.json"))
    limits = Limits(p50_ms=30, p99_ms=150)
    title = f"{RATE:,} changes a second, from commit to visible"
    return Workload(
        "W8c", title, RATE * SECONDS, (contender,), _live, limits, reset=_reset_live, server=True, told=_latencies
    )


def one_transaction(changes: int) -> Workload:
    """W8d: the changes of one transaction become Parquet: it is as large as it likes, the memory is not."""

    def reset(contender: Contender) -> None:
        prepare(changes, together=True)
        _reset(contender)

    ours = folder("W8d", "DataFlare")
    contenders = (_ours("W8d", "w8a.yaml", f"{ours}/out/*.parquet"),)
    title = "one transaction of PostgreSQL to Parquet"
    return Workload(
        "W8d", title, changes, contenders, _files, Limits(rss_bytes=300_000_000), reset=reset, server=True, pairs_max=5
    )


def _reset_live(contender: Contender) -> None:
    del contender
    slot = f"{SCHEMA}_live"
    tables = (f"{SCHEMA}.live", f"{SCHEMA}.live_copy")
    postgres.execute(
        "set client_min_messages = warning",
        f"select pg_drop_replication_slot('{slot}') from pg_replication_slots where slot_name = '{slot}'",
        f"drop publication if exists {slot}",
        f"drop table if exists {SCHEMA}._dataflare_epochs",
        *(
            s
            for t in tables
            for s in (f"drop table if exists {t}", f"create table {t} (id bigint primary key, v text)")
        ),
        f"create publication {slot} for table {tables[0]}",
        f"select pg_create_logical_replication_slot('{slot}', 'pgoutput')",
    )


def _live(contender: Contender) -> Facts:
    return {k: v for k, v in json.loads(Path(contender.target).read_text()).items() if k not in LATENCIES}


def _latencies(log: Path) -> Mapping[str, float]:
    """Return the last line of the log, which is JSON."""
    found: Mapping[str, float] = json.loads(log.read_text().splitlines()[-1])
    return {k: v for k, v in found.items() if k in LATENCIES}


def _files(contender: Contender) -> Facts:
    return check.of_files(FACTS, f"read_parquet('{contender.target}')")


def _table(contender: Contender) -> Facts:
    values = postgres.execute(OF_TABLE.format(table=contender.target)).split("\t")
    names = ("rows", "ids", "quantities", "amounts", "letters")
    return {n: float(v or 0) for n, v in zip(names, values, strict=True)}


def _lines(contender: Contender) -> Facts:
    with Path(contender.target).open("rb") as file:
        return {"rows": float(sum(1 for _ in file))}


def _messages(contender: Contender) -> Facts:
    """Count the changes in what `pg_recvlogical` wrote: pgoutput, a line end behind each message."""
    data = Path(contender.target).read_bytes()
    at = rows = 0
    skip = {b"B": 21, b"C": 26}
    while at < len(data):
        kind = data[at : at + 1]
        if kind in skip:
            at += skip[kind]
        elif kind == b"R":
            at = _behind_relation(data, at)
        else:
            rows += 1
            at = _behind_change(data, at + 5)
        at += 1
    return {"rows": float(rows)}


def _behind_relation(data: bytes, at: int) -> int:
    at = data.index(0, data.index(0, at + 5) + 1) + 2
    count, at = int.from_bytes(data[at : at + 2]), at + 2
    for _ in range(count):
        at = data.index(0, at + 1) + 9
    return at


def _behind_change(data: bytes, at: int) -> int:
    while data[at : at + 1] in (b"N", b"K", b"O"):
        count, at = int.from_bytes(data[at + 1 : at + 3]), at + 3
        for _ in range(count):
            told = data[at : at + 1] in (b"t", b"b")
            at += 5 + int.from_bytes(data[at + 1 : at + 5]) if told else 1
    return at
