"""The DuckDB connectors keep the contracts of sources and destinations, in every write mode."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import duckdb
import pytest
from tests.duckdb_files import looked

from dataflare.connectors.duckdb.destination import DuckdbDestination
from dataflare.connectors.duckdb.settings import DuckdbDestinationConfig, DuckdbSourceConfig
from dataflare.connectors.duckdb.source import DuckdbSource
from dataflare.plan_words import Mechanism
from dataflare.sql.quoting import quoted
from dataflare.testing.destination_suite import SUITE_SCHEMA, DestinationSuite
from dataflare.testing.source_suite import SourceSuite
from dataflare.testing.stage import staged
from dataflare.testing.write_mode_suite import WriteModeSuite

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class _Destination(DestinationSuite):
    fences = True

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> Iterator[None]:
        self.path = tmp_path / "lake.duckdb"
        self.made: list[DuckdbDestination] = []
        yield
        for instance in self.made:
            instance.close()

    def new(self, **changes: Any) -> DuckdbDestination:
        config = DuckdbDestinationConfig(path=str(self.path), table="out")
        self.made.append(staged(DuckdbDestination(config), **{"schemas": {"0": SUITE_SCHEMA}, **changes}))
        return self.made[-1]

    def visible(self) -> list[dict[str, Any]]:
        return [{"id": i, "name": n} for i, n in looked(self.path, "select id, name from out")]

    def left_over(self) -> int:
        sql = "select count(*) from duckdb_tables() where starts_with(table_name, '_dataflare_stage')"
        return int(looked(self.path, sql)[0][0])


class TestDuckdbDirect(_Destination):
    mechanism: ClassVar[Mechanism] = Mechanism.DIRECT


class TestDuckdbStaged(_Destination):
    mechanism: ClassVar[Mechanism] = Mechanism.STAGED


class _Modes(WriteModeSuite):
    seeds: ClassVar[Sequence[int]] = (0,)

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> Iterator[None]:
        self.path = tmp_path / "lake.duckdb"
        self.made: list[DuckdbDestination] = []
        yield
        for instance in self.made:
            instance.close()

    def new(self, settings: dict[str, Any], **changes: Any) -> DuckdbDestination:
        config = DuckdbDestinationConfig(path=str(self.path), table="out", **settings)
        self.made.append(staged(DuckdbDestination(config), **changes))
        return self.made[-1]

    def table(self, columns: Sequence[str]) -> list[dict[str, Any]]:
        found = looked(self.path, f"select {', '.join(map(quoted, columns))} from out")
        return [dict(zip(columns, row, strict=True)) for row in found]

    def emptied(self) -> None:
        for instance in self.made:
            instance.close()
        for path in self.path.parent.glob("lake.duckdb*"):
            path.unlink()


class TestModesDirect(_Modes):
    mechanism: ClassVar[Mechanism] = Mechanism.DIRECT


class TestModesStaged(_Modes):
    mechanism: ClassVar[Mechanism] = Mechanism.STAGED


class _Source(SourceSuite):
    settings: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> Iterator[None]:
        self.path = tmp_path / "lake.duckdb"
        self.made: list[DuckdbSource] = []
        with duckdb.connect(self.path) as connection:
            connection.execute("create table t (id integer, name text, amount decimal(8,2), moment timestamptz)")
            connection.execute("create table k (a text, b int, v double, primary key (a, b))")
            at = "timestamptz '2026-01-01 00:00:00Z' + to_seconds(n)"
            connection.execute(f"insert into t select n * 3 - 20, 'name ' || n, n / 4, {at} from range(50) r(n)")
            connection.execute("insert into k select 'k' || n % 5, n, n / 2 from range(50) r(n)")
            connection.execute("create schema s")
            connection.execute("create view s.v as select * from t where id > 0 order by id")
        yield
        for instance in self.made:
            instance.close()

    def new(self, **changes: Any) -> DuckdbSource:
        config = DuckdbSourceConfig(path=str(self.path), **{"batch_rows": 7, **self.settings})
        self.made.append(staged(DuckdbSource(config), **changes))
        return self.made[-1]


class TestTableByRowId(_Source):
    settings: ClassVar = {"table": "t", "split_rows": 20}


class TestTableByKey(_Source):
    settings: ClassVar = {"table": "k", "key": ["a", "b"]}


class TestQueryByKey(_Source):
    settings: ClassVar = {"query": "select id, name, amount from t where id > 0;", "key": ["id"]}


class TestViewByCount(_Source):
    settings: ClassVar = {"table": "s.v"}


class TestWindow(_Source):
    settings: ClassVar = {"table": "t", "key": ["id"], "incremental": {"cursor_field": "moment"}}

    def new(self, **changes: Any) -> DuckdbSource:
        return super().new(**{"mode": "incremental", **changes})


del _Destination, _Modes, _Source
