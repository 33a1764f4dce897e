"""A value of any type is the same whether the table is read or its log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from tests.postgres import Place, place
from tests.replication import Stream, stream

from dataflare.connectors.postgres.settings import PostgresSourceConfig
from dataflare.connectors.postgres.source import PostgresSource
from dataflare.errors import DataError
from dataflare.testing.stage import batches_of, splits_of, staged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dataflare.connectors.postgres.replication.messages import Relation, TablePlan

pytestmark = pytest.mark.postgres

VALUES: dict[str, list[str]] = {
    "bool": ["true", "false"],
    "int2": ["-32768", "32767"],
    "int4": ["-2147483648", "2147483647"],
    "int8": ["-9223372036854775808", "9223372036854775807"],
    "oid": ["0", "4294967295"],
    "float4": ["0.1", "'-0'", "'NaN'", "'Infinity'", "1e-45", "3.4028235e38", "16777216"],
    "float8": ["0.1", "'-0'", "'NaN'", "'-Infinity'", "5e-324", "1.7976931348623157e308", "0.30000000000000004"],
    "numeric": ["1.000000001", "1.10000000000", "-7", "12345678901234567890.123456789", "0"],
    "numeric(38,9)": ["1.5", "-99999999999999999999999999999.123456789"],
    "numeric(5,2)": ["999.99", "-0.01"],
    "numeric(60,2)": ["1", "'NaN'", "-1234567890123456789012345678901234567890123456789.5"],
    "text": ["''", "' '", "'NULL'", "E'a\\nb\\\\\"'", "'é漢😀'", "repeat('long', 100000)"],
    "varchar(5)": ["'abc'"],
    "char(5)": ["'abc'"],
    '"char"': ["'a'", "''"],
    "name": ["'abc'"],
    "bytea": ["''", "'\\x00ff'", "'\\xDEADBEEF'"],
    "uuid": ["'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'"],
    "json": ["'{\"b\":  1}'", "'null'"],
    "jsonb": ['\'{"b": [1.50, null, "é"]}\''],
    "date": ["'0001-01-01'", "'1969-12-31'", "'9999-12-31'", "'12345-02-28'", "'0044-03-15 BC'", "'5874897-12-31'"],
    "time": ["'00:00'", "'23:59:59.999999'", "'12:34:56.7'", "'24:00:00'"],
    "timetz": ["'12:00:00.5+02'"],
    "timestamp": ["'0001-01-01'", "'1969-12-31 23:59:59.999999'", "'12345-01-01 10:00:00.1'", "'0044-03-15 01:02 BC'"],
    "timestamptz": [
        "'1969-12-31 23:59:59.9+00'",
        "'2026-01-01 10:00+05:30'",
        "'20000-02-29 00:00+00'",
        "'0002-01-01 BC'",
    ],
    "interval": ["'1 year -2 mons 3 days -04:05:06.789'", "'0'", "'-1 day'", "'100 hours'", "'-0.000001 s'", "'1 mon'"],
    "int4[]": ["'{1,null,-3}'", "'{ }'", "'[0:1]={1,2}'"],
    "text[]": ['\'{a,null,"NULL","","a,b","{\\\\\\\\\\"}"}\'', "array[E'x\\\\', '\"', E'\\\\\"', '[', ' é ']", "'{ }'"],
    "bool[]": ["'{t,null,f}'"],
    "bytea[]": ["array['\\x00ff'::bytea, null, '']"],
    "numeric[]": ["'{1.5,null}'"],
    "numeric(6,2)[]": ["'{1.5,null}'"],
    "date[]": ["'{2026-01-01,20000-01-01,0044-03-15 BC}'"],
    "timestamptz[]": ["'{2026-01-01 00:00+00}'"],
    "interval[]": ["'{1 year 2 days,-3 hours}'"],
    "jsonb[]": ["array['{\"a\": [1,2]}'::jsonb, null]"],
    "uuid[]": ["array['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid]"],
    "inet": ["'10.0.0.1/8'", "'10.0.0.1'", "'::1'", "'fe80::/10'"],
    "cidr": ["'10.0.0.0/8'", "'10.0.0.1'"],
    "macaddr": ["'08:00:2b:01:02:03'"],
    "money": ["'-1234.5'"],
    "xml": ["'<a b=\"1\">é</a>'"],
    "bit(4)": ["b'1010'"],
    "varbit": ["b'10'"],
    "point": ["'(1,2.5)'"],
    "tsvector": ["'a b:3'"],
    "int4range": ["'[1,5)'", "'empty'"],
    "tstzrange": ["'[2026-01-01 00:00+02,)'"],
    "int4multirange": ["'{[1,5),[7,9)}'"],
    "regclass": ["'pg_class'"],
    "{}.mood": ["'ok'"],
    "{}.mood[]": ["array['ok', 'bad']::{}.mood[]"],
    "{}.pair": ["row(1, 'x,\"y', true, '1 year'::interval, '\\x00ff'::bytea, '2026-01-01 00:00+02'::timestamptz)"],
    "{}.positive": ["5"],
    "{}.flag": ["true"],
    "{}.address": ["'10.0.0.1'"],
    "{}.amount": ["1.25"],
    "public.hstore": ["'a=>1, b=>null'"],
}
HOSTILE = "-c datestyle=SQL,DMY -c timezone=Asia/Kolkata -c bytea_output=escape -c intervalstyle=sql_standard"


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        found.run("create type {}.mood as enum ('ok', 'bad')")
        found.run("create type {}.pair as (a int, b text, c bool, d interval, e bytea, f timestamptz)")
        found.run("create domain {}.positive as int check (value > 0)")
        found.run("create domain {}.flag as bool")
        found.run("create domain {}.address as inet")
        found.run("create domain {}.amount as numeric(6,2)")
        yield found


@pytest.fixture
def log(spot: Place) -> Iterator[Stream]:
    with stream(spot) as found:
        yield found


def read(spot: Place, **settings: Any) -> pa.Table:
    source = staged(PostgresSource(PostgresSourceConfig(**{"url": spot.url, "table": spot.table("t"), **settings})))
    source.open()
    try:
        tables = [b.rows for s in splits_of(source) for b in batches_of(source, s)]
    finally:
        source.close()
    return pa.concat_tables(tables).combine_chunks()


def streamed(log: Stream, **changes: Any) -> pa.Table:
    def plan(relation: Relation) -> TablePlan:
        return log.plan(relation, **changes)

    log.start(plan)
    tables = [d.rows for d in log.decoded()]
    found = pa.concat_tables(tables)
    return found.select([n for n in found.column_names if not n.startswith("_")]).combine_chunks()


def same(left: pa.Table, right: pa.Table) -> bool:
    """Tell whether tables are equal, NaN being itself; the log knows no column but the key that is never null."""
    right = right.cast(left.schema)
    for a, b in zip(left.columns, right.columns, strict=True):
        if pa.types.is_floating(a.type):
            if list(map(repr, a.to_pylist())) != list(map(repr, b.to_pylist())):
                return False
        elif not a.equals(b):
            return False
    return True


@pytest.mark.parametrize("kind", VALUES)
def test_a_value_is_the_same_by_either_way(spot: Place, log: Stream, kind: str) -> None:
    if kind == "public.hstore":
        spot.run("create extension if not exists hstore schema public")
    spot.run(f"create table {{}}.t (id int primary key, c {kind})")
    values = [*VALUES[kind], "null"]
    spot.run("insert into {}.t values " + ", ".join(f"({n}, {v})" for n, v in enumerate(values)))
    found, wanted = streamed(log), read(spot)
    assert same(found, wanted), f"{found.column('c')} is not {wanted.column('c')}"
    assert found.num_rows == len(values)


def test_settings_of_the_server_do_not_reach_the_values(spot: Place) -> None:
    spot.run(
        "create table {}.t (id int primary key, a timestamptz, b interval, c bytea, d float8, e tstzrange, f {}.pair)"
    )
    with stream(spot, HOSTILE) as log:
        spot.run(
            "insert into {}.t values (1, '2026-02-28 14:30:01+02', '1 year -2 days', '\\x00ff', "
            "0.30000000000000004, '[2026-01-01 00:00+02,)', "
            "(1, 'x', true, '1 year -2 days', '\\x00ff', '2026-01-01 00:00+02'))"
        )
        found = streamed(log)
        assert same(found, read(spot))
        assert same(found, read(spot, url=log.config.url))
        assert found.column("f").to_pylist() == [r'(1,x,t,"1 year -2 days","\\x00ff","2025-12-31 22:00:00+00")']


AS_TEXT = ["bool", "bool[]", "inet", "interval", "timestamptz", "bytea", "numeric", "{}.flag", "date", "float8"]


@pytest.mark.parametrize("kind", AS_TEXT)
def test_a_value_as_text_is_the_text_that_the_source_reads(spot: Place, log: Stream, kind: str) -> None:
    spot.run(f"create table {{}}.t (id int primary key, c {kind})")
    special = {"numeric": "'NaN'", "date": "'infinity'", "timestamptz": "'-infinity'"}.get(kind)
    values = [*VALUES[kind], *([special] if special else []), "null"]
    spot.run("insert into {}.t values " + ", ".join(f"({n}, {v})" for n, v in enumerate(values)))
    found, wanted = streamed(log, types={"c": "string"}), read(spot, types={"c": "string"})
    assert found.column("c").to_pylist() == wanted.column("c").to_pylist()


@pytest.mark.parametrize(
    ("kind", "wanted", "value"),
    [
        ("numeric", "float64", "0.1"),
        ("numeric", "decimal(20,2)", "12.50"),
        ("numeric(12,2)", "int64", "12.00"),
        ("timestamptz", "datetime", "'2026-02-28 23:30:01.5-05'"),
        ("timestamptz", "date", "'1926-02-28 23:30:01.5-05'"),
        ("timestamp", "date", "'2026-02-28 23:30:01.5'"),
        ("timestamp", "timestamp", "'2026-02-28 23:30:01.5'"),
        ("date", "datetime", "'1926-02-28'"),
        ("date", "timestamp", "'2026-02-28'"),
        ("text", "int64", "'-12'"),
        ("text", "decimal(6,2)", "'1.5'"),
        ("text", "json", "'[1, 2]'"),
        ("text", "date", "'2026-02-28'"),
        ("text", "bool", "'true'"),
        ("int4", "int64", "-5"),
        ("int4", "decimal(12,2)", "5"),
        ("int4", "float64", "5"),
        ("float8", "float32", "0.1"),
        ("jsonb", "string", "'[1]'"),
        ("uuid[]", "list<string>", "array['a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid]"),
        ("int4[]", "list<int64>", "'{1,null}'"),
        ("int4[]", "json", "'{1,null}'"),
    ],
)
def test_a_value_of_a_type_that_was_told_is_the_one_that_the_source_reads(
    spot: Place, log: Stream, kind: str, wanted: str, value: str
) -> None:
    spot.run(f"create table {{}}.t (id int primary key, c {kind})")
    spot.run(f"insert into {{}}.t values (1, {value}), (2, null)")
    assert same(streamed(log, types={"c": wanted}), read(spot, types={"c": wanted}))


@pytest.mark.parametrize(
    ("kind", "value", "told"),
    [
        ("numeric", "'NaN'", "NaN is no decimal"),
        ("numeric", "'Infinity'", "infinity is no decimal"),
        ("numeric", "1.0000000001", "more digits than decimal"),
        ("numeric", "123456789012345678901234567890", "more digits than decimal"),
        ("timestamptz", "'infinity'", "infinity is no timestamp"),
        ("timestamp", "'-infinity'", "infinity is no datetime"),
        ("date", "'infinity'", "infinity is no date"),
        ("interval", "'infinity'", "infinity is no interval"),
        ("interval", "'2562047788 hours'", "a value is no interval"),
        ("int4[]", "'{{1,2},{3,4}}'", "several dimensions"),
        ("date[]", "'{infinity}'", "infinity is no date"),
    ],
)
def test_a_value_that_arrow_lacks_is_told_by_table_column_and_kind_alone(
    spot: Place, log: Stream, kind: str, value: str, told: str
) -> None:
    spot.run(f"create table {{}}.t (id int primary key, c {kind})")
    spot.run(f"insert into {{}}.t values (1, {value})")
    with pytest.raises(DataError, match=rf"{spot.schema}\.t\.c: .*{told}") as caught:
        streamed(log)
    assert "types: {c: string}" in caught.value.hint
    assert value.strip("'") not in caught.value.what or value == "'NaN'" or "infinity" in value
