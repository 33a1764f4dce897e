"""MariaDB evaluates conditions as the filter does, whatever its collations take for the same; it reads no more rows."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from tests.mariadb import Database, database
from tests.pushdown import check, conditions, pushed, rows_read

from dataflare.component.context import ReadHints
from dataflare.connectors.mariadb.settings import MariaSourceConfig
from dataflare.connectors.mariadb.source import MariaSource
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pyarrow as pa

pytestmark = pytest.mark.mariadb

TABLE = """
create table t (
  id int primary key, number bigint, text varchar(40) character set utf8mb4 collate utf8mb4_general_ci,
  latin varchar(40) character set latin1 collate latin1_swedish_ci, padded char(5) collate utf8mb4_general_ci, yes bool,
  one bit(1), day date, clock datetime(6), moment timestamp(6) null, money decimal(10, 2), small smallint unsigned,
  kind enum('b', 'a'), x double, loose decimal(40, 2)
) character set utf8mb4
"""
TEXTS = ["a", "A", None, "ab", "b ", "é", "", "it's", "e", "a ", "\\", "z\t", "\U0001f600", "\uffee"]
NUMBERS = [-5, 0, None, 7, 9007199254740993, 7, -5, 0, 1, 2, 3, 4, 5, 6]
DAYS = ["2026-01-01", "2026-01-02", None, "2025-12-31", "1999-01-01", "2026-01-01", "1970-01-02", "2037-12-31"]
TIMES = ["'2026-01-01'", "'2026-01-01 00:00:00'", "'2026-01-01T00:00:00.5'", "'1999-01-01'", "'2037-12-31 23:00:00'"]
WORDS = ["'a'", "'A'", "''", "'b'", "'é'", "'it''s'", "'b '", "'E'", "'a '", "'\U0001f600'", "'\\'"]
COLUMNS = {
    "number": ["-5", "0", "7", "9007199254740993", "9007199254740992"],
    "text": WORDS,
    "latin": WORDS,
    "padded": WORDS,
    "yes": ["true", "false"],
    "one": ["true", "false"],
    "day": ["'2026-01-01'", "date '2026-01-02'", "'1970-01-02'"],
    "clock": [*TIMES, "timestamp '2026-01-01 00:00:00'"],
    "moment": [*TIMES, "'2026-01-01 00:00:00Z'", "timestamptz '2026-01-01 02:00:00+00'"],
    "money": ["10.5", "10.50", "0", "-1", "99999999.99", "10"],
    "id": ["1", "4", "100"],
}


@pytest.fixture(scope="module")
def spot() -> Iterator[Database]:
    with database() as found:
        found.run(TABLE)
        for number, text in enumerate(TEXTS):
            day = DAYS[number % len(DAYS)]
            clock = None if day is None else f"{day} {('00:00:00', '00:00:00.5', '23:59:59.999999')[number % 3]}"
            narrow = None if text is None or ord(max(text, default="a")) > 255 else text
            money = [10.5, -0.01, None, 99999999.99, 0, 1][number % 6]
            yes = None if number == 2 else number % 2
            row = (number, NUMBERS[number], text, narrow, text, yes, yes, day, clock, clock, money)
            found.run(
                "insert into t (id, number, text, latin, padded, yes, one, day, clock, moment, money) "
                "values (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                row,
            )
        found.run("create table keyless as select * from t")
        yield found


@pytest.fixture(scope="module", params=["by key", "in small steps", "query", "keyless", "incremental"])
def make(spot: Database, request: pytest.FixtureRequest) -> Callable[..., MariaSource]:
    way: dict[str, Any] = {
        "by key": {"table": "t"},
        "in small steps": {"table": "t", "fetch_rows": 3, "split_rows": 4},
        "query": {"query": "select * from t", "key": ["id"]},
        "keyless": {"table": "keyless"},
        "incremental": {"table": "t", "incremental": {"cursor_field": "id", "row_order": "desc"}},
    }[request.param]

    def build(**changes: Any) -> MariaSource:
        source = MariaSource(MariaSourceConfig(url=spot.url, **way))
        return staged(source, mode="incremental" if request.param == "incremental" else "full", **changes)

    build.leaves_out = request.param != "keyless"  # type: ignore[attr-defined]
    return build


@pytest.fixture(scope="module")
def whole(spot: Database) -> pa.Table:
    return rows_read(staged(MariaSource(MariaSourceConfig(url=spot.url, table="t"))))


@settings(max_examples=20, deadline=None)
@given(conditions(COLUMNS))
def test_a_condition_that_is_pushed_down_keeps_the_same_rows(make: Any, whole: pa.Table, condition: str) -> None:
    check(make, condition, whole, odd=set() if make.leaves_out else set(range(len(TEXTS))))


@pytest.mark.parametrize("column", ["text", "latin", "padded"])
@pytest.mark.parametrize("sign", ["=", "<>", "<", "<=", ">", ">="])
def test_texts_are_compared_by_their_bytes(spot: Database, whole: pa.Table, column: str, sign: str) -> None:
    def build(**changes: Any) -> MariaSource:
        return staged(MariaSource(MariaSourceConfig(url=spot.url, table="t")), **changes)

    for word in WORDS:
        assert check(build, f"{column} {sign} {word}", whole, set())


@pytest.mark.parametrize("pattern", ["a%", "%b", "%", "A%", "%é%", "", "it''s%", "%\U0001f600", "% ", "%a%b%"])
def test_patterns_are_compared_by_their_bytes(spot: Database, whole: pa.Table, pattern: str) -> None:
    def build(**changes: Any) -> MariaSource:
        return staged(MariaSource(MariaSourceConfig(url=spot.url, table="t")), **changes)

    for column in ("text", "latin", "padded"):
        for no in ("", "not "):
            assert check(build, f"{column} {no}like '{pattern}'", whole, set())


@pytest.mark.parametrize(
    ("condition", "is_pushed"),
    [
        ("number > 5 and text = 'a' and yes and not (day is null)", True),
        ("text like 'a%' and money between 1 and 10.5 and moment >= '2026-01-01'", True),
        ("text > 'a' and latin <= 'é'", True),
        ("text like 'a_'", False),
        ("text ilike 'a%'", False),
        ("kind = 'a'", False),
        ("kind > 'a'", False),
        ("small > 1", False),
        ("x > 1", False),
        ("loose > '1'", True),
        ("loose like '1%'", False),
        ("money > 1.005", False),
        ("number / 2 = 3", False),
        ("number // 2 = 3", False),
        ("number > 1.5", False),
        ("day > '2026-01-01 00:00:00'", False),
        ("moment > now()", False),
        ("number > id", False),
        ("number > 5 or lower(text) = 'a'", False),
    ],
)
def test_only_what_means_the_same_is_pushed_down(spot: Database, condition: str, is_pushed: bool) -> None:
    def build() -> MariaSource:
        return staged(MariaSource(MariaSourceConfig(url=spot.url, table="t")))

    assert (pushed(build, condition) is not None) is is_pushed


def test_the_mode_of_the_session_does_not_matter(spot: Database) -> None:
    spot.run("create table modes (id int primary key, text varchar(20)) character set utf8mb4")
    spot.run("insert into modes values (1, 'a\\\\b'), (2, 'a\\'b'), (3, 'ab'), (4, '%')")

    def build(**changes: Any) -> MariaSource:
        return staged(MariaSource(MariaSourceConfig(url=spot.url, table="modes")), **changes)

    for condition in ("text = 'a\\b'", "text = 'a''b'", "text like '%b'", "text > 'a\\'", "text = '%'"):
        assert check(build, condition, rows_read(build()), set())


def test_days_that_no_calendar_has_are_not_left_out(spot: Database) -> None:
    spot.run("set sql_mode = ''")
    spot.run("create table zeros (id int primary key, day date)")
    spot.run("insert into zeros values (1, '0000-00-00'), (2, '2026-01-01'), (3, '2026-02-00'), (4, '2027-01-01')")

    def build(**changes: Any) -> MariaSource:
        config = MariaSourceConfig(url=spot.url, table="zeros")
        return staged(MariaSource(config), on_error="dead_letter", **changes)

    form = pushed(build, "day = '2026-01-01'")
    source = build(hints=ReadHints(predicate=form))
    source.open()
    with closing(source):
        found = [(b.stream, b.num_rows) for s in source.splits(None) for b in source.read(s, None, None)]
    assert sorted(found) == [("", 1), ("errors", 2)]


def test_true_is_any_number_but_zero(spot: Database) -> None:
    spot.run("create table truths (id int primary key, yes bool)")
    spot.run("insert into truths values (1, 0), (2, 1), (3, 2), (4, -1), (5, null)")

    def build(**changes: Any) -> MariaSource:
        return staged(MariaSource(MariaSourceConfig(url=spot.url, table="truths")), on_error="dead_letter", **changes)

    whole = rows_read(build())
    for condition in ("yes", "not yes", "yes = false", "yes <> true", "yes in (true)", "yes > false", "yes is null"):
        check(build, condition, whole, {3, 4})


def asked_for(source: MariaSource, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the statements that a source, once open, has for rows."""
    source.open()
    found: list[str] = []
    original = source.session.texts
    monkeypatch.setattr(source.session, "texts", lambda sql, size: found.append(sql) or original(sql, size))
    return found


