"""SQL text is put together safely: names in quotes, values as parameters, types that keep what they hold."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflare.errors import DataError, WorkflowError
from dataflare.schema import Column, Schema
from dataflare.sql import postgres_types, sqlite_types
from dataflare.sql.ddl import add_column, check_key, create_table, merged_schemas, missing
from dataflare.sql.dialect import Table
from dataflare.sql.fitting import cast_column, conformed
from dataflare.sql.naming import Owner, attempt_of, fresh_table, stage_table
from dataflare.sql.postgres_types import POSTGRES
from dataflare.sql.quoting import literal, quoted, split_name, written
from dataflare.sql.sqlite_types import SQLITE
from dataflare.sql.writing import Move, insert, move

NAMES = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), min_size=1, max_size=20)


@given(NAMES, st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=20))
def test_any_name_and_any_text_stay_what_they_are(name: str, text: str) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"create table {quoted('t' + name)} ({quoted('c' + name)} text)")
        connection.execute(f"insert into {quoted('t' + name)} values ({literal(text)})")
        cursor = connection.execute(f"select * from {quoted('t' + name)}")
        assert cursor.description[0][0] == "c" + name
        assert cursor.fetchall() == [(text,)]


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_a_name_that_no_column_can_have_is_refused(name: str) -> None:
    with pytest.raises(WorkflowError):
        quoted(name)


def test_a_name_that_the_server_would_cut_is_refused() -> None:
    assert POSTGRES.quote("é" * 31) == f'"{"é" * 31}"'
    with pytest.raises(WorkflowError, match="longer than 63 bytes"):
        POSTGRES.quote("é" * 32)
    assert SQLITE.quote("x" * 500)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("orders", ("", "orders")),
        ("public.orders", ("public", "orders")),
        ('"a.b".c', ("a.b", "c")),
        ('shop."Or""ders"', ("shop", 'Or"ders')),
    ],
)
def test_a_table_is_read_with_its_schema(text: str, found: tuple[str, str]) -> None:
    assert split_name(text) == found


@pytest.mark.parametrize("text", ["a.b.c", "", ".a", "a.", '"a'])
def test_what_is_no_table_is_refused(text: str) -> None:
    with pytest.raises(WorkflowError, match="is not a table"):
        split_name(text)


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("int8", "smallint"),
        ("uint64", "numeric(20,0)"),
        ("decimal(12,2)", "numeric(12,2)"),
        ("string", "text"),
        ("timestamp", "timestamp with time zone"),
        ("datetime", "timestamp without time zone"),
        ("list<int64>", "bigint[]"),
        ("list<decimal(4,2)>", "numeric(4,2)[]"),
        ("list<list<int64>>", "jsonb"),
        ("struct<a: int64>", "jsonb"),
        ("map<string, int64>", "jsonb"),
    ],
)
def test_postgres_gets_a_column_that_holds_the_type(text: str, column: str) -> None:
    assert postgres_types.column_type(text) == column


@pytest.mark.parametrize(
    ("name", "modifier", "text"),
    [
        ("int4", -1, "int32"),
        ("numeric", 786438, "decimal(12,2)"),
        ("numeric", -1, "decimal(38,9)"),
        ("numeric", ((60 << 16) | 2) + 4, "string"),
        ("numeric", ((5 << 16) | (2048 - 2)) + 4, "string"),
        ("_text", -1, "list<string>"),
        ("_numeric", -1, "list<decimal(38,9)>"),
        ("_uuid", -1, "string"),
        ("oid", -1, "int64"),
        ("inet", -1, "string"),
        ("unnamed<oid:16519>", -1, "string"),
    ],
)
def test_a_type_of_postgres_is_read_as_one_of_ours(name: str, modifier: int, text: str) -> None:
    assert postgres_types.type_text(name, modifier) == text


KEPT = ["bool", "int16", "int32", "int64", "uint8", "uint32", "float32", "float64", "decimal(12,2)", "decimal(30,4)"]


@pytest.mark.parametrize("text", [*KEPT, "string", "binary", "date", "time", "timestamp", "datetime", "json"])
def test_sqlite_remembers_the_type(text: str) -> None:
    assert sqlite_types.type_text(sqlite_types.column_type(text)) == text


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        ("int", "int64"),
        ("TINYINT(1)", "int64"),
        ("varchar(20)", "string"),
        ("Double Precision", "float64"),
        ("numeric(10, 2)", "decimal(10,2)"),
        ("NUMERIC", "float64"),
        ("blob", "binary"),
        ("", "string"),
    ],
)
def test_declared_types_of_others_are_read_by_affinity(declared: str, text: str) -> None:
    assert sqlite_types.type_text(declared) == text


@pytest.mark.parametrize("text", ["decimal(30,4)", "json", "list<int64>", "string", "interval"])
def test_text_that_looks_like_a_number_stays_text_in_sqlite(text: str) -> None:
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.execute(f"create table t (c {sqlite_types.column_type(text)})")
        connection.execute("insert into t values ('1.50')")
        assert connection.execute("select c from t").fetchone() == ("1.50",)


def test_a_table_is_made_for_a_schema() -> None:
    schema = Schema((Column("id", "int64"), Column('na"me', "string", nullable=False), Column("n", "decimal(5,1)")))
    made = create_table(POSTGRES, Table("t", "s"), schema, ["id"])
    assert made == (
        'create table if not exists "s"."t" ("id" bigint not null, "na""me" text not null, "n" numeric(5,1), '
        'primary key ("id"))'
    )
    assert (
        add_column(SQLITE, Table("t"), Column("a", "bool", nullable=False)) == 'alter table "t" add column "a" BOOLEAN'
    )
    assert [c.name for c in missing(schema, ["id"])] == ['na"me', "n"]


def test_a_key_must_be_among_the_columns() -> None:
    with pytest.raises(WorkflowError, match="key column nr is not among"):
        check_key(Schema.of({"id": "int64"}), ["nr"], "out")


def test_inputs_may_differ_in_columns_but_not_in_types() -> None:
    one, two = Schema.of({"a": "int64"}), Schema.of({"a": "int64", "b": "string"})
    assert merged_schemas({"0": one, "1": two}, "out").names == ["a", "b"]
    with pytest.raises(WorkflowError, match="disagree on a: int64 and string"):
        merged_schemas({"0": one, "1": Schema.of({"a": "string"})}, "out")


def test_statements_have_parameters_for_values() -> None:
    assert insert(POSTGRES, Table("t"), ["a", "b"]) == 'insert into "t" ("a", "b") values ($1, $2)'
    assert insert(SQLITE, Table("t"), ["a"]) == 'insert into "t" ("a") values (?1)'


def test_a_merge_takes_the_last_row_of_each_key() -> None:
    stage, target = Table("s"), Table("t")
    text = move(POSTGRES, Move(("id", "v"), ("id",), mode="merge"), stage, target)
    assert text == (
        'insert into "t" as t0 ("id", "v") select "id", "v" from "s" where _dataflare_n in '
        '(select max(_dataflare_n) from "s" group by "id") '
        'on conflict ("id") do update set "v" = excluded."v"'
    )
    assert "where true on conflict" in move(
        POSTGRES, Move(("id", "v"), ("id",), mode="merge"), stage, target, unique=True
    )
    assert move(SQLITE, Move(("id",), ("id",), mode="merge"), stage, target).endswith('on conflict ("id") do nothing')
    cast = move(POSTGRES, Move(("id",), (), {"id": 'cast("id" as uuid)'}), stage, target)
    assert cast == 'insert into "t" as t0 ("id") select cast("id" as uuid) from "s"'


def test_names_of_our_own_tables_are_short_and_told_apart() -> None:
    owner = Owner("default", "a workflow with a long name", "a node with a very long name indeed")
    name = stage_table(owner, 123456, 1234567, "12_345")
    assert len(name.encode()) <= postgres_types.IDENTIFIER_BYTES_MAX
    assert attempt_of(name, owner) == 123456
    other = Owner("default", "another", owner.node)
    assert attempt_of(name, other) is None
    assert fresh_table(owner) != fresh_table(other)


def test_a_value_that_does_not_fit_is_an_error_that_does_not_show_it() -> None:
    column = pa.chunked_array([[1, 4711]])
    with pytest.raises(DataError, match="qty does not fit table t as int8") as caught:
        cast_column(column, pa.int8(), "qty", "table t")
    assert "4711" not in str(caught.value)


def test_rows_are_brought_into_the_order_of_the_table() -> None:
    schema = Schema.of({"a": "int64", "b": "string"}).to_arrow()
    rows = conformed(pa.table({"b": ["x"]}), schema, Table("t"))
    assert rows.schema.equals(schema)
    assert rows.to_pylist() == [{"a": None, "b": "x"}]


@given(NAMES, NAMES)
def test_a_table_is_written_as_it_is_read(schema: str, name: str) -> None:
    assert split_name(written(schema, name)) == (schema, name)
    assert split_name(str(Table(name))) == ("", name)
    assert str(Table("we.ird", "public")) == 'public."we.ird"'
