"""The SQLite connectors keep the contracts of sources and destinations."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from dataflare.connectors.sqlite.destination import SqliteDestination
from dataflare.connectors.sqlite.settings import SqliteDestinationConfig, SqliteSourceConfig
from dataflare.connectors.sqlite.source import SqliteSource
from dataflare.plan_words import Mechanism
from dataflare.testing.destination_suite import SUITE_SCHEMA, DestinationSuite
from dataflare.testing.source_suite import SourceSuite
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class _Destination(DestinationSuite):
    fences = True

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> Iterator[None]:
        self.path = tmp_path / "shop.db"
        self.made: list[SqliteDestination] = []
        yield
        for instance in self.made:
            instance.close()

    def new(self, **changes: Any) -> SqliteDestination:
        config = SqliteDestinationConfig(path=str(self.path), table="out", wait=0.2)
        self.made.append(staged(SqliteDestination(config), **{"schemas": {"0": SUITE_SCHEMA}, **changes}))
        return self.made[-1]

    def visible(self) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.path)) as connection:
            return [{"id": i, "name": n} for i, n in connection.execute("select id, name from out")]

    def left_over(self) -> int:
        with closing(sqlite3.connect(self.path)) as connection:
            sql = "select count(*) from sqlite_schema where name like '\\_dataflare\\_stage%' escape '\\'"
            return int(connection.execute(sql).fetchone()[0])


class TestSqliteDirect(_Destination):
    mechanism: ClassVar[Mechanism] = Mechanism.DIRECT


class TestSqliteStaged(_Destination):
    mechanism: ClassVar[Mechanism] = Mechanism.STAGED


class _Source(SourceSuite):
    settings: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> Iterator[None]:
        self.path = tmp_path / "shop.db"
        self.made: list[SqliteSource] = []
        with closing(sqlite3.connect(self.path)) as connection:
            connection.execute("create table t (id integer primary key, name text, amount decimal(8,2), at timestamp)")
            connection.execute("create table k (a text, b int, v double, primary key (a, b)) without rowid")
            for n in range(50):
                row = (n * 3 - 20, f"name {n}", n / 4, f"2026-01-01 00:00:{n:02}Z")
                connection.execute("insert into t values (?, ?, ?, ?)", row)
                connection.execute("insert into k values (?, ?, ?)", (f"k{n % 5}", n, n / 2))
            connection.commit()
        yield
        for instance in self.made:
            instance.close()

    def new(self, **changes: Any) -> SqliteSource:
        config = SqliteSourceConfig(path=str(self.path), **{"batch_rows": 7, **self.settings})
        self.made.append(staged(SqliteSource(config), **changes))
        return self.made[-1]


class TestTableByRowId(_Source):
    settings: ClassVar = {"table": "t", "split_rows": 40}


class TestTableByKey(_Source):
    settings: ClassVar = {"table": "k"}


class TestQueryByKey(_Source):
    settings: ClassVar = {"query": "select id, name, amount from t where id > 0;", "key": ["id"]}


class TestQueryByCount(_Source):
    settings: ClassVar = {"query": "select name, amount from t order by id"}


class TestWindow(_Source):
    settings: ClassVar = {"table": "t", "incremental": {"cursor_field": "at"}}

    def new(self, **changes: Any) -> SqliteSource:
        return super().new(**{"mode": "incremental", **changes})


del _Destination, _Source
