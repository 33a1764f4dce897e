"""Databases with a table of orders that changes between runs, the same in each kind that is read by what is new."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests import mariadb, postgres

if TYPE_CHECKING:
    from pathlib import Path

COLUMNS = "tenant varchar(20) not null, id int not null, amount int, moved int, primary key (tenant, id)"
Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Shop:
    """A database: `run` executes a statement over `orders`, `rows` returns what is in it; `settings` of its source."""

    type: str
    settings: dict[str, Any]
    run: Callable[[str], None]
    rows: Callable[[], Rows]

    def put(self, rows: Rows) -> None:
        """Add rows."""
        listed = ", ".join(f"('{tenant}', {number}, {amount}, {at})" for tenant, number, amount, at in rows)
        self.run(f"insert into orders values {listed}")


@contextmanager
def sqlite(folder: Path) -> Iterator[Shop]:
    path = folder / "shop.db"

    def run(sql: str) -> None:
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute(sql)

    def rows() -> Rows:
        with closing(sqlite3.connect(path)) as connection:
            return sorted(connection.execute("select * from orders").fetchall())

    run(f"create table orders ({COLUMNS})")
    yield Shop("sqlite", {"path": str(path), "table": "orders", "batch_rows": 100}, run, rows)


@contextmanager
def duckdb(folder: Path) -> Iterator[Shop]:
    import duckdb as driver

    path = folder / "shop.duckdb"

    def run(sql: str) -> None:
        with driver.connect(str(path)) as connection:
            connection.execute(sql)

    def rows() -> Rows:
        with driver.connect(str(path)) as connection:
            return sorted(connection.execute("select * from orders").fetchall())

    run(f"create table orders ({COLUMNS})")
    yield Shop("duckdb", {"path": str(path), "table": "orders", "batch_rows": 100}, run, rows)


@contextmanager
def of_postgres(_: Path) -> Iterator[Shop]:
    with postgres.place() as spot:
        settings = {"url": os.environ[postgres.VARIABLE], "table": spot.table("orders"), "fetch_rows": 100}

        def run(sql: str) -> None:
            spot.run(sql.replace("orders", "{}.orders"))

        run(f"create table orders ({COLUMNS})")
        yield Shop("postgres", settings, run, lambda: sorted(spot.run("select * from {}.orders")))


@contextmanager
def of_mariadb(_: Path) -> Iterator[Shop]:
    with mariadb.database() as spot:
        settings = {"url": spot.url, "table": "orders", "fetch_rows": 100}

        def run(sql: str) -> None:
            spot.run(sql)

        # Bytes tell keys apart at the other end, so they must here.
        run(f"create table orders ({COLUMNS}) collate utf8mb4_bin")
        yield Shop("mariadb", settings, run, lambda: sorted(spot.run("select * from orders")))


SHOPS: dict[str, Callable[[Path], AbstractContextManager[Shop]]] = {
    "sqlite": sqlite,
    "duckdb": duckdb,
    "postgres": of_postgres,
    "mariadb": of_mariadb,
}

__all__ = ["SHOPS", "Shop"]
