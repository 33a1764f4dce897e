"""The DuckDB source reads every type, by parts, by key and by what is new, and tells what does not fit."""

from __future__ import annotations

import datetime as dt
import subprocess
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest

from dataflare.component.context import ReadHints
from dataflare.connectors.duckdb.lookup import DuckdbLookup
from dataflare.connectors.duckdb.settings import DuckdbLookupConfig, DuckdbSourceConfig
from dataflare.connectors.duckdb.source import DuckdbSource
from dataflare.errors import DataError, DataFlareError, UnavailableError, WorkflowError
from dataflare.sql.quoting import literal
from dataflare.testing.stage import batches_of, splits_of, staged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

KINDS = [
    ("hugeint", "170141183460469231731", "decimal(38,0)", Decimal(170141183460469231731)),
    ("uuid", "6f1c0a52-1b6f-4c7a-9d1e-0d6f3f6b8a11", "string", "6f1c0a52-1b6f-4c7a-9d1e-0d6f3f6b8a11"),
    ("enum('a', 'b')", "b", "string", "b"),
    ("bit", "0101", "string", "0101"),
    (
        "timestamp_ns",
        "2026-01-01 00:00:00.123456489",
        "datetime",
        dt.datetime.fromisoformat("2026-01-01T00:00:00.123456"),
    ),
    ("timestamp_s", "2026-01-01 00:00:01", "datetime", dt.datetime.fromisoformat("2026-01-01T00:00:01")),
    ("time with time zone", "10:00:00+02", "string", "10:00:00+02"),
    ("integer[2]", "[1, 2]", "list<int32>", [1, 2]),
    ("uuid[]", "[6f1c0a52-1b6f-4c7a-9d1e-0d6f3f6b8a11]", "list<string>", ["6f1c0a52-1b6f-4c7a-9d1e-0d6f3f6b8a11"]),
    ("json", '{"a": [1]}', "json", '{"a": [1]}'),
    (
        'struct(a integer, "b c" date)',
        "{'a': 1, 'b c': 2026-01-01}",
        'struct<a: int32, "b c": date>',
        {"a": 1, "b c": dt.date(2026, 1, 1)},
    ),
]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., DuckdbSource]]:
    made: list[DuckdbSource] = []

    def build(context: dict[str, Any] | None = None, **settings: Any) -> DuckdbSource:
        source = staged(
            DuckdbSource(DuckdbSourceConfig(**{"path": "lake.duckdb", **settings})), tmp_path, **context or {}
        )
        made.append(source)
        try:
            source.open()
        except DataFlareError:
            source.close()  # as the engine does
            raise
        return source

    yield build
    for source in made:
        source.close()


def script(folder: Path, sql: str) -> None:
    with duckdb.connect(folder / "lake.duckdb") as connection:
        connection.execute(sql)


def read(source: DuckdbSource, since: Any = None) -> list[dict[str, Any]]:
    batches = (b for s in splits_of(source, since) for b in batches_of(source, s))
    return [row for batch in batches for row in batch.rows.to_pylist()]


@pytest.mark.parametrize(("kind", "text", "told", "value"), KINDS, ids=[k[0] for k in KINDS])
def test_types_that_arrow_lacks_are_the_nearest_that_there_are(
    make: Any, tmp_path: Path, kind: str, text: str, told: str, value: Any
) -> None:
    script(tmp_path, f"create table t (v {kind}); insert into t values (cast({literal(text)} as {kind}))")
    source = make(table="t")
    assert [c.type for c in source.context.schemas[""]] == [told]
    assert read(source) == [{"v": value}]


def test_a_number_too_wide_and_a_time_without_end_are_told_with_a_cure_that_works(make: Any, tmp_path: Path) -> None:
    wide = f"{10**38}::hugeint"
    script(tmp_path, f"create table t as select {wide} as n, 'infinity'::timestamp as at")
    for column in ("n", "at"):
        with pytest.raises(DataError) as caught:
            read(make(query=f'select "{column}" from t'))
        assert "10000000000" not in str(caught.value)
    assert read(make(table="t", types={"n": "string", "at": "string"})) == [{"n": "1" + "0" * 38, "at": "infinity"}]


