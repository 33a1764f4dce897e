"""Every type gives the same value by the log as by a query of the table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.integration.mariadb.test_mariadb_types import COLUMNS
from tests.maria_changes import Followed, followers
from tests.mariadb import Database, database

from dataflare.connectors.mariadb.settings import MariaSourceConfig
from dataflare.connectors.mariadb.source import MariaSource
from dataflare.errors import DataError, WorkflowError
from dataflare.testing.stage import batches_of, splits_of, staged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.mariadb
MORE = [
    ("tinyint", ["-1", "0", "127"]),
    ("mediumint unsigned", ["0", "16777215"]),
    ("mediumint", ["-8388608", "8388607"]),
    ("double", ["-1e300", "0", "1.5e-300"]),
    ("int unsigned", ["4294967295"]),
    ("float unsigned", ["1e30"]),
    ("bigint", ["-9223372036854775808", "9223372036854775807"]),
    ("year", ["0", "1901", "2155"]),
    ("decimal(5,0)", ["-99999", "0", "7"]),
    ("decimal(4,4)", ["-0.0001", "0.9999", "0"]),
    ("decimal(18,9)", ["-123456789.987654321", "0.000000001"]),
    ("decimal(19,9)", ["-1234567890.987654321", "0.5"]),
    ("decimal(38,10) unsigned", ["9999999999999999999999999999.0123456789", "0"]),
    ("decimal(65,30)", ["-12345678901234567890123456789012345.5", "0", "-0.5"]),
    ("date", ["'0001-01-01'", "'9999-12-31'"]),
    ("datetime", ["'0001-01-01 00:00:00'", "'9999-12-31 23:59:59'"]),
    ("datetime(1)", ["'2026-02-28 12:30:01.7'"]),
    ("datetime(4)", ["'2026-02-28 12:30:01.0123'"]),
    ("timestamp null", ["'1970-01-01 00:00:01'", "'2038-01-19 03:14:07'", "'2100-01-01 00:00:00'"]),
    ("timestamp(3) null", ["'2026-02-28 12:30:01.987'"]),
    ("time", ["'00:00:00'", "'23:59:59'"]),
    ("time(3)", ["'01:02:03.040'"]),
    ("char(10)", ["'a b  '", "''", "'ß€'"]),
    ("char(255) character set utf8mb3", ["'ä'", "repeat('é', 255)"]),
    ("varchar(20) character set cp1251", ["'Привет'"]),
    ("varchar(20) character set latin1", ["'ÿ€'", "''"]),
    ("varchar(20) character set ascii", ["'x'"]),
    ("varchar(20) character set utf16", ["'a€😀'"]),
    ("varchar(20) character set gbk", ["'漢字'"]),
    ("varchar(400)", ["repeat('x', 400)", "'😀'"]),
    ("text character set koi8r", ["'Ж'"]),
    ("enum('é', 'ж', 'a,b')", ["'ж'", "3", "''"]),
    ("enum('é', 'à') character set latin1", ["'à'"]),
    ("set('x', 'ж', 'z')", ["''", "'z,x'", "'ж'"]),
    ("bit(1)", ["b'0'"]),
    ("bit(64)", ["~0", "1"]),
    ("binary(5)", ["''", "x'0001000000'", "x'ffffffffff'"]),
    ("binary(255)", ["x'0102'"]),
    ("varbinary(5)", ["''", "x'0100'"]),
    ("tinyblob", ["x'00'"]),
    ("mediumblob", ["repeat(x'ff', 70000)"]),
    ("uuid", ["'00000000-0000-0000-0000-000000000000'", "'ffffffff-ffff-1fff-8fff-ffffffffff00'", "sys_guid()"]),
    ("inet4", ["'0.0.0.0'", "'255.1.2.0'"]),
    ("inet6", ["'::'", "'2001:db8::ff00:42:8329'", "'::ffff:1.2.3.4'"]),
    ("geometry", ["st_geomfromtext('LINESTRING(0 0, 1.5 2)', 4326)", "point(0.1, -1e20)"]),
    ("vector(2) not null", ["vec_fromtext('[1.5,-2]')"]),
]


@pytest.fixture
def spot() -> Iterator[Database]:
    with database() as found:
        found.run("set names utf8mb4")
        found.run("set sql_mode = ''")  # as servers may be set: an enum may hold what it does not know
        yield found


@pytest.fixture
def follow(spot: Database) -> Iterator[Callable[..., Followed]]:
    with followers(spot, "cdc") as build:
        yield build


def read(spot: Database, **settings: Any) -> list[dict[str, Any]]:
    source = staged(MariaSource(MariaSourceConfig(url=spot.url, table="t", **settings)))
    source.open()
    try:
        return [r for s in splits_of(source) for b in batches_of(source, s) for r in b.rows.to_pylist()]
    finally:
        source.close()


def by_log(one: Followed) -> list[dict[str, Any]]:
    return one.rows(without=("_tx", "_commit_ts", "_op"))


def test_each_type_has_the_same_value_by_the_log(spot: Database, follow: Any) -> None:
    table = [(kind, [sql]) for kind, _, _, sql in COLUMNS] + MORE
    defined = ", ".join(f"c{n} {kind}" for n, (kind, _) in enumerate(table))
    spot.run(f"create table t (id int primary key, {defined}) character set utf8mb4")
    one = follow("t")
    assert one.stream
    most = max(len(values) for _, values in table)
    for row in range(most):
        spot.run(f"insert into t values ({row}, {', '.join(v[row % len(v)] for _, v in table)})")
    nulls = ", ".join("c0" if "not null" in kind else "null" for kind, _ in table).replace(
        "c0", "vec_fromtext('[0,0]')"
    )
    spot.run(f"insert into t values ({most}, {nulls})")

    wanted, found = read(spot), by_log(one)
    assert len(wanted) == most + 1
    for row, other in zip(wanted, found, strict=True):
        assert {k: v for k, v in other.items() if v != row[k]} == {}


def test_types_that_the_settings_name_hold_for_the_log_too(spot: Database, follow: Any) -> None:
    spot.run(
        "create table t (id int primary key, a time(2), b datetime(2), c timestamp(3) null, d decimal(5,2), y year, "
        "n int, f double, z tinyint(1))"
    )
    types = {
        "a": "string",
        "b": "string",
        "c": "string",
        "d": "string",
        "y": "string",
        "n": "decimal(12,1)",
        "z": "int8",
    }
    one = follow("t", types=types)
    assert one.stream
    spot.run("insert into t values (1, '-838:59:58.25', '2026-01-01', '2026-01-01 01:02:03.5', -0.5, 0, 7, 0.1, 2)")
    spot.run("insert into t values (2, '-00:00:00.01', null, null, 100, 1999, -7, null, 0)")
    spot.run("insert into t values (3, '100:00:01', null, null, 0, 1999, -7, null, -1)")
    assert by_log(one) == read(spot, types=types)
    with pytest.raises(WorkflowError, match="is a double, and its text is not in the log"):
        follow("t", types={"f": "string"})


def test_a_value_that_its_type_does_not_hold_ends_the_run(spot: Database, follow: Any) -> None:
    spot.run("create table t (id int primary key, a time, z tinyint(1), d date)")
    one = follow("t")
    assert one.stream
    spot.run("insert into t values (1, '25:00:00', 0, null)")
    with pytest.raises(DataError, match=r"a value of t_.*\.t\.a is no time"):
        one.rows()
    two = follow("t")
    assert two.stream
    spot.run("insert into t values (2, null, 2, null)")
    with pytest.raises(DataError, match=r"\.z is no bool"):
        two.rows()
    three = follow("t")
    assert three.stream
    spot.run("insert into t values (3, null, null, '2026-00-10')")
    with pytest.raises(DataError, match=r"\.d is no date"):
        three.rows()


def test_days_that_no_calendar_has_become_null_where_that_is_wanted(spot: Database, follow: Any) -> None:
    spot.run("create table t (id int primary key, a date, b datetime(3), c timestamp default '0000-00-00')")
    one = follow("t", zero_dates="null")
    assert one.stream
    spot.run(
        "insert into t values (1, '0000-00-00', '0000-00-00', '0000-00-00'), (2, '2026-00-01', '2026-01-00', default)"
    )
    spot.run("insert into t values (3, '2026-01-01', '2026-01-01 01:01:01', '2026-01-01 01:01:01')")
    assert by_log(one) == read(spot, zero_dates="null")
    assert read(spot, zero_dates="null")[0] == {"id": 1, "a": None, "b": None, "c": None}


def test_computed_columns_are_left_out_and_unseen_ones_are_not(spot: Database, follow: Any) -> None:
    spot.run(
        "create table t (id int primary key, v int as (id + 1) virtual, s int as (id + 2) stored, "
        "i int invisible default 7)"
    )
    one = follow("t")
    assert one.stream
    spot.run("insert into t (id) values (1)")
    spot.run("update t set id = 2")
    assert one.rows() == [
        {"id": 1, "i": 7, "_op": "insert"},
        {"id": 1, "i": 7, "_op": "delete"},
        {"id": 2, "i": 7, "_op": "insert"},
    ]
