"""The PostgreSQL server of W4: where it is, what is in it, and what it works beside its clients."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from benchmarks import data, measure
from benchmarks.places import ROOT

if TYPE_CHECKING:
    from benchmarks.workload import Facts

VARIABLE = "DATAFLARE_BENCH_POSTGRES"
DATABASE = "dataflare_bench"
COLUMNS = (
    "(id bigint{key}, customer_id bigint, product text, city text, status text, qty int, "
    "price double precision, ts timestamp)"
)
SETTINGS = ("server_version", "fsync", "synchronous_commit", "shared_buffers", "max_wal_size", "wal_level")
FACTS = """select count(*) as rows, sum(id) as ids, count(customer_id) as customers, sum(length(product)) as letters,
    count(city) as cities, sum(qty) as qty, sum(price::numeric) as price,
    sum(extract(epoch from ts)) as seconds from {table}"""


@cache
def url() -> str:
    """Return the address of the benchmark's database, made if it is not there; raise ValueError without a server."""
    admin = os.environ.get(VARIABLE) or _test_server()
    known = _psql(admin, f"select 1 from pg_database where datname = '{DATABASE}'")
    if not known:
        _psql(admin, f"create database {DATABASE}")
    parts = urlsplit(admin)
    return urlunsplit((parts.scheme, parts.netloc, f"/{DATABASE}", parts.query, ""))


@cache
def plain_url() -> str:
    """Return the address for clients that insist on TLS unless told not to, and fail where the server has none."""
    if execute("show ssl") == "on":
        return url()
    return url() + ("&" if "?" in url() else "?") + "sslmode=disable"


def _test_server() -> str:
    """Return the address of the private server that the tests use, which `make services` starts."""
    script = ROOT / "scripts" / "services.py"
    if script.exists():
        done = subprocess.run([sys.executable, script, "env"], capture_output=True, text=True, check=False)
        if found := re.search(r"postgres(?:ql)?://[^\s'\"]+", done.stdout):
            return found[0]
    raise ValueError(f"no PostgreSQL server: make services, or set {VARIABLE} to the address of one, as superuser")


def execute(*statements: str) -> str:
    """Run statements one after another, each on its own; return what the last one says, without headings."""
    return _psql(url(), *statements)


def _psql(address: str, *statements: str) -> str:
    arguments = [part for statement in statements for part in ("-c", statement)]
    command = ["psql", "-X", "-q", "-A", "-t", "-F", "\t", "-v", "ON_ERROR_STOP=1", address, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr.strip() or "psql says nothing")
    return done.stdout.strip()


def settings() -> dict[str, str]:
    """Return the settings of the server on which durable writes depend."""
    return {name: execute(f"show {name}") for name in SETTINGS}


@cache
def _postmaster() -> int | None:
    """Return the process of the server, or None if it is not on this machine."""
    pid = int(execute("select split_part(pg_read_file('postmaster.pid'), e'\\n', 1)"))
    try:
        return pid if b"postgres" in Path(f"/proc/{pid}/cmdline").read_bytes() else None
    except OSError:
        return None


def cpu_seconds() -> float | None:
    """Return the CPU that the server has used since it started, the connections that ended among it."""
    root = _postmaster()
    return None if root is None else measure.tree_cpu_seconds(root)


def prepare(rows: int) -> None:
    """Make the tables `orders` and `changes`, each with a primary key; once for a size."""
    made = execute("select coalesce(obj_description(to_regclass('orders'), 'pg_class'), '')")
    if made == f"{rows} rows, seed {data.SEED}":
        return
    tables = {"orders": data.orders(rows), "changes": data.changes(rows)}
    for table, path in tables.items():
        create = f"create table {table} {COLUMNS.format(key=' primary key')}"
        drop = f"set client_min_messages = warning; drop table if exists {table}"
        execute(drop, create, f"\\copy {table} from '{path}' (format csv, header)", f"vacuum (freeze, analyze) {table}")
    execute(f"comment on table orders is '{rows} rows, seed {data.SEED}'")


def emptied(table: str) -> None:
    """Make the schema of a contender's table anew, and level the server: no dirty pages from the run before."""
    schema = table.partition(".")[0]
    drop = [f"drop schema if exists {name} cascade" for name in (schema, f"{schema}_staging")]
    execute("set client_min_messages = warning", *drop, f"create schema {schema}", "checkpoint")


def made(table: str) -> None:
    """Make an empty table for the contenders that do not make it themselves."""
    emptied(table)
    execute(f"create table {table} {COLUMNS.format(key='')}")


def filled(table: str) -> None:
    """Make a table with the orders and a primary key, for a merge."""
    emptied(table)
    execute(f"create table {table} (like orders including all)", f"insert into {table} select * from orders")
    execute(f"vacuum (freeze, analyze) {table}", "checkpoint")


def facts(table: str) -> Facts:
    """Return counts and sums of a table; raise ValueError when it is not there."""
    names = re.findall(r"as (\w+)", FACTS)
    values = execute(FACTS.format(table=table)).split("\t")
    return {name: float(value or 0) for name, value in zip(names, values, strict=True)}
