"""A DuckDB file evaluates conditions as the filter does, whatever collations its columns have, and limits too."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

import duckdb
import pytest
from hypothesis import given, settings
from tests.pushdown import check, conditions, pushed, rows_read

from dataflare.component.context import ReadHints
from dataflare.connectors.duckdb.settings import DuckdbSourceConfig
from dataflare.connectors.duckdb.source import DuckdbSource
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pyarrow as pa

ROWS = """
(1, -5, 'a', 'a', true, '2026-01-01', '2026-01-01 00:00', '2026-01-01 00:00+00', 10.50),
(2, 0, 'A', 'A', false, '2026-01-02', '2026-01-01 00:00:00.5', '2026-01-01 02:00+02', -0.01),
(3, null, null, null, null, null, null, null, null),
(4, 7, 'ab', 'AB', true, '2025-12-31', '2025-12-31 23:59:59.999999', '2026-01-01 02:00+00', 99999999.99),
(5, 9007199254740993, 'b ', 'b ', false, '1999-01-01', '1999-01-01 00:00', '1999-01-01 00:00+00', 0),
(6, 7, 'é', 'e', true, '2026-01-01', '2026-01-01 00:00', '2026-01-01 00:00+00', 10.5),
(7, -5, '', '', false, '0001-01-01', '0001-01-01 00:00', '0001-01-01 00:00+00', 1),
(8, 0, 'it''s', 'IT''s', true, '9999-12-31', '9999-12-31 23:00', '9999-12-31 23:00+00', -1)
"""
TIMES = ["'2026-01-01'", "'2026-01-01 00:00:00'", "'2026-01-01T00:00:00.5'", "'1999-01-01'", "'9999-12-31 23:00:00'"]
WORDS = ["'a'", "'A'", "''", "'b'", "'é'", "'it''s'", "'b '", "'e'"]
COLUMNS = {
    "number": ["-5", "0", "7", "9007199254740993", "9007199254740992"],
    "text": WORDS,
    "loose": WORDS,
    "yes": ["true", "false"],
    "day": ["'2026-01-01'", "date '2026-01-02'", "'0001-01-01'", "'9999-12-31'"],
    "clock": [*TIMES, "timestamp '2026-01-01 00:00:00'"],
    "moment": [*TIMES, "'2026-01-01 00:00:00Z'", "timestamptz '2026-01-01 02:00:00+00'"],
    "money": ["10.5", "10.50", "0", "-1", "99999999.99", "10"],
    "id": ["1", "4", "100"],
}
WAYS: dict[str, dict[str, Any]] = {
    "by row ids": {"table": "t", "split_rows": 3},
    "by key": {"table": "t", "key": ["id"]},
    "query": {"query": "select * from t", "key": ["id"]},
    "incremental": {"table": "t", "key": ["id"], "incremental": {"cursor_field": "id", "row_order": "desc"}},
}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("p") / "p.duckdb"
    with duckdb.connect(found) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute(
            "create table t (id integer, number bigint, text varchar, loose varchar collate nocase.noaccent, yes bool, "
            "day date, clock timestamp, moment timestamptz, money decimal(10, 2), x double, huge hugeint)"
        )
        connection.execute(f"insert into t (id, number, text, loose, yes, day, clock, moment, money) values {ROWS}")
    return found


@pytest.fixture(scope="module", params=WAYS)
def make(path: Path, request: pytest.FixtureRequest) -> Callable[..., DuckdbSource]:
    def build(**changes: Any) -> DuckdbSource:
        source = DuckdbSource(DuckdbSourceConfig(path=str(path), **WAYS[request.param]))
        return staged(source, mode="incremental" if request.param == "incremental" else "full", **changes)

    return build


@pytest.fixture(scope="module")
def whole(path: Path) -> pa.Table:
    return rows_read(plain(path)())


@settings(max_examples=12, deadline=None)
@given(conditions(COLUMNS))
def test_a_condition_that_is_pushed_down_keeps_the_same_rows(make: Any, whole: pa.Table, condition: str) -> None:
    check(make, condition, whole, odd={7, 8})


def plain(path: Path, **settings: Any) -> Callable[..., DuckdbSource]:
    return lambda **changes: staged(DuckdbSource(DuckdbSourceConfig(path=str(path), table="t", **settings)), **changes)


@pytest.mark.parametrize("column", ["text", "loose"])
@pytest.mark.parametrize("sign", ["=", "<>", "<", "<=", ">", ">="])
def test_texts_are_compared_by_their_bytes(path: Path, whole: pa.Table, column: str, sign: str) -> None:
    for word in ("'A'", "'b'", "'é'", "'e'"):
        assert check(plain(path), f"{column} {sign} {word}", whole, set())


@pytest.mark.parametrize("pattern", ["a%", "%b", "%", "A%", "%é%", "", "it''s%", "% ", "%a%b%"])
def test_patterns_are_compared_as_they_stand(path: Path, whole: pa.Table, pattern: str) -> None:
    for column in ("text", "loose"):
        for no in ("", "not "):
            assert check(plain(path), f"{column} {no}like '{pattern}'", whole, set())


@pytest.mark.parametrize(
    ("condition", "is_pushed"),
    [
        ("number > 5 and text = 'a' and yes and not (day is null)", True),
        ("text like 'a%' and money between 1 and 10.5 and moment >= '2026-01-01'", True),
        ("text > 'a' and loose <= 'é'", True),
        ("text like 'a_'", False),
        ("text ilike 'a%'", False),
        ("x > 1", False),
        ("huge > 1", False),
        ("money > 1.005", False),
        ("number > 1.5", False),
        ("day > '2026-01-01 00:00:00'", False),
        ("moment > now()", False),
        ("number > id", False),
    ],
)
def test_only_what_means_the_same_is_pushed_down(path: Path, condition: str, is_pushed: bool) -> None:
    assert (pushed(plain(path), condition) is not None) is is_pushed


def asked_for(source: DuckdbSource, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the statements that a source, once open, has for rows."""
    source.open()
    found: list[str] = []
    original = source.session.stream
    monkeypatch.setattr(source.session, "stream", lambda sql, size: found.append(sql) or original(sql, size))
    return found


@pytest.mark.parametrize("way", [{"table": "t"}, {"table": "t", "key": ["id"]}, {"query": "select * from t"}])
def test_no_more_is_read_than_is_wanted(path: Path, way: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    source = staged(DuckdbSource(DuckdbSourceConfig(path=str(path), **way)), hints=ReadHints(limit=2))
    asked = asked_for(source, monkeypatch)
    with closing(source):
        rows = [r for s in source.splits(None) for b in source.read(s, None, None) for r in b.rows["id"].to_pylist()]
    assert rows == [1, 2]
    assert [sql.partition(" limit ")[2].split()[0] for sql in asked] == ["2"]


def test_rows_that_are_put_aside_are_none_of_those_that_are_wanted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = DuckdbSourceConfig(path=str(path), table="t", types={"text": "int64"})
    source = staged(DuckdbSource(config), on_error="dead_letter", hints=ReadHints(limit=2))
    asked = asked_for(source, monkeypatch)
    with closing(source):
        batches = [b for s in source.splits(None) for b in source.read(s, None, None)]
    assert not any(" limit " in sql for sql in asked)
    assert sum(b.num_rows for b in batches if b.stream == "errors") > 2, "all but the null are no numbers"
