"""Every type goes through a real MariaDB and comes back, or is refused with the cure."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from tests.mariadb import Database, database

from dataflare.batch import Batch
from dataflare.component import Epoch
from dataflare.connectors.mariadb.destination import MariaDestination
from dataflare.connectors.mariadb.settings import MariaDestinationConfig, MariaSourceConfig
from dataflare.connectors.mariadb.source import MariaSource
from dataflare.errors import DataError
from dataflare.plan_words import Mechanism
from dataflare.schema import Schema
from dataflare.testing.stage import batches_of, splits_of, staged

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.mariadb
UTC = dt.datetime(2026, 2, 28, 12, 30, 1, 5, tzinfo=dt.UTC)
MOMENT = UTC.replace(tzinfo=None)

COLUMNS = [
    ("bool", "bool", True, "true"),
    ("bit(1)", "bool", True, "b'1'"),
    ("bit(9)", "uint64", 341, "b'101010101'"),
    ("tinyint", "int8", -128, "-128"),
    ("smallint unsigned", "uint16", 65535, "65535"),
    ("mediumint", "int32", -5, "-5"),
    ("int unsigned", "uint32", 4294967295, "4294967295"),
    ("bigint unsigned", "uint64", 18446744073709551615, "18446744073709551615"),
    ("year", "int16", 2024, "2024"),
    ("decimal(20,4)", "decimal(20,4)", Decimal("-123456789.1234"), "-123456789.1234"),
    (
        "decimal(50,1)",
        "string",
        "1234567890123456789012345678901234567890.5",
        "1234567890123456789012345678901234567890.5",
    ),
    ("float", "float32", 1.2345677614212036, "1.2345678"),
    ("double", "float64", 0.1, "0.1"),
    ("date", "date", dt.date(2024, 2, 29), "'2024-02-29'"),
    ("datetime(6)", "datetime", MOMENT, "'2026-02-28 12:30:01.000005'"),
    ("timestamp(6) null", "timestamp", UTC, "'2026-02-28 12:30:01.000005'"),
    ("time(6)", "time", dt.time(23, 59, 59, 5), "'23:59:59.000005'"),
    ("varchar(20)", "string", "é\n\"'\\,", "concat('é', char(10), '\"', char(39), char(92), ',')"),
    ("varchar(20) character set latin1", "string", "é", "'é'"),
    ("text", "string", "", "''"),
    ("enum('b', 'a')", "string", "a", "'a'"),
    ("set('x', 'y', 'z')", "string", "x,z", "'x,z'"),
    ("json", "json", '{"a": [1, null]}', "'{\"a\": [1, null]}'"),
    ("uuid", "string", "123e4567-e89b-12d3-a456-426614174000", "'123e4567-e89b-12d3-a456-426614174000'"),
    ("inet6", "string", "::1", "'::1'"),
    ("binary(3)", "binary", b"\x00\xff\x01", "x'00ff01'"),
    ("longblob", "binary", b"\x00\n\"',\\", "x'000a22272c5c'"),
    ("point", "string", "POINT(1 2)", "point(1, 2)"),
]


@pytest.fixture
def spot() -> Iterator[Database]:
    with database() as found:
        yield found


def read(spot: Database, **settings: Any) -> tuple[dict[str, str], list[dict[str, Any]]]:
    source = staged(MariaSource(MariaSourceConfig(url=spot.url, **settings)))
    source.open()
    try:
        types = {c.name: c.type for c in source.context.schemas[""]}
        return types, [r for s in splits_of(source) for b in batches_of(source, s) for r in b.rows.to_pylist()]
    finally:
        source.close()


def write(spot: Database, schema: dict[str, str], rows: list[dict[str, Any]], **changes: Any) -> None:
    columns = Schema.of(schema)
    config = MariaDestinationConfig(url=spot.url, table="out")
    told = {"schemas": {"0": columns}, "mechanism": Mechanism.DIRECT, **changes}
    destination = staged(MariaDestination(config), **told)
    try:
        destination.open()
        destination.write(Batch.of(rows, schema=columns.to_arrow()))
        destination.commit(Epoch(1, 1), destination.prepare(Epoch(1, 1)))
    finally:
        destination.close()


def test_each_type_of_column_is_read_from_a_table_and_from_a_query(spot: Database) -> None:
    defined = ", ".join(f"c{n} {kind}" for n, (kind, *_) in enumerate(COLUMNS))
    spot.run(f"create table t (id int primary key, {defined})")
    spot.run(f"insert into t values (1, {', '.join(sql for *_, sql in COLUMNS)}), (2{', null' * len(COLUMNS)})")
    wanted = [
        {"id": 1, **{f"c{n}": value for n, (_, _, value, _) in enumerate(COLUMNS)}},
        {"id": 2, **{f"c{n}": None for n in range(len(COLUMNS))}},
    ]
    types, rows = read(spot, table="t")
    assert types == {"id": "int32", **{f"c{n}": text for n, (_, text, *_) in enumerate(COLUMNS)}}
    assert rows == wanted
    types, rows = read(spot, query="select * from t order by id")
    assert rows == wanted
    assert types["c22"] == "string"  # an answer does not say that it is JSON


@pytest.mark.parametrize("changes", [{}, {"mechanism": Mechanism.STAGED}, {"write_mode": "merge", "key": ("id",)}])
@pytest.mark.parametrize("loads", [True, False], ids=["load", "insert"])
def test_each_type_of_column_is_written_and_comes_back(
    spot: Database, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch, *, loads: bool
) -> None:
    if not loads:  # as where the server says local_infile = off, which is for all sessions
        original = MariaDestination.connect

        def connected(self: MariaDestination) -> Any:
            session = original(self)
            session.loads = False
            return session

        monkeypatch.setattr(MariaDestination, "connect", connected)
    defined = ", ".join(f"c{n} {kind}" for n, (kind, *_) in enumerate(COLUMNS))
    spot.run(f"create table `out` (id int primary key, {defined})")
    rows = [
        {"id": 1, **{f"c{n}": value for n, (_, _, value, _) in enumerate(COLUMNS)}},
        {"id": 2, **{f"c{n}": None for n in range(len(COLUMNS))}},
    ]
    write(spot, {"id": "int64", **{f"c{n}": text for n, (_, text, *_) in enumerate(COLUMNS)}}, rows, **changes)
    assert read(spot, table="out")[1] == rows


def test_a_table_that_is_made_keeps_each_type_exactly(spot: Database) -> None:
    values = {
        "bool": True,
        "int8": -1,
        "int64": -(1 << 63),
        "uint8": 255,
        "uint64": (1 << 64) - 1,
        "float32": 1.5,
        "float64": 1e-300,
        "string": "x ",
        "binary": b"\x00",
        "date": dt.date(9999, 12, 31),
        "time": dt.time(1),
        "timestamp": UTC,
        "datetime": MOMENT,
        "decimal(38,10)": Decimal("1234567890123456789012345678.0000000001"),
        "json": "[1]",
        "list<int64>": [1, None],
    }
    schema = {f"c{n}": kind for n, kind in enumerate(values)}
    row = {f"c{n}": value for n, value in enumerate(values.values())}
    write(spot, schema, [row], key=("c7",), write_mode="merge")
    types, (found,) = read(spot, table="out")
    listed = f"c{list(values).index('list<int64>')}"
    assert {k: v for k, v in found.items() if k != listed} == {k: v for k, v in row.items() if k != listed}
    assert found[listed] == "[1,null]"
    assert {k: v for k, v in types.items() if k != listed} == {k: v for k, v in schema.items() if k != listed}


@pytest.mark.parametrize(
    ("column", "kind", "value"),
    [
        ("tinyint", "int64", 300),
        ("int unsigned", "int64", -1),
        ("decimal(8,2)", "decimal(10,3)", Decimal("1.239")),
        ("int", "decimal(10,3)", Decimal("1.500")),
        ("decimal(8,2)", "string", "1.239"),
        ("datetime", "datetime", MOMENT),
        ("date", "datetime", MOMENT),
        ("timestamp(6) null", "timestamp", dt.datetime(1900, 1, 1, tzinfo=dt.UTC)),
        ("varchar(3)", "string", "secret"),
        ("varchar(9) character set latin1", "string", "secret中"),
        ("enum('a')", "string", "secret"),
        ("json", "string", "{secret"),
        ("uuid", "string", "secret"),
        ("int not null", "int64", None),
        ("double", "float64", math.nan),
        ("double", "float64", math.inf),
    ],
)
@pytest.mark.parametrize("mode", ["append", "merge"])
def test_what_does_not_fit_is_refused_and_not_shown(
    spot: Database, column: str, kind: str, value: Any, mode: str
) -> None:
    spot.run(f"create table `out` (id int primary key, c {column})")
    told = {"write_mode": mode, "key": ("id",), "ddl": {"policy": "ignore"}}
    with pytest.raises(DataError) as caught:
        write(spot, {"id": "int64", "c": kind}, [{"id": 1, "c": value}], **told)
    assert "secret" not in caught.value.what
    assert spot.run("select * from `out`") == []


def test_times_beyond_a_day_and_days_that_are_none_are_told_or_read_otherwise(spot: Database) -> None:
    spot.run("create table t (id int primary key, long_time time, d date, at datetime)")
    spot.run("set sql_mode = ''")
    spot.run("insert into t values (1, '-30:00:01', '0000-00-00', '2026-00-10 00:00:00')")
    with pytest.raises(DataError, match="long_time is no time"):
        read(spot, table="t", zero_dates="null")
    told = {"long_time": "string"}
    with pytest.raises(DataError, match="a value of d is no date") as caught:
        read(spot, table="t", types=told)
    assert "zero_dates" in caught.value.hint
    _, rows = read(spot, table="t", types=told, zero_dates="null")
    assert rows == [{"id": 1, "long_time": "-30:00:01", "d": None, "at": None}]


def test_a_number_in_a_bool_is_told_and_read_otherwise(spot: Database) -> None:
    spot.run("create table t (id int primary key, flag tinyint(1))")
    spot.run("insert into t values (1, 5)")
    with pytest.raises(DataError, match="flag is no bool"):
        read(spot, table="t")
    assert read(spot, table="t", types={"flag": "int8"})[1] == [{"id": 1, "flag": 5}]
