"""The DuckDB destination writes each row once, keeps every type, and says what is wrong with a file."""

from __future__ import annotations

import datetime as dt
import sqlite3
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb
import pyarrow as pa
import pytest
from tests.duckdb_files import looked

from dataflare.batch import Batch
from dataflare.component import Epoch
from dataflare.connectors.duckdb.destination import DuckdbDestination
from dataflare.connectors.duckdb.settings import DuckdbDestinationConfig, DuckdbSourceConfig
from dataflare.connectors.duckdb.source import DuckdbSource
from dataflare.errors import DataError, DataFlareError, ExternalError, FencedError, UnavailableError, WorkflowError
from dataflare.plan_words import Mechanism
from dataflare.schema import Schema
from dataflare.testing.stage import batches_of, splits_of, staged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCHEMA = Schema.of({"id": "int64", "name": "string"})
HOLD = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
TYPES = {
    "bool": [True, None],
    "int8": [-128, 127],
    "uint64": [2**64 - 1, 0],
    "float32": [1.5, None],
    "float64": [0.1, float("inf")],
    "decimal(38,10)": [Decimal("1234567890123456789012345678.0123456789"), Decimal("-0.5")],
    "decimal(12,2)": [Decimal("-0.01"), None],
    "string": ["naïve 'quote\" ü\n", ""],
    "binary": [b"\x00\xff", b""],
    "date": [dt.date(1, 1, 1), dt.date(9999, 12, 31)],
    "time": [dt.time(23, 59, 59, 999999), dt.time()],
    "timestamp": [dt.datetime(2026, 1, 2, 3, 4, 5, 678901, dt.UTC), None],
    "datetime": [dt.datetime.fromisoformat("1969-12-31T23:59:59.000001"), None],
    "json": ['{"a": [1, null]}', None],
    "list<list<int32>>": [[[1, None], None], []],
    "struct<a: int8, 'b c': decimal(5,2)>".replace("'", '"'): [{"a": 1, "b c": Decimal("1.25")}, None],
    "map<string, timestamp>": [[("k", dt.datetime(2026, 1, 1, tzinfo=dt.UTC))], []],
}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., DuckdbDestination]]:
    made: list[DuckdbDestination] = []

    def build(schema: Schema = SCHEMA, settings: dict[str, Any] | None = None, **changes: Any) -> DuckdbDestination:
        config = DuckdbDestinationConfig(**{"path": "lake.duckdb", "table": "out", **(settings or {})})
        changes = {"mechanism": Mechanism.DIRECT, "schemas": {"0": schema}, **changes}
        destination = staged(DuckdbDestination(config), tmp_path, **changes)
        made.append(destination)
        try:
            destination.open()
        except DataFlareError:
            destination.close()  # as the engine does
            raise
        return destination

    yield build
    for destination in made:
        destination.close()


def rows(*pairs: tuple[Any, ...]) -> Batch:
    return Batch(pa.table([[p[0] for p in pairs], [p[1] for p in pairs]], schema=SCHEMA.to_arrow()))


def query(folder: Path, sql: str) -> list[Any]:
    return looked(folder / "lake.duckdb", sql)


def script(folder: Path, sql: str) -> None:
    with duckdb.connect(folder / "lake.duckdb") as connection:
        connection.execute(sql)


def commit(destination: DuckdbDestination, number: int, *pairs: tuple[Any, ...]) -> None:
    if pairs:
        destination.write(rows(*pairs))
    epoch = Epoch(number, destination.context.attempt)
    destination.commit(epoch, destination.prepare(epoch))


# ---- exactly once -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mechanism", [Mechanism.DIRECT, Mechanism.STAGED])
@pytest.mark.parametrize("mode", ["append", "merge"])
def test_a_zombie_cannot_commit_after_a_newer_attempt_took_over(
    make: Any, tmp_path: Path, mechanism: Mechanism, mode: str
) -> None:
    told = {"mechanism": mechanism, "write_mode": mode, "key": ("id",) if mode == "merge" else ()}
    zombie = make(attempt=1, **told)
    zombie.write(rows((1, "old")))
    handles = zombie.prepare(Epoch(1, 1))
    successor = make(attempt=2, **told)
    with pytest.raises((FencedError, ExternalError)):
        zombie.commit(Epoch(1, 1), handles)
    with pytest.raises(FencedError):
        zombie.open()
    commit(successor, 1, (1, "new"))
    assert query(tmp_path, "select * from out") == [(1, "new")]
    assert successor.last_epoch() == Epoch(1, 2)


