"""Every type goes through a real PostgreSQL and comes back, or is refused with the cure."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from tests.postgres import Place, place

from dataflare.batch import Batch
from dataflare.component import Epoch
from dataflare.connectors.postgres.destination import PostgresDestination
from dataflare.connectors.postgres.settings import PostgresDestinationConfig, PostgresSourceConfig
from dataflare.connectors.postgres.source import PostgresSource
from dataflare.errors import DataError, WorkflowError
from dataflare.plan_words import Mechanism
from dataflare.schema import Schema
from dataflare.testing.stage import batches_of, splits_of, staged

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.postgres

UTC = dt.datetime(2026, 2, 28, 12, 30, 1, 5, tzinfo=dt.UTC)
MOMENT = UTC.replace(tzinfo=None)


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        yield found


def read(spot: Place, **settings: Any) -> tuple[dict[str, str], list[dict[str, Any]]]:
    source = staged(PostgresSource(PostgresSourceConfig(url=spot.url, **settings)))
    source.open()
    try:
        types = {c.name: c.type for c in source.context.schemas[""]}
        return types, [r for s in splits_of(source) for b in batches_of(source, s) for r in b.rows.to_pylist()]
    finally:
        source.close()


def write(
    spot: Place, schema: dict[str, str], values: list[Any], mechanism: Mechanism = Mechanism.DIRECT, **changes: Any
) -> None:
    columns = Schema.of(schema)
    destination = staged(
        PostgresDestination(PostgresDestinationConfig(url=spot.url, table=spot.table("out"))),
        schemas={"0": columns},
        mechanism=mechanism,
        **changes,
    )
    try:
        destination.open()
        records = [dict.fromkeys(schema, v) if not isinstance(v, dict) else v for v in values]
        destination.write(Batch.of(records, schema=columns.to_arrow()))
        destination.commit(Epoch(1, 1), destination.prepare(Epoch(1, 1)))
    finally:
        destination.close()


BACK = [
    ("bool", True, "bool"),
    ("int8", -5, "int16"),
    ("int16", -300, "int16"),
    ("int32", 2**31 - 1, "int32"),
    ("int64", -(2**63), "int64"),
    ("uint8", 255, "int16"),
    ("uint16", 65535, "int32"),
    ("uint32", 2**32 - 1, "int64"),
    ("uint64", 2**64 - 1, "decimal(20,0)"),
    ("float32", 1.5, "float32"),
    ("float64", 0.1, "float64"),
    ("decimal(12,2)", Decimal("-1234567890.12"), "decimal(12,2)"),
    ("decimal(38,9)", Decimal("12345678901234567890123456789.123456789"), "decimal(38,9)"),
    ("string", "é'\"\\\n\t", "string"),
    ("string", "", "string"),
    ("binary", b"\x00\xff", "binary"),
    ("date", dt.date(1, 1, 1), "date"),
    ("date", dt.date(9999, 12, 31), "date"),
    ("time", MOMENT.time(), "time"),
    ("timestamp", UTC, "timestamp"),
    ("timestamp", dt.datetime(1, 1, 1, tzinfo=dt.UTC), "timestamp"),
    ("datetime", MOMENT, "datetime"),
    ("interval", pa.MonthDayNano([14, 3, 4_000_000_000]), "interval"),
    ("json", '{"a": [1, null]}', "json"),
    ("list<int64>", [1, None, 3], "list<int64>"),
    ("list<string>", [], "list<string>"),
    ("list<timestamp>", [UTC], "list<timestamp>"),
    ("list<decimal(6,2)>", [Decimal("1.25")], "list<decimal(6,2)>"),
    ("struct<a: int64, b: string>", {"c": {"a": 1, "b": "x"}}, "json"),
    ("list<list<int64>>", [[1], []], "json"),
]


@pytest.mark.parametrize("mechanism", [Mechanism.DIRECT, Mechanism.STAGED])
@pytest.mark.parametrize(("text", "value", "back"), BACK, ids=[f"{t}-{n}" for n, (t, _, _) in enumerate(BACK)])
def test_a_value_comes_back_as_it_was(spot: Place, text: str, value: Any, back: str, mechanism: Mechanism) -> None:
    record = value if isinstance(value, dict) else {"c": value}
    write(spot, {"c": text}, [record, {"c": None}], mechanism)
    types, rows = read(spot, table=spot.table("out"))
    assert types == {"c": back}
    assert rows[1] == {"c": None}
    if back != "json":
        assert rows[0] == record
    else:
        assert rows[0]["c"].replace(" ", "") in ('{"a":[1,null]}', '{"a":1,"b":"x"}', "[[1],[]]")


READ = [
    ("numeric", "12345678901234567890.123456789", "decimal(38,9)", Decimal("12345678901234567890.123456789")),
    ("numeric(60,2)", "1", "string", "1.00"),
    ("varchar(5)", "'abc'", "string", "abc"),
    ("char(5)", "'abc'", "string", "abc  "),
    ('"char"', "'a'", "string", "a"),
    ("name", "'abc'", "string", "abc"),
    ("uuid", "'00000000-0000-0000-0000-00000000002a'", "string", "00000000-0000-0000-0000-00000000002a"),
    (
        "uuid[]",
        "array['00000000-0000-0000-0000-00000000002a'::uuid]",
        "string",
        "{00000000-0000-0000-0000-00000000002a}",
    ),
    ("numeric[]", "'{1.5,null}'", "list<decimal(38,9)>", [Decimal("1.500000000"), None]),
    ("text[]", "'{a,null}'", "list<string>", ["a", None]),
    ("bool[]", "'{t,f}'", "list<bool>", [True, False]),
    ("inet", "'10.0.0.1/8'", "string", "10.0.0.1/8"),
    ("money", "'12.5'", "string", "$12.50"),
    ("xml", "'<a/>'", "string", "<a/>"),
    ("bit(4)", "b'1010'", "string", "1010"),
    ("point", "'(1,2)'", "string", "(1,2)"),
    ("int4range", "'[1,5)'", "string", "[1,5)"),
    ("timetz", "'12:00:00+02'", "string", "12:00:00+02"),
    ("tsvector", "'a b'", "string", "'a' 'b'"),
    ("oid", "4294967295", "int64", 4294967295),
    ("jsonb", "'{\"b\": 1}'", "json", '{"b": 1}'),
    ("json", "'{\"b\":  1}'", "json", '{"b":  1}'),
    ("interval", "'1 year -2 days'", "interval", pa.MonthDayNano([12, -2, 0])),
    ("timestamptz", "'2026-02-28 14:30:01.000005+02'", "timestamp", UTC),
    ("{}.mood", "'ok'", "string", "ok"),
    ("{}.mood[]", "array['ok']::{}.mood[]", "string", "{ok}"),
    ("{}.pair", "row(1, 'x')", "string", "(1,x)"),
    ("{}.positive", "5", "int32", 5),
]


@pytest.mark.parametrize(("column", "value", "text", "found"), READ, ids=[r[0].replace("{}.", "") for r in READ])
def test_a_column_of_any_type_can_be_read(spot: Place, column: str, value: str, text: str, found: Any) -> None:
    spot.run("create type {}.mood as enum ('ok', 'bad')")
    spot.run("create type {}.pair as (a int, b text)")
    spot.run("create domain {}.positive as int check (value > 0)")
    spot.run(f"create table {{}}.t (id int primary key, c {column})")
    spot.run(f"insert into {{}}.t values (1, {value}), (2, null)")
    types, rows = read(spot, table=spot.table("t"))
    assert types["c"] == text
    assert rows == [{"id": 1, "c": found}, {"id": 2, "c": None}]


@pytest.mark.parametrize(
    ("column", "value", "told", "shown"),
    [
        ("numeric", "'NaN'", "a value of c is no decimal", "NaN"),
        ("numeric", "1.0000000001", "a value of c is no decimal", "1.0000000001"),
        ("timestamptz", "'infinity'", "c holds infinity", "infinity"),
        ("timestamp", "'-infinity'", "c holds infinity", "-infinity"),
        ("date", "'infinity'", "c holds infinity", "infinity"),
        ("date", "'-infinity'", "c holds infinity", "-infinity"),
    ],
)
def test_a_value_that_arrow_lacks_is_told_and_can_be_read_as_text(
    spot: Place, column: str, value: str, told: str, shown: str
) -> None:
    spot.run(f"create table {{}}.t (id int primary key, c {column})")
    spot.run(f"insert into {{}}.t values (1, {value})")
    with pytest.raises(DataError, match=told):
        read(spot, table=spot.table("t"))
    assert read(spot, table=spot.table("t"), types={"c": "string"})[1] == [{"id": 1, "c": shown}]


@pytest.mark.parametrize("column", ["int[]", "numeric[]"])
def test_an_array_of_two_dimensions_is_never_flattened(spot: Place, column: str) -> None:
    spot.run(f"create table {{}}.t (id int primary key, c {column})")
    spot.run("insert into {}.t values (1, '{1}'), (2, '{{1,2},{3,4}}')")
    with pytest.raises(DataError, match="2-dimensional array in column c") as found:
        read(spot, table=spot.table("t"))
    assert "types: {c: string}" in found.value.hint
    assert read(spot, table=spot.table("t"), types={"c": "json"})[1][1]["c"] == "{{1,2},{3,4}}"


def test_a_value_that_fails_behind_the_first_rows_is_the_fault_of_the_data(spot: Place) -> None:
    query = (
        "select n as id, case when n < 300000 then '1' else 'private' end::int as v from generate_series(1, 300000) n"
    )
    with pytest.raises(DataError, match="invalid input syntax for type integer") as found:
        read(spot, query=query)
    assert "private" not in str(found.value)


AS_IT_IS = {"policy": "ignore"}
"""The table stays what it is, so that values must be fitted to it."""

FITS = [
    ("int64", 5, "int2", "5"),
    ("int64", 5, "numeric(12,2)", "5.00"),
    ("int32", 5, "float8", "5"),
    ("int64", 5, "text", "5"),
    ("float64", 5.0, "int4", "5"),
    ("float64", 0.125, "numeric(6,3)", "0.125"),
    ("decimal(12,4)", Decimal("1.2300"), "numeric(5,2)", "1.23"),
    ("decimal(12,2)", Decimal("7.00"), "int8", "7"),
    ("string", "00000000-0000-0000-0000-00000000002a", "uuid", "00000000-0000-0000-0000-00000000002a"),
    ("string", '{"a": 1}', "jsonb", '{"a": 1}'),
    ("string", "ok", "{}.mood", "ok"),
    ("string", "10.0.0.1/8", "inet", "10.0.0.1/8"),
    ("string", "2026-01-01", "date", "2026-01-01"),
    ("json", '{"a": 1}', "text", '{"a": 1}'),
    ("json", '{"a":1}', "json", '{"a":1}'),
    ("struct<a: int64>", {"c": {"a": 1}}, "json", '{"a":1}'),
    ("list<int64>", [1, 2], "int4[]", "{1,2}"),
    ("list<int64>", [1, 2], "jsonb", "[1, 2]"),
    ("string", "abc", "varchar(5)", "abc"),
    ("datetime", MOMENT, "timestamptz", "2026-02-28 12:30:01.000005+00"),
    ("null", None, "int4", None),
]


@pytest.mark.parametrize("mode", ["append", "merge", "staged"])
@pytest.mark.parametrize(("text", "value", "column", "shown"), FITS, ids=[f"{f[0]} to {f[2]}" for f in FITS])
def test_a_value_is_fitted_to_the_column_that_is_there(
    spot: Place, text: str, value: Any, column: str, shown: str | None, mode: str
) -> None:
    spot.run("create type {}.mood as enum ('ok', 'bad')")
    spot.run(f"create table {{}}.out (k int primary key, c {column})")
    record = {"k": 1, **(value if isinstance(value, dict) else {"c": value})}
    mechanism = Mechanism.STAGED if mode == "staged" else Mechanism.DIRECT
    changes = {"write_mode": "merge", "key": ("k",)} if mode == "merge" else {}
    write(spot, {"k": "int64", "c": text}, [record], mechanism, ddl=AS_IT_IS, **changes)
    spot.run("set timezone = 'UTC'")
    assert spot.run("select k, c::text from {}.out") == [(1, shown)]


REFUSED = [
    ("int64", 40_000, "int2", "c does not fit"),
    ("float64", 0.5, "int4", "c does not fit"),
    ("decimal(12,4)", Decimal("1.2345"), "numeric(5,2)", "c does not fit"),
    ("string", "abcdef", "varchar(5)", "value too long"),
    ("string", "no uuid", "uuid", "invalid input syntax for type uuid"),
    ("string", "{bad", "jsonb", "invalid input syntax for type json"),
    ("string", "sad", "{}.mood", "invalid input value for enum"),
    ("string", "a\0b", "text", "0x00"),
    ("int64", None, "int8 not null", "violates not-null constraint"),
    ("int64", -1, "int8 check (c > 0)", "violates check constraint"),
]


@pytest.mark.parametrize(("text", "value", "column", "told"), REFUSED, ids=[f"{f[0]} to {f[2]}" for f in REFUSED])
def test_a_value_that_does_not_fit_fails_and_is_not_shown(
    spot: Place, text: str, value: Any, column: str, told: str
) -> None:
    spot.run("create type {}.mood as enum ('ok', 'bad')")
    spot.run(f"create table {{}}.out (c {column})")
    with pytest.raises(DataError, match=told) as caught:
        write(spot, {"c": text}, [value], ddl=AS_IT_IS)
    assert value is None or str(value) not in str(caught.value).replace("0x00", "")
    assert spot.run("select count(*) from {}.out") == [(0,)]


@pytest.mark.parametrize("case", REFUSED[:3], ids=[f"{f[0]} to {f[2]}" for f in REFUSED[:3]])
def test_what_waits_in_a_staging_table_is_not_rounded_either(spot: Place, case: tuple[str, Any, str, str]) -> None:
    text, value, column, _ = case
    spot.run(f"create table {{}}.out (c {column})")
    with pytest.raises(DataError):
        write(spot, {"c": text}, [value], Mechanism.STAGED, ddl=AS_IT_IS)
    assert spot.run("select count(*) from {}.out") == [(0,)]


def test_a_type_that_no_cast_leads_to_is_the_workflows_fault(spot: Place) -> None:
    spot.run("create table {}.out (c bool)")
    with pytest.raises(WorkflowError, match="type boolean"):
        write(spot, {"c": "date"}, [dt.date(2026, 1, 1)])


def test_floats_that_are_no_numbers_are_kept(spot: Place) -> None:
    write(spot, {"c": "float64"}, [math.inf, -math.inf, math.nan])
    _, rows = read(spot, table=spot.table("out"))
    assert [str(r["c"]) for r in rows] == ["inf", "-inf", "nan"]
