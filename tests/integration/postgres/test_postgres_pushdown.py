"""PostgreSQL evaluates conditions as the filter does, in each way in which it is read."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from tests.postgres import Place, place
from tests.pushdown import check, conditions, pushed, rows_read

from dataflare.component.context import ReadHints
from dataflare.connectors.postgres.settings import PostgresSourceConfig
from dataflare.connectors.postgres.source import PostgresSource
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.postgres

ROWS = """
(1, -5, 'a', true, '2026-01-01', '2026-01-01 00:00', '2026-01-01 00:00+00', 10.50),
(2, 0, 'A', false, '2026-01-02', '2026-01-01 00:00:00.5', '2026-01-01 02:00+02', -0.01),
(3, null, null, null, null, null, null, null),
(4, 7, 'ab', true, '2025-12-31', '2025-12-31 23:59:59.999999', '2026-01-01 02:00+00', 99999999.99),
(5, 9007199254740993, 'b ', false, '1999-01-01', '1999-01-01 00:00', '1999-01-01 00:00+00', 0),
(6, 7, 'é', true, '2026-01-01', '2026-01-01 00:00', '2026-01-01 00:00+00', 10.5),
(7, -5, '', false, '0001-01-01', '0001-01-01 00:00', '0001-01-01 00:00+00', 1),
(8, 0, 'it''s', true, '9999-12-31', '9999-12-31 23:00', '9999-12-31 23:00+00', -1)
"""
TIMES = ["'2026-01-01'", "'2026-01-01 00:00:00'", "'2026-01-01T00:00:00.5'", "'1999-01-01'", "'9999-12-31 23:00:00'"]
COLUMNS = {
    "number": ["-5", "0", "7", "9007199254740993", "9007199254740992"],
    "text": ["'a'", "'A'", "''", "'b'", "'é'", "'it''s'", "'b '"],
    "yes": ["true", "false"],
    "day": ["'2026-01-01'", "date '2026-01-02'", "'0001-01-01'", "'9999-12-31'"],
    "clock": [*TIMES, "timestamp '2026-01-01 00:00:00'"],
    "moment": [*TIMES, "'2026-01-01 00:00:00Z'", "'2026-01-01 00:00:00+00:00'", "timestamptz '2026-01-01 02:00:00+00'"],
    "money": ["10.5", "10.50", "0", "-1", "99999999.99", "10"],
    "id": ["1", "4", "100"],
}


@pytest.fixture(scope="module")
def spot() -> Iterator[Place]:
    with place() as found:
        found.run(
            "create table {}.t (id int primary key, number int8, text text, yes bool, day date, clock timestamp, "
            "moment timestamptz, money numeric(10, 2), short int2, padded char(3), loose numeric, x float8)"
        )
        found.run(f"insert into {{}}.t (id, number, text, yes, day, clock, moment, money) values {ROWS}")
        found.run("create table {}.plain as select * from {}.t")
        yield found


@pytest.fixture(scope="module", params=["by key", "as Arrow", "by blocks", "incremental"])
def make(spot: Place, request: pytest.FixtureRequest) -> Callable[..., PostgresSource]:
    way = {
        "by key": {"table": spot.table("t")},
        "as Arrow": {"table": spot.table("t"), "fetch_rows": 3},
        "by blocks": {"table": spot.table("plain")},
        "incremental": {"table": spot.table("t"), "incremental": {"cursor_field": "id", "row_order": "desc"}},
    }[request.param]

    def build(**changes: Any) -> PostgresSource:
        source = PostgresSource(PostgresSourceConfig(url=spot.url, **way))
        source._speaks_text = request.param != "as Arrow"
        return staged(source, mode="incremental" if request.param == "incremental" else "full", **changes)

    return build


@settings(max_examples=15, deadline=None)
@given(conditions(COLUMNS))
def test_a_condition_that_is_pushed_down_keeps_the_same_rows(make: Any, condition: str) -> None:
    check(make, condition, rows_read(make()), odd={7, 8})


@pytest.mark.parametrize(
    ("condition", "is_pushed"),
    [
        ("number > 5 and text = 'a' and yes and not (day is null)", True),
        ("text like 'a%' and money between 1 and 10.5 and moment >= '2026-01-01'", True),
        ("short = 99999", True),
        ("text > 'a' and text <= 'z'", True),
        ("padded > 'a'", False),
        ("text like 'a_'", False),
        ("text ilike 'a%'", False),
        ("padded = 'a'", False),
        ("loose > 1", False),
        ("x > 1", False),
        ("money > 1.005", False),
        ("number > 1.5", False),
        ("day > '2026-01-01 00:00:00'", False),
        ("day > '2026-02-30'", False),
        ("moment > '2026-01-01 00:00:00+02'", False),
        ("moment > now()", False),
        ("number > id", False),
        ("number > 5 or lower(text) = 'a'", False),
    ],
)
def test_only_what_means_the_same_is_pushed_down(spot: Place, condition: str, is_pushed: bool) -> None:
    def build() -> PostgresSource:
        return staged(PostgresSource(PostgresSourceConfig(url=spot.url, table=spot.table("t"))))

    assert (pushed(build, condition) is not None) is is_pushed


def test_texts_that_a_collation_takes_for_the_same_are_not(spot: Place) -> None:
    spot.run("create collation {}.loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    spot.run("create table {}.names (id int primary key, text text collate {}.loose)")
    spot.run("insert into {}.names values (1, 'a'), (2, 'A')")

    def build(**changes: Any) -> PostgresSource:
        return staged(PostgresSource(PostgresSourceConfig(url=spot.url, table=spot.table("names"))), **changes)

    assert check(build, "text = 'a'", rows_read(build()), set())
    assert check(build, "text > 'A'", rows_read(build()), set())
    assert check(build, "text like 'a%'", rows_read(build()), set())


def test_values_that_cannot_be_read_still_fail(spot: Place) -> None:
    spot.run("create table {}.bad (id int primary key, money numeric(10, 2))")
    spot.run("insert into {}.bad values (1, 'NaN'), (2, 5), (3, 6)")

    def build(**changes: Any) -> PostgresSource:
        config = PostgresSourceConfig(url=spot.url, table=spot.table("bad"))
        return staged(PostgresSource(config), on_error="dead_letter", **changes)

    form = pushed(build, "money = 5")
    source = build(hints=ReadHints(predicate=form))
    source.open()
    with closing(source):
        found = [(b.stream, b.num_rows) for s in source.splits(None) for b in source.read(s, None, None)]
    assert sorted(found) == [("", 1), ("errors", 1)]


def test_a_column_that_is_another_one_by_now_is_left_to_the_filter(spot: Place) -> None:
    spot.run("create table {}.moved (id int primary key, text text)")
    spot.run("insert into {}.moved values (1, 'a'), (2, 'b')")

    def build(**changes: Any) -> PostgresSource:
        return staged(PostgresSource(PostgresSourceConfig(url=spot.url, table=spot.table("moved"))), **changes)

    hints = ReadHints(predicate=pushed(build, "text = 'a'"))
    assert rows_read(build(hints=hints)).column("id").to_pylist() == [1]
    spot.run("alter table {}.moved alter column text type char(3)")
    assert rows_read(build(hints=hints)).column("id").to_pylist() == [1, 2]