def test_a_transaction_goes_on_in_another_thread(make: Any, tmp_path: Path) -> None:
    destination = make()
    steps = (
        lambda: destination.write(rows((1, "a"))),
        lambda: destination.prepare(Epoch(1, 1)),
        lambda: destination.commit(Epoch(1, 1), []),
    )
    for step in steps:
        thread = threading.Thread(target=step)
        thread.start()
        thread.join()
    assert query(tmp_path, "select * from out") == [(1, "a")]


def test_destinations_of_one_file_share_it_at_the_same_time(make: Any, tmp_path: Path) -> None:
    def fill(number: int) -> None:
        mechanism = Mechanism.STAGED if number % 2 else Mechanism.DIRECT
        destination = make(node=f"n{number}", settings={"table": f"t{number % 3}"}, mechanism=mechanism)
        for epoch in (1, 2):
            commit(destination, epoch, *((n, f"{number}") for n in range(1000)))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(fill, range(6)))
    for table in range(3):
        assert query(tmp_path, f"select count(*), count(distinct name) from t{table}") == [(4000, 2)]


def test_a_file_that_is_read_is_opened_anew_for_who_writes(make: Any, tmp_path: Path) -> None:
    script(tmp_path, "create table t as select range as id from range(100000)")
    source = staged(
        DuckdbSource(DuckdbSourceConfig(path="lake.duckdb", table="t", split_rows=50_000, batch_rows=10_000)), tmp_path
    )
    source.open()
    first, second = splits_of(source)
    assert sum(b.num_rows for b in batches_of(source, first)) == 50_000
    destination = make(settings={"table": "copy"})
    commit(destination, 1, (1, "a"))
    reading = iter(batches_of(source, second))
    assert next(reading).num_rows
    commit(destination, 2, (2, "b"))
    assert sum(b.num_rows for b in reading)
    source.close()
    assert query(tmp_path, "select count(*) from copy") == [(2,)]


def test_a_file_in_the_middle_of_being_read_is_not_taken_away(make: Any, tmp_path: Path) -> None:
    script(tmp_path, "create table t as select range as id from range(300000)")
    source = staged(DuckdbSource(DuckdbSourceConfig(path="lake.duckdb", table="t")), tmp_path)
    source.open()
    reading = iter(batches_of(source, *splits_of(source)))
    got = next(reading).num_rows
    with pytest.raises(ExternalError, match="being read by another workflow"):
        make()
    assert got + sum(b.num_rows for b in reading) == 300_000
    source.close()
    commit(make(), 1, (1, "a"))


