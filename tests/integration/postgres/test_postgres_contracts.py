"""Tables of PostgreSQL are held to the contract of their source: columns that come and go, values of another type."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.postgres import Place, place

from dataflare.connectors.postgres.settings import PostgresSourceConfig
from dataflare.connectors.postgres.source import PostgresSource
from dataflare.errors import DataError
from dataflare.testing.source_suite import SourceSuite, rows_of
from dataflare.testing.stage import batches_of, splits_of, staged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.postgres
TYPES = {"id": "int64", "x": "int64"}


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        yield found


@pytest.fixture
def make(spot: Place) -> Iterator[Callable[..., PostgresSource]]:
    made: list[PostgresSource] = []

    def build(contract: dict[str, str], events: list[Any] | None = None) -> PostgresSource:
        config = PostgresSourceConfig(url=spot.url, table=spot.table("t"), columns=TYPES)
        made.append(staged(PostgresSource(config), None, events, contract=contract))
        made[-1].open()
        return made[-1]

    yield build
    for source in made:
        source.close()


def read(source: PostgresSource) -> dict[str, list[dict[str, Any]]]:
    return rows_of(b for s in splits_of(source) for b in batches_of(source, s))


def test_columns_come_and_go(make: Any, spot: Place) -> None:
    spot.run("create table {}.t (id bigint primary key, new text)")
    spot.run("insert into {}.t values (1, 'a')")
    with pytest.raises(DataError, match="lacks 'x'"):
        make({"columns": "freeze"})
    events: list[Any] = []
    assert read(make({}, events))[""] == [{"id": 1, "x": None}]
    assert [e.code for e in events] == ["table.missing_columns"]
    spot.run("alter table {}.t add column x bigint default 5")
    with pytest.raises(DataError, match="does not know: 'new'"):
        make({"columns": "freeze"})
    assert read(make({"columns": "discard"}))[""] == [{"id": 1, "x": 5}]


def test_values_of_another_type(make: Any, spot: Place) -> None:
    spot.run("create table {}.t (id int primary key, x text)")
    spot.run("insert into {}.t values (1, '7'), (2, 'no'), (3, null), (4, '9')")
    with pytest.raises(DataError, match="'x' is string in this table, not int64"):
        make({"data_type": "freeze"})
    assert [r["x"] for r in read(make({"data_type": "discard"}))[""]] == [7, None, None, 9]
    found = read(make({"data_type": "discard_row"}))
    assert [r["id"] for r in found[""]] == [1, 3, 4]
    assert [(r["error"], json.loads(r["raw"])) for r in found["errors"]] == [
        ("column 'x' is not int64", {"id": 2, "x": "no"})
    ]


class TestTablesWithBadRows(SourceSuite):
    @pytest.fixture(autouse=True)
    def _spot(self) -> Iterator[None]:
        self.made: list[PostgresSource] = []
        with place() as self.spot:
            self.spot.run("create table {}.t (id int primary key, x text)")
            value = "case when n % 5 = 0 then 'no' else n::text end"
            self.spot.run(f"insert into {{}}.t select n, {value} from generate_series(1, 40) n")
            yield
            for source in self.made:
                source.close()

    def new(self, **changes: Any) -> PostgresSource:
        config = PostgresSourceConfig(
            url=self.spot.url, table=self.spot.table("t"), columns=TYPES, split_rows=15, fetch_rows=6
        )
        self.made.append(staged(PostgresSource(config), **{"on_error": "dead_letter", **changes}))
        return self.made[-1]