def test_a_value_that_is_not_of_its_told_type_is_refused_without_being_shown(make: Any, tmp_path: Path) -> None:
    script(tmp_path, "create table t as select 'secret' as n union all select '7'")
    with pytest.raises(DataError, match="a value of n is no int64") as caught:
        read(make(table="t", types={"n": "int64"}))
    assert "secret" not in str(caught.value)
    rows = read(make({"on_error": "skip"}, table="t", columns={"n": "int64"}))
    assert rows[0] == {"n": 7}


def test_parts_are_whole_row_groups_and_nothing_is_lost_between_them(make: Any, tmp_path: Path) -> None:
    script(tmp_path, "create table t as select range as id, range % 7 as b from range(400000)")
    script(tmp_path, "delete from t where id % 3 = 0")
    source = make({"hints": ReadHints(columns=("b",))}, table="t", split_rows=130_000)
    splits = list(splits_of(source))
    assert len(splits) == 2
    assert splits[1].data["rows"][0] % 122_880 == 0
    rows = read(source)
    assert len(rows) == 266_666
    assert set(rows[0]) == {"b"}


def test_a_column_named_rowid_is_not_mistaken_for_the_row_id(make: Any, tmp_path: Path) -> None:
    script(tmp_path, "create table t as select 'b' as \"RowId\", 1 as v union all select 'a', 2")
    assert sorted(r["v"] for r in read(make(table="t"))) == [1, 2]


def test_a_key_that_does_not_tell_rows_apart_is_refused(make: Any, tmp_path: Path) -> None:
    script(tmp_path, "create table t as select 1 as a, 2 as b union all select 1, 3 union all select null, 3")
    for key, what in (("a", "a row has none"), ("b", "two rows have the same")):
        with pytest.raises(DataError, match=what):
            read(make(table="t", key=[key]))


def test_what_is_new_is_read_once(make: Any, tmp_path: Path) -> None:
    script(tmp_path, "create table t (id int primary key, moment timestamptz, note varchar)")
    script(
        tmp_path,
        "insert into t select n, timestamptz '2026-01-01 00:00:00Z' + to_minutes(n // 3), 'x' from range(10) r(n)",
    )
    settings: Any = {"table": "t", "incremental": {"cursor_field": "moment"}}
    first = make({"mode": "incremental"}, **settings)
    (split,) = splits_of(first)
    assert sum(b.num_rows for b in batches_of(first, split)) == 10
    first.close()
    script(tmp_path, "insert into t values (10, '2026-01-01 00:03:00Z', 'same'), (11, '2026-02-01 00:00:00Z', 'later')")
    second = make({"mode": "incremental"}, **settings)
    assert [r["id"] for r in read(second, split.resume)] == [10, 11]


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        ({"table": "absent"}, "there is no table absent"),
        ({"query": "delete from t"}, "not one SELECT"),
        ({"query": "select 1; select 2"}, "not one SELECT"),
        ({"query": "select 1) as q; drop table t; select * from (select 2"}, "syntax error"),
        ({"query": "select * from read_csv('/etc/passwd')"}, "reaches outside"),
        ({"table": "t", "key": ["absent"]}, "no column absent"),
        ({"table": "t", "types": {"absent": "int64"}}, "types names absent"),
    ],
)
def test_what_cannot_be_read_is_told(make: Any, tmp_path: Path, settings: dict[str, Any], what: str) -> None:
    script(tmp_path, "create table t as select 1 as id")
    with pytest.raises((WorkflowError, UnavailableError), match=what):
        make(**settings)
    assert read(make(table="t")) == [{"id": 1}]


def test_a_hint_names_the_tables_that_there_are(make: Any, tmp_path: Path) -> None:
    script(tmp_path, "create schema s; create table s.mine (a int); create view other as select 1 as a")
    with pytest.raises(WorkflowError) as caught:
        make(table="absent")
    assert caught.value.hint == "there are: other, s.mine"