@pytest.mark.parametrize("damage", ["cut", "garbage", "half"])
def test_a_torn_log_loses_nothing_that_was_committed(tmp_path: Path, damage: str) -> None:
    code = """
import os, sys
sys.path.insert(0, sys.argv[2])
from pathlib import Path
from tests.unit.connectors.test_duckdb_destination import *
d = staged(DuckdbDestination(DuckdbDestinationConfig(path="lake.duckdb", table="out")), Path(sys.argv[1]),
           mechanism=Mechanism.DIRECT, schemas={"0": SCHEMA})
d.open()
commit(d, 1, (1, "a"))
print(os.path.getsize(sys.argv[1] + "/lake.duckdb.wal"), flush=True)
commit(d, 2, (2, "b"))
os._exit(9)
"""
    told = [sys.executable, "-c", code, str(tmp_path), str(Path.cwd())]
    whole = int(subprocess.run(told, capture_output=True, text=True, check=False, timeout=60).stdout)
    log = tmp_path / "lake.duckdb.wal"
    assert log.stat().st_size > whole
    data = log.read_bytes()
    log.write_bytes(
        {"cut": data[:-3], "garbage": data + b"\x07" * 100, "half": data[: (whole + len(data)) // 2]}[damage]
    )
    committed = 2 if damage == "garbage" else 1
    found = query(tmp_path, "select id from out order by id")
    assert found == [(n + 1,) for n in range(committed)]
    assert query(tmp_path, "select epoch from _dataflare_epochs") == [(committed,)]


# ---- values -------------------------------------------------------------------------------------------------------


def test_every_type_is_kept_and_read_back_as_it_was(make: Any, tmp_path: Path) -> None:
    schema = Schema.of({f"c{n}": kind for n, kind in enumerate(TYPES)})
    told = pa.table([pa.array(v, f.type) for v, f in zip(TYPES.values(), schema.to_arrow(), strict=True)], schema.names)
    destination = make(schema, mechanism=Mechanism.STAGED)
    destination.write(Batch(told))
    commit(destination, 1)
    name, config = DuckdbDestination.read_back({"path": "lake.duckdb", "table": "out"}, schema)
    assert name == "duckdb"
    for given in (config, {"path": "lake.duckdb", "table": "out"}):
        source = staged(DuckdbSource(DuckdbSourceConfig(**given)), tmp_path)
        source.open()
        (batch,) = (b for s in splits_of(source) for b in batches_of(source, s))
        source.close()
        assert [str(c) for c in source.context.schemas[""]] == [str(c) for c in schema]
        assert batch.rows.to_pylist() == told.to_pylist()


@pytest.mark.parametrize(
    ("kind", "text", "fits", "not_so"),
    [
        ("int", "float64", 3.0, 3.5),
        ("decimal(5,1)", "decimal(9,4)", Decimal("1.5000"), Decimal("1.5500")),
        ("date", "datetime", dt.datetime.fromisoformat("2026-01-01"), dt.datetime.fromisoformat("2026-01-01T01:00")),
        ("int", "string", "12", "12.5"),
        ("tinyint", "int64", 100, 300),
        ("uuid", "string", "6f1c0a52-1b6f-4c7a-9d1e-0d6f3f6b8a11", "secret"),
        ("enum('a', 'b')", "string", "a", "secret"),
    ],
)
def test_a_value_that_a_column_would_round_or_cannot_take_is_refused(
    make: Any, tmp_path: Path, kind: str, text: str, fits: Any, not_so: Any
) -> None:
    script(tmp_path, f"create table out (v {kind})")
    schema = Schema.of({"v": text})
    destination = make(schema, ddl={"policy": "ignore"})
    destination.write(Batch(pa.table([pa.array([fits, None], schema.to_arrow().field(0).type)], ["v"])))
    commit(destination, 1)
    destination.write(Batch(pa.table([pa.array([not_so], schema.to_arrow().field(0).type)], ["v"])))
    with pytest.raises(DataError) as caught:
        commit(destination, 2)
    assert "secret" not in str(caught.value)
    assert query(tmp_path, "select count(*) from out") == [(2,)]


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_a_key_that_comes_twice_is_told_without_its_value(make: Any, tmp_path: Path, mode: str) -> None:
    script(tmp_path, "create table out (id bigint, name varchar primary key)")
    destination = make(write_mode=mode)
    destination.write(rows((1, "secret"), (2, "secret")))
    with pytest.raises(DataError) as caught:  # noqa: PT012 - either finds it
        commit(destination, 1)
        destination.finish()
    assert "secret" not in str(caught.value)
    assert query(tmp_path, "select count(*) from out") == [(0,)]


# ---- tables -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("definition", "keeps"),
    [
        ("create table out (id bigint, name varchar)", False),
        ("create table out (id bigint primary key, name varchar)", True),
        ("create table out (id bigint, name varchar default 'x')", True),
        ("create table out (id bigint, name varchar, twice bigint generated always as (id * 2))", True),
        ("create table out (id bigint, name varchar); create index i on out (id)", True),
        ("create table out (id bigint, name varchar); comment on column out.id is 'mine'", True),
    ],
)
def test_overwrite_keeps_what_hangs_on_the_table(make: Any, tmp_path: Path, definition: str, keeps: bool) -> None:
    script(tmp_path, f"{definition}; insert into out (id, name) values (7, 'old'); create view v as select id from out")
    of = "from duckdb_tables() where table_name = 'out'"
    facts = f"select sql, index_count, (select max(comment) from duckdb_columns()) {of}"
    before, was = query(tmp_path, facts), query(tmp_path, f"select table_oid {of}")
    destination = make(write_mode="overwrite")
    commit(destination, 1, (1, "a"), (2, "b"))
    assert query(tmp_path, "select id from v") == [(7,)]
    destination.finish()
    assert query(tmp_path, "select id, name from out") == [(1, "a"), (2, "b")]
    assert query(tmp_path, "select id from v") == [(1,), (2,)]
    assert query(tmp_path, facts) == before
    assert (query(tmp_path, f"select table_oid {of}") == was) is keeps


def test_a_schema_is_named_before_the_table_and_must_be_there(make: Any, tmp_path: Path) -> None:
    with pytest.raises(WorkflowError, match="no schema sales") as caught:
        make(settings={"table": "sales.orders"})
    assert "create schema sales" in caught.value.hint
    script(tmp_path, "create schema sales")
    commit(make(settings={"table": "sales.orders"}, write_mode="merge", key=("id",)), 1, (1, "a"), (1, "b"))
    assert query(tmp_path, "select * from sales.orders") == [(1, "b")]
    assert query(tmp_path, "select epoch from sales._dataflare_epochs") == [(1,)]


def test_a_merge_needs_a_key_of_the_table(make: Any, tmp_path: Path) -> None:
    script(tmp_path, 'create table out (id bigint, name varchar, "a, b" int)')
    with pytest.raises(WorkflowError, match="no unique index on id"):
        make(write_mode="merge", key=("id",))
    script(tmp_path, 'create unique index one on out ("a, b"); create unique index two on out (id)')
    commit(make(write_mode="merge", key=("id",)), 1, (1, "a"))


# ---- files --------------------------------------------------------------------------------------------------------


def _refusal(make: Any) -> DataFlareError:
    with pytest.raises(DataFlareError) as caught:
        make()
    return caught.value


def test_a_file_that_another_program_has_open_is_told_with_its_name(make: Any, tmp_path: Path) -> None:
    script(tmp_path, "create table t (a int)")
    told = [sys.executable, "-c", HOLD, str(tmp_path / "lake.duckdb")]
    with subprocess.Popen(told, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        error = _refusal(make)
        assert isinstance(error, ExternalError)
        assert f"PID {other.pid}" in error.what
        assert "one program at a time" in error.hint
        other.communicate("")
    commit(make(), 1, (1, "a"))


def test_what_is_no_database_is_told(make: Any, tmp_path: Path) -> None:
    path = tmp_path / "lake.duckdb"
    path.write_text("id,name\n1,a\n")
    assert "it is no DuckDB database" in _refusal(make).what
    path.write_bytes(b"")
    assert "it is no DuckDB database" in _refusal(make).what
    path.unlink()
    sqlite3.connect(path).execute("create table t (a)").connection.close()
    assert "it is no DuckDB database" in _refusal(make).what
    path.unlink()
    path.mkdir()
    assert isinstance(_refusal(make), UnavailableError)


@pytest.mark.parametrize("damage", ["header", "cut"])
def test_a_damaged_file_is_told(make: Any, tmp_path: Path, damage: str) -> None:
    script(tmp_path, "create table t as select range as a from range(100000)")
    path = tmp_path / "lake.duckdb"
    data = bytearray(path.read_bytes())
    if damage == "header":
        data[100:200] = b"\x07" * 100
    path.write_bytes(data if damage == "header" else data[: len(data) // 2])
    error = _refusal(make)
    assert isinstance(error, UnavailableError)
    assert "damaged" in error.what


def test_a_file_of_an_older_version_is_written_to(make: Any, tmp_path: Path) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"attach '{tmp_path / 'lake.duckdb'}' as old (storage_version 'v1.0.0')")
        connection.execute("create table old.out (id bigint, name varchar)")
    commit(make(), 1, (1, "a"))
    assert query(tmp_path, "select * from out") == [(1, "a")]


def test_a_file_or_folder_that_is_not_there_is_told(make: Any) -> None:
    with pytest.raises(UnavailableError, match="there is no folder"):
        make(settings={"path": "absent/lake.duckdb"})
    with pytest.raises(UnavailableError, match="there is no file"):
        make(settings={"create": False})


def test_a_session_reaches_nothing_but_its_file(make: Any, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text("a\n1\n")
    session = make().session
    for sql in (
        f"select * from read_csv('{tmp_path / 'in.csv'}')",
        f"attach '{tmp_path / 'other.duckdb'}'",
        f"copy out to '{tmp_path / 'out.csv'}'",
        "set threads = 4",
        "install httpfs",
        "load httpfs",
    ):
        with pytest.raises(DataFlareError):
            session.run(sql)
    assert {p.name for p in tmp_path.iterdir()} - {"lake.duckdb.wal"} == {"in.csv", "lake.duckdb"}
