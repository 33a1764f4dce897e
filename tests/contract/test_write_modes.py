"""The databases do in every write mode what the models do."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from tests.postgres import place

from dataflare.connectors.postgres.destination import PostgresDestination
from dataflare.connectors.postgres.settings import PostgresDestinationConfig
from dataflare.connectors.sqlite.destination import SqliteDestination
from dataflare.connectors.sqlite.settings import SqliteDestinationConfig
from dataflare.plan_words import Mechanism
from dataflare.testing.stage import staged
from dataflare.testing.write_mode_suite import WriteModeSuite

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class _Sqlite(WriteModeSuite):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> Iterator[None]:
        self.path = tmp_path / "shop.db"
        self.made: list[SqliteDestination] = []
        yield
        for instance in self.made:
            instance.close()

    def new(self, settings: dict[str, Any], **changes: Any) -> SqliteDestination:
        config = SqliteDestinationConfig(path=str(self.path), table="out", wait=0.2, **settings)
        self.made.append(staged(SqliteDestination(config), **changes))
        return self.made[-1]

    def table(self, columns: Sequence[str]) -> list[dict[str, Any]]:
        with closing(sqlite3.connect(self.path)) as connection:
            found = connection.execute(f"select {', '.join(columns)} from out")
            return [dict(zip(columns, row, strict=True)) for row in found]

    def emptied(self) -> None:
        for instance in self.made:
            instance.close()
        for path in self.path.parent.glob("shop.db*"):
            path.unlink()


class TestSqliteDirect(_Sqlite):
    mechanism: ClassVar[Mechanism] = Mechanism.DIRECT


class TestSqliteStaged(_Sqlite):
    mechanism: ClassVar[Mechanism] = Mechanism.STAGED


class _Postgres(WriteModeSuite):
    pytestmark = pytest.mark.postgres
    seeds: ClassVar[Sequence[int]] = range(2)

    @pytest.fixture(autouse=True)
    def _place(self) -> Iterator[None]:
        with place() as self.place:
            self.made: list[PostgresDestination] = []
            yield
            for instance in self.made:
                instance.close()

    def new(self, settings: dict[str, Any], **changes: Any) -> PostgresDestination:
        told = {"url": self.place.url, "table": self.place.table("out"), "lock_timeout": "2s", **settings}
        self.made.append(staged(PostgresDestination(PostgresDestinationConfig(**told)), **changes))
        return self.made[-1]

    def table(self, columns: Sequence[str]) -> list[dict[str, Any]]:
        found = self.place.run(f"select {', '.join(columns)} from {{}}.out")
        return [dict(zip(columns, row, strict=True)) for row in found]

    def emptied(self) -> None:
        for instance in self.made:
            instance.close()
        sql = "select tablename::text from pg_tables where schemaname = $1::text"
        for (name,) in self.place.run(sql, (self.place.schema,)):
            self.place.run(f'drop table {{}}."{name}"')


class TestPostgresDirect(_Postgres):
    mechanism: ClassVar[Mechanism] = Mechanism.DIRECT


class TestPostgresStaged(_Postgres):
    mechanism: ClassVar[Mechanism] = Mechanism.STAGED


del _Sqlite, _Postgres