def test_several_tables_are_outputs_of_their_names(make: Any, tmp_path: Path) -> None:
    script(tmp_path, "create table a as select 1 as x; create schema s; create table s.b as select 'y' as y")
    source = make(tables=["a", "s.b"])
    streams = {b.stream: b.rows.to_pylist() for s in splits_of(source) for b in batches_of(source, s)}
    assert streams == {"a": [{"x": 1}], "b": [{"y": "y"}]}


def test_others_may_read_what_is_read_only(make: Any, tmp_path: Path) -> None:
    script(tmp_path, "create table t as select 1 as id")
    source = make(table="t")
    code = "import duckdb, sys; print(duckdb.connect(sys.argv[1], read_only=True).sql('select id from t').fetchall())"
    told = [sys.executable, "-c", code, str(tmp_path / "lake.duckdb")]
    assert subprocess.run(told, capture_output=True, text=True, check=True, timeout=60).stdout == "[(1,)]\n"
    assert read(source) == [{"id": 1}]


def test_a_file_that_is_only_readable_can_be_read(make: Any, tmp_path: Path) -> None:
    script(tmp_path, "create table t as select 1 as id")
    (tmp_path / "lake.duckdb").chmod(0o444)
    tmp_path.chmod(0o555)
    try:
        assert read(make(table="t")) == [{"id": 1}]
    finally:
        tmp_path.chmod(0o755)


def test_a_log_that_a_killed_writer_left_is_read(make: Any, tmp_path: Path) -> None:
    code = "import duckdb, os, sys; c = duckdb.connect(sys.argv[1]); c.execute('create table t as select 1 as id')"
    code += "; os._exit(9)"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "lake.duckdb")], check=False, timeout=60)
    assert (tmp_path / "lake.duckdb.wal").exists()
    assert read(make(table="t")) == [{"id": 1}]


def test_keys_are_looked_up_in_one_statement(tmp_path: Path) -> None:
    script(
        tmp_path,
        "create table c as select range as id, 'n' || range as name, date '2026-01-01' as since from range(100)",
    )
    found = staged(
        DuckdbLookup(DuckdbLookupConfig(path="lake.duckdb", table="c", columns={"id": "int64", "name": "string"})),
        tmp_path,
    )
    rows = found.find(pa.table({"id": pa.array([3, 5, 777, None], pa.int64())}))
    assert sorted(rows.to_pylist(), key=lambda r: r["id"]) == [{"id": 3, "name": "n3"}, {"id": 5, "name": "n5"}]
    assert found.find(pa.table({"id": pa.array([7], pa.int64()), "name": ["n7"]})).num_rows == 1
    found.close()


def test_a_table_is_held_to_the_declared_columns(make: Any, tmp_path: Path) -> None:
    script(tmp_path, "create table t as select 1 as id, 'a' as new")
    columns = {"id": "int64", "x": "int64"}
    with pytest.raises(DataError, match="table lacks 'x'; it has 'id', 'new'"):
        make({"contract": {"columns": "freeze"}}, table="t", columns=columns)
    loose = make({"contract": {"columns": "evolve"}}, table="t", columns=columns)
    assert read(loose) == [{"id": 1, "x": None}]
    loose.close()
    script(tmp_path, "alter table t add column x int")
    with pytest.raises(DataError, match="does not know: 'new'"):
        make({"contract": {"columns": "freeze"}}, table="t", columns=columns)


def test_rows_that_do_not_fit_are_put_aside_whole_with_the_reason(make: Any, tmp_path: Path) -> None:
    script(tmp_path, "create table t as select 1 as id, '7' as x union all select 2, 'many' union all select 3, null")
    source = make({"on_error": "dead_letter"}, table="t", columns={"id": "int64", "x": "int64"})
    batches = [b for s in splits_of(source) for b in batches_of(source, s)]
    good = [row for b in batches if b.stream == "" for row in b.rows.to_pylist()]
    bad = [row for b in batches if b.stream == "errors" for row in b.rows.to_pylist()]
    assert good == [{"id": 1, "x": 7}, {"id": 3, "x": None}]
    assert [row["error"] for row in bad] == ["column 'x' is not int64"]
    assert "many" in str(bad[0])
