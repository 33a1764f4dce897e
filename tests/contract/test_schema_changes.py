"""Tables of all databases follow the columns that reach them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from tests.duckdb_files import looked
from tests.mariadb import database
from tests.postgres import place

from dataflare.connectors.duckdb.destination import DuckdbDestination
from dataflare.connectors.duckdb.settings import DuckdbDestinationConfig
from dataflare.connectors.mariadb.destination import MariaDestination
from dataflare.connectors.mariadb.settings import MariaDestinationConfig
from dataflare.connectors.postgres.destination import PostgresDestination
from dataflare.connectors.postgres.settings import PostgresDestinationConfig
from dataflare.connectors.sqlite.destination import SqliteDestination
from dataflare.connectors.sqlite.settings import SqliteDestinationConfig
from dataflare.plan_words import Mechanism
from dataflare.testing.schema_change_suite import SchemaChangeSuite
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class _Suite(SchemaChangeSuite):
    made: list[Any]

    def kept(self, destination: Any, changes: dict[str, Any]) -> Any:
        """Close it at the end, whatever happens."""
        self.made.append(staged(destination, **changes))
        return self.made[-1]

    def all_closed(self) -> None:
        for instance in self.made:
            instance.close()
        self.made.clear()


class _File(_Suite):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> Iterator[None]:
        self.path, self.made = tmp_path / "shop.db", []
        yield
        self.all_closed()

    def _emptied(self) -> None:
        self.all_closed()
        for path in self.path.parent.glob("shop.db*"):
            path.unlink()


class _Sqlite(_File):
    retypes = False

    def new(self, settings: dict[str, Any], **changes: Any) -> SqliteDestination:
        config = SqliteDestinationConfig(**{"path": str(self.path), "table": "out", "wait": 0.2, **settings})
        return self.kept(SqliteDestination(config), changes)

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(sql.replace("{}", "")).fetchall()

    def _columns(self) -> set[str]:
        return {name for (name,) in self.ask("select name from pragma_table_info('out')")}

    def _tables(self) -> set[str]:
        return {name for (name,) in self.ask("select name from sqlite_schema where type = 'table'")}


class TestSqliteDirect(_Sqlite):
    mechanism: ClassVar[Mechanism] = Mechanism.DIRECT


class TestSqliteStaged(_Sqlite):
    pass


class _Duckdb(_File):
    def new(self, settings: dict[str, Any], **changes: Any) -> DuckdbDestination:
        config = DuckdbDestinationConfig(**{"path": str(self.path), "table": "out", **settings})
        return self.kept(DuckdbDestination(config), changes)

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        return looked(self.path, sql.replace("{}", ""))

    def _columns(self) -> set[str]:
        return {name for (name,) in self.ask("select column_name from duckdb_columns() where table_name = 'out'")}

    def _tables(self) -> set[str]:
        return {name for (name,) in self.ask("select table_name from duckdb_tables()")}


class TestDuckdbDirect(_Duckdb):
    mechanism: ClassVar[Mechanism] = Mechanism.DIRECT


class TestDuckdbStaged(_Duckdb):
    pass


class TestPostgres(_Suite):
    pytestmark = pytest.mark.postgres

    @pytest.fixture(autouse=True)
    def _place(self) -> Iterator[None]:
        with place() as self.place:
            self.made = []
            yield
            self.all_closed()

    def new(self, settings: dict[str, Any], **changes: Any) -> PostgresDestination:
        table = self.place.table(settings.get("table", "out"))
        told = {"lock_timeout": "2s", **settings, "url": self.place.url, "table": table}
        return self.kept(PostgresDestination(PostgresDestinationConfig(**told)), changes)

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self.place.run(sql.replace("{}", "{}."))

    def _emptied(self) -> None:
        self.all_closed()
        for name in self._tables():
            self.place.run(f'drop table {{}}."{name}"')

    def _columns(self) -> set[str]:
        sql = "select column_name::text from information_schema.columns where table_schema = $1 and table_name = 'out'"
        return {name for (name,) in self.place.run(sql, (self.place.schema,))}

    def _tables(self) -> set[str]:
        sql = "select tablename::text from pg_tables where schemaname = $1::text"
        return {name for (name,) in self.place.run(sql, (self.place.schema,))}


class TestMaria(_Suite):
    pytestmark = pytest.mark.mariadb

    @pytest.fixture(autouse=True)
    def _place(self) -> Iterator[None]:
        with database() as self.database:
            self.made = []
            yield
            self.all_closed()

    def new(self, settings: dict[str, Any], **changes: Any) -> MariaDestination:
        told = {"url": self.database.url, "table": "out", "lock_timeout": "2s", **settings}
        return self.kept(MariaDestination(MariaDestinationConfig(**told)), changes)

    def ask(self, sql: str) -> list[tuple[Any, ...]]:
        return self.database.run(sql.replace("{}out", "`out`").replace("{}", ""))

    def _emptied(self) -> None:
        self.all_closed()
        for name in self.database.tables():
            self.database.run(f"drop table `{name}`")

    def _columns(self) -> set[str]:
        return {name for name, *_ in self.database.run("show columns from `out`")}

    def _tables(self) -> set[str]:
        return set(self.database.tables())


del _Suite, _File, _Sqlite, _Duckdb