@pytest.mark.parametrize("way", [{"table": "t"}, {"table": "keyless"}, {"query": "select * from t", "key": ["id"]}])
def test_no_more_is_read_than_is_wanted(spot: Database, way: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    source = staged(MariaSource(MariaSourceConfig(url=spot.url, **way)), hints=ReadHints(limit=2))
    asked = asked_for(source, monkeypatch)
    with closing(source):
        batches = [b for s in source.splits(None) for b in source.read(s, None, None)]
    assert sum(b.num_rows for b in batches) == 2
    assert [sql.partition(" limit ")[2].split()[0] for sql in asked] == ["2"]


def test_rows_that_are_put_aside_are_none_of_those_that_are_wanted(
    spot: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    spot.run("set sql_mode = ''")
    spot.run("create table some_bad (id int, day date)")
    spot.run("insert into some_bad values (1, '0000-00-00'), (2, '2026-02-00'), (3, '2026-01-01'), (4, '2027-01-01')")
    for settings_ in ({}, {"key": ["id"]}):
        config = MariaSourceConfig(url=spot.url, table="some_bad", **settings_)
        source = staged(MariaSource(config), on_error="dead_letter", hints=ReadHints(limit=2))
        asked = asked_for(source, monkeypatch)
        with closing(source):
            batches = [b for s in source.splits(None) for b in source.read(s, None, None)]
        assert asked
        assert sum(b.num_rows for b in batches if b.stream == "") == 2
