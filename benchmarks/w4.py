"""W4: three million orders from PostgreSQL to PostgreSQL, to Parquet, from CSV, and half a million changes merged."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from benchmarks import check, commands, data, postgres
from benchmarks.workload import SUBJECT, Contender, Limits, Role, Workload, dataflare, folder, script

if TYPE_CHECKING:
    from benchmarks.workload import Facts

ROWS = 3_000_000
FACTS = """select count(*) as rows, sum(id) as ids, count(customer_id) as customers, sum(length(product)) as letters,
    count(city) as cities, sum(qty) as qty, sum(price) as price, sum(epoch_us(ts)) / 1e6 as seconds from {files}"""


def files(contender: Contender) -> Facts:
    """Return counts and sums of the Parquet files that a contender wrote."""
    return check.of_files(FACTS, f"read_parquet('{contender.target}')")


def table(contender: Contender) -> Facts:
    """Return counts and sums of the table that a contender wrote."""
    return postgres.facts(contender.target)


def schema(name: str) -> str:
    """Return the schema of a contender, its own, so that nobody's tables are in the way of another's."""
    return "bench_" + folder("w4", name).name.replace("-", "_")


class Maker:
    """Makes the contenders of one of the four: each with a folder, a schema and the address of the server."""

    def __init__(self, workload: str, work: str) -> None:
        self.workload, self.work, self.url = workload, work, postgres.url()

    def dataflare(self, file: str, **variables: str) -> Contender:
        """Return DataFlare; its workflow gets the server, its schema and what is given."""
        given = {"BENCH_POSTGRES": self.url, "BENCH_TABLE": f"{schema(SUBJECT)}.orders", **variables}
        return dataflare(self.workload, file, given, self._target(SUBJECT))

    def program(self, name: str, role: Role, command: tuple[str, ...], environment: str | None = None) -> Contender:
        """Return someone with a command of its own."""
        return Contender(name, role, command, environment, target=self._target(name))

    def dlt(self, source: str) -> Contender:
        """Return dlt, by its Arrow path."""
        home = folder(self.workload, "dlt")
        target = str(home / "out") if self.work == "parquet" else schema("dlt")
        command = script("dlt", "tables_dlt.py", self.work, self.url, source, str(home / "state"), target)
        written = str(home / "out" / "out" / "orders" / "*.parquet")
        shown = written if self.work == "parquet" else f"{target}.orders"
        return Contender("dlt", Role.PEER, command, "dlt", target=shown, note="connectorx, Arrow path")

    def sling(self, source: str, stream: str, *options: str) -> Contender:
        """Return sling into a table."""
        target = f"{schema('sling')}.orders"
        command = commands.sling(source, stream, postgres.plain_url(), target, *options)
        variables = commands.sling_variables(folder(self.workload, "sling"))
        return Contender("sling", Role.PEER, command, "sling", variables, target)

    def ingestr(self, source: str, stream: str, *options: str) -> Contender:
        """Return ingestr into a table."""
        target = f"{schema('ingestr')}.orders"
        command = commands.ingestr(source, stream, self.url, target, *options)
        return Contender("ingestr", Role.PEER, command, "ingestr", target=target)

    def _target(self, name: str) -> str:
        if self.work != "parquet":
            return f"{schema(name)}.orders"
        return str(folder(self.workload, name) / "out" / "*.parquet")


def copy(rows: int) -> Workload:
    """W4a: a table becomes another one, unchanged."""
    make = Maker("W4a", "copy")
    pipe = "copy orders to stdout (format binary)", f"copy {schema('psql pipe')}.orders from stdin (format binary)"
    contenders = (
        make.dataflare("w4a.yaml"),
        make.program("psql pipe", Role.BOUND, commands.psql_pipe(make.url, *pipe)),
        make.ingestr(make.url, "public.orders"),
        make.dlt("orders"),
        make.sling(postgres.plain_url(), "public.orders", "--mode", "full-refresh"),
    )
    limits = Limits(wall=1.15, cpu_seconds=1.0)
    title = "PostgreSQL to PostgreSQL, unchanged"
    return Workload("W4a", title, rows, contenders, table, limits, reset=_reset, server=True, chart="wall")


def parquet(rows: int) -> Workload:
    """W4b: a table becomes Parquet."""
    make = Maker("W4b", "parquet")
    engine, peer = (folder("W4b", name) for name in ("DuckDB", "connectorx"))
    duckdb = script(
        "duckdb-postgres", "tables_duckdb.py", "parquet", make.url, "public.orders", f"{engine}/out.parquet"
    )
    connectorx = script("connectorx", "tables_connectorx.py", make.url, f"{peer}/out.parquet")
    contenders = (
        make.dataflare("w4b.yaml"),
        Contender("DuckDB", Role.BOUND, duckdb, "duckdb-postgres", target=f"{engine}/out.parquet"),
        Contender("connectorx", Role.PEER, connectorx, "connectorx", target=f"{peer}/out.parquet"),
        make.dlt("orders"),
    )
    limits = Limits(wall=1.30)
    return Workload("W4b", "PostgreSQL to Parquet", rows, contenders, files, limits, server=True, chart="wall")


def load(rows: int) -> Workload:
    """W4c: a CSV file becomes a table."""
    make = Maker("W4c", "load")
    orders = str(data.orders(rows))
    duckdb = script("duckdb-postgres", "tables_duckdb.py", "load", make.url, orders, f"{schema('DuckDB')}.orders")
    psql = f"\\copy {schema('psql copy')}.orders from '{orders}' (format csv, header)"
    empty = ("--src-options", "{empty_as_null: true}")
    typed = "id:bigint,customer_id:bigint,qty:int,price:double,ts:timestamp_ntz"
    contenders = (
        make.dataflare("w4c.yaml", BENCH_ORDERS=orders),
        make.program("DuckDB", Role.BOUND, duckdb, "duckdb-postgres"),
        make.program("psql copy", Role.BOUND, commands.psql(make.url, psql)),
        make.sling(f"file://{orders}", "", "--mode", "full-refresh", *empty),
        make.dlt(orders),
        make.ingestr(f"csv://{orders}", "orders", "--columns", typed),
    )
    limits = Limits(wall=1.30)
    title = "CSV to PostgreSQL"
    return Workload("W4c", title, rows, contenders, table, limits, reset=_reset, server=True, chart="wall")


def merge(rows: int) -> Workload:
    """W4d: a sixth as many changed rows is merged into a table by its key."""
    make = Maker("W4d", "merge")
    names = ("customer_id", "product", "city", "status", "qty", "price", "ts")
    target = f"{schema('server alone')}.orders"
    statement = f"insert into {target} select * from changes on conflict (id) do update set " + ", ".join(
        f"{name} = excluded.{name}" for name in names
    )
    keyed = ("--primary-key", "id")
    contenders = (
        make.dataflare("w4d.yaml"),
        make.program("server alone", Role.BOUND, commands.psql(make.url, statement)),
        make.ingestr(make.url, "public.changes", "--incremental-strategy", "merge", *keyed),
        make.sling(postgres.plain_url(), "public.changes", "--mode", "incremental", *keyed),
        make.dlt("changes"),
    )
    limits = Limits(wall=1.25)
    title = "changed rows merged in PostgreSQL"
    reset = partial(_reset, fill=True)
    return Workload("W4d", title, rows // 6, contenders, table, limits, reset=reset, server=True, chart="wall")


def workloads(rows: int | None) -> list[Workload]:
    """Return the four, on three million rows unless told otherwise."""
    rows = rows or ROWS
    postgres.prepare(rows)
    return [copy(rows), parquet(rows), load(rows), merge(rows)]


def _reset(contender: Contender, *, fill: bool = False) -> None:
    """Give a contender an empty schema, an empty table where it makes none itself, or a full one."""
    if fill:
        postgres.filled(contender.target)
    elif contender.role is Role.BOUND:
        postgres.made(contender.target)
    else:
        postgres.emptied(contender.target)
