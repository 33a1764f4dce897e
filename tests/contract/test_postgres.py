"""The PostgreSQL connectors keep the contracts of sources and destinations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import pytest
from tests.postgres import place

from dataflare.connectors.postgres.destination import PostgresDestination
from dataflare.connectors.postgres.settings import PostgresDestinationConfig, PostgresSourceConfig
from dataflare.connectors.postgres.source import PostgresSource
from dataflare.plan_words import Mechanism
from dataflare.testing.destination_suite import SUITE_SCHEMA, DestinationSuite
from dataflare.testing.source_suite import SourceSuite
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.postgres


class _Destination(DestinationSuite):
    fences = True

    @pytest.fixture(autouse=True)
    def _place(self) -> Iterator[None]:
        with place() as self.place:
            self.made: list[PostgresDestination] = []
            yield
            for instance in self.made:
                instance.close()

    def new(self, **changes: Any) -> PostgresDestination:
        config = PostgresDestinationConfig(url=self.place.url, table=self.place.table("out"), lock_timeout="2s")
        self.made.append(staged(PostgresDestination(config), **{"schemas": {"0": SUITE_SCHEMA}, **changes}))
        return self.made[-1]

    def visible(self) -> list[dict[str, Any]]:
        return [{"id": i, "name": n} for i, n in self.place.run("select id, name from {}.out")]

    def left_over(self) -> int:
        sql = "select 1 from pg_tables where schemaname = $1::text and starts_with(tablename::text, '_dataflare_stage')"
        return len(self.place.run(sql, (self.place.schema,)))


class TestPostgresDirect(_Destination):
    mechanism: ClassVar[Mechanism] = Mechanism.DIRECT

    def _parallel(self) -> bool:
        return False  # a decider has one instance


class TestPostgresStaged(_Destination):
    mechanism: ClassVar[Mechanism] = Mechanism.STAGED


class _Source(SourceSuite):
    settings: ClassVar[dict[str, Any]] = {}

    @pytest.fixture(autouse=True)
    def _place(self) -> Iterator[None]:
        with place() as self.place:
            run = self.place.run
            run("create table {}.t (id int primary key, name text, amount numeric(8,2), at timestamptz)")
            run(
                "insert into {}.t select n * 3 - 20, 'name ' || n, n / 4.0, "
                "'2026-01-01Z'::timestamptz + n * interval '1 s' from generate_series(0, 49) n"
            )
            run('create table {}.k (a text collate "C", b int, v float8, primary key (a, b))')
            run("insert into {}.k select 'k' || n % 5, n, n / 2.0 from generate_series(0, 49) n")
            run("create table {}.free (n int, long char(900))")
            run("insert into {}.free select n, n from generate_series(1, 9 * 600) n")
            run("analyze {}.t")
            self.made: list[PostgresSource] = []
            yield
            for instance in self.made:
                instance.close()

    def new(self, **changes: Any) -> PostgresSource:
        told = {k: v.replace("{}", self.place.schema) if isinstance(v, str) else v for k, v in self.settings.items()}
        config = PostgresSourceConfig(url=self.place.url, **{"fetch_rows": 7, **told})
        self.made.append(staged(PostgresSource(config), **changes))
        return self.made[-1]


class TestTableByWholeKey(_Source):
    settings: ClassVar = {"table": "{}.t", "split_rows": 20}


class TestTableByKey(_Source):
    settings: ClassVar = {"table": "{}.k"}


class TestTableByBlocks(_Source):
    settings: ClassVar = {"query": "", "table": "{}.free"}


class TestQueryByKey(_Source):
    settings: ClassVar = {"query": "select id, name, amount from {}.t where id > 0;", "key": ["id"]}


class TestQueryByCount(_Source):
    settings: ClassVar = {"query": "select name, amount from {}.t order by id"}


class TestWindow(_Source):
    settings: ClassVar = {"table": "{}.t", "incremental": {"cursor_field": "at"}}

    def new(self, **changes: Any) -> PostgresSource:
        return super().new(**{"mode": "incremental", **changes})


del _Destination, _Source
