"""The PostgreSQL source on a real server: rows come once, also while others write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.postgres import Place, place

from dataflare.connectors.postgres.settings import PostgresSourceConfig
from dataflare.connectors.postgres.source import PostgresSource
from dataflare.errors import DataError, ExternalError, WorkflowError
from dataflare.testing.source_suite import plain
from dataflare.testing.stage import batches_of, splits_of, staged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.postgres


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        yield found


@pytest.fixture
def make(spot: Place) -> Iterator[Callable[..., PostgresSource]]:
    made: list[PostgresSource] = []

    def build(mode: str = "full", **settings: Any) -> PostgresSource:
        made.append(staged(PostgresSource(PostgresSourceConfig(url=spot.url, **settings)), mode=mode))
        made[-1].open()
        return made[-1]

    yield build
    for source in made:
        source.close()


def read(source: PostgresSource, since: Any = None) -> tuple[list[dict[str, Any]], Any]:
    """Return all rows after a mark, and the mark after them."""
    found = []
    for split in splits_of(source, since):
        since = plain(split.resume)
        found += [r for b in batches_of(source, split) for r in b.rows.to_pylist()]
    return found, since


def test_tables_are_outputs_of_their_names_with_their_keys(make: Any, spot: Place) -> None:
    spot.run("create table {}.a (x int primary key)")
    spot.run("create table {}.b (y text, z int, primary key (z, y))")
    source = make(tables=[spot.table("a"), spot.table("b")])
    streams = source.streams()
    assert {n: s.key for n, s in streams.items()} == {"a": ("x",), "b": ("z", "y")}


def test_rows_that_others_write_meanwhile_never_make_one_come_twice(make: Any, spot: Place) -> None:
    spot.run("create table {}.t (id int primary key, v int)")
    spot.run("insert into {}.t select n, 0 from generate_series(1, 1000) n")
    source = make(table=spot.table("t"), fetch_rows=100)
    seen: list[int] = []
    (split,) = splits_of(source)
    for number, batch in enumerate(batches_of(source, split)):
        seen += batch.rows.column("id").to_pylist()
        spot.run("update {}.t set v = v + 1")  # every row moves to another place on disk
        spot.run("insert into {}.t values ($1, 0)", (-number,))
    assert seen == list(range(1, 1001))


def test_no_snapshot_is_held_between_statements(make: Any, spot: Place) -> None:
    spot.run("create table {}.t as select n as id from generate_series(1, 1000) n")
    spot.run("alter table {}.t add primary key (id)")
    source = make(table=spot.table("t"), fetch_rows=100)
    (split,) = splits_of(source)
    batches = iter(list(batches_of(source, split))[:1])
    next(batches)
    ((pid,),) = source.session.run("select pg_backend_pid()")
    assert spot.run("select backend_xmin is null from pg_stat_activity where pid = $1::int4", (pid,)) == [(True,)]


def test_reading_may_stop_in_the_middle_and_the_connection_serves_on(make: Any, spot: Place) -> None:
    spot.run("create table {}.t as select n as id, repeat('x', 500) as long from generate_series(1, 60000) n")
    spot.run("alter table {}.t add primary key (id)")
    source = make(table=spot.table("t"))
    (split,) = splits_of(source)
    reading = batches_of(source, split)
    first = next(reading)
    reading.close()  # type: ignore[attr-defined]
    assert first.num_rows < 60_000
    rest = sum(b.num_rows for b in batches_of(source, split, first.position))
    assert first.num_rows + rest == 60_000


def test_a_cut_connection_is_an_external_error(make: Any, spot: Place) -> None:
    spot.run("create table {}.t as select n as id, repeat('x', 500) as long from generate_series(1, 60000) n")
    spot.run("alter table {}.t add primary key (id)")
    source = make(table=spot.table("t"))
    (split,) = splits_of(source)
    reading = batches_of(source, split)
    next(reading)
    ((pid,),) = source.session.run("select pg_backend_pid()")
    spot.run("select pg_terminate_backend($1::int4)", (pid,))
    with pytest.raises(ExternalError):
        for _ in reading:
            pass


@pytest.mark.parametrize("kind", ["int", "timestamptz", "date", "numeric(10,2)", "text"])
def test_only_what_is_new_is_read(make: Any, spot: Place, kind: str) -> None:
    values = {
        "int": ["1", "2", "3"],
        "timestamptz": ["2026-01-01 00:00:00.000001+00", "2026-01-02 00:00+00", "2026-01-03 00:00+00"],
        "date": ["2026-01-01", "2026-01-02", "2026-01-03"],
        "numeric(10,2)": ["1.5", "2.25", "10"],
        "text": ["a", "b'", "c"],
    }[kind]
    spot.run(f"create table {{}}.t (id int primary key, at {kind})")

    def add(*rows: tuple[int, int]) -> None:
        for identity, value in rows:
            spot.run(f"insert into {{}}.t values ($1, $2::text::{kind})", (identity, values[value]))

    add((1, 0), (2, 1))
    spot.run("insert into {}.t values (99, null)")
    source = make("incremental", table=spot.table("t"), incremental={"cursor_field": "at"})
    first, mark = read(source)
    assert [r["id"] for r in first] == [1, 2]
    assert read(source, mark) == ([], mark)
    add((3, 1), (4, 2))
    second, mark = read(source, mark)
    assert [r["id"] for r in second] == [3, 4]
    assert read(source, mark)[0] == []


def test_a_row_that_comes_at_the_bound_after_the_window_was_made_belongs_to_the_next_run(
    make: Any, spot: Place
) -> None:
    spot.run("create table {}.t (a int, b text, at int, primary key (a, b))")
    spot.run("insert into {}.t values (1, 'x', 5), (2, 'y', 5)")
    source = make("incremental", table=spot.table("t"), incremental={"cursor_field": "at"})
    (split,) = list(splits_of(source))
    spot.run("insert into {}.t values (1, 'z', 5), (0, 'w', 4)")
    found = [r["b"] for b in batches_of(source, split) for r in b.rows.to_pylist()]
    assert found == ["w", "x", "y"]
    assert [r["b"] for r in read(source, plain(split.resume))[0]] == ["z"]


UUIDS = [f"0198f0a0-0000-7000-8000-{n:012x}" for n in range(5)]
GROWING = {
    "int2": (["1", "2", "5", "7", "9"], 4),
    "numeric": (["1.5", "2.25", "5.125", "7", "10"], 3),
    "float8": (["0.1", "0.2", "0.3", "0.4", "0.5"], 0.25),
    "date": ([f"2026-01-0{n}" for n in range(1, 6)], "2d"),
    "timestamp": ([f"2026-01-01 00:0{n}:00.{n}" for n in range(5)], "150s"),
    "timestamptz": ([f"2026-01-01 00:0{n}:00+02" for n in range(5)], "2m30s"),
    "uuid": (UUIDS, None),
    "text": (UUIDS, None),
    'text collate "und-x-icu"': (["a", "B", "c", "D", "e"], None),
}


@pytest.mark.parametrize("row_order", ["asc", "desc"])
@pytest.mark.parametrize("kind", GROWING)
def test_rows_of_each_type_come_once_with_ties_over_batches_and_runs(
    make: Any, spot: Place, kind: str, row_order: str
) -> None:
    values, lag = GROWING[kind]
    spot.run(f"create table {{}}.t (id int primary key, at {kind}, x text)")
    cast = kind.partition(" ")[0]

    def add(*rows: tuple[int, int]) -> None:
        for identity, value in rows:
            spot.run(f"insert into {{}}.t values ($1, $2::text::{cast}, 'x')", (identity, values[value]))

    incremental = {"cursor_field": "at", "row_order": row_order, **({"lag": lag} if lag is not None else {})}
    source = make("incremental", table=spot.table("t"), incremental=incremental, fetch_rows=2)
    add((1, 0), (2, 1), (3, 1), (4, 1), (5, 2))
    first, mark = read(source)
    found = [r["id"] for r in first]
    assert found == ([1, 2, 3, 4, 5] if row_order == "asc" else [5, 4, 3, 2, 1])
    assert read(source, mark) == ([], mark)
    add((6, 2), (7, 3), (8, 3), (9, 1 if lag is not None else 3))
    second, mark = read(source, mark)
    assert sorted(r["id"] for r in second) == [6, 7, 8, 9]
    assert read(source, mark)[0] == []
    ended = make(
        "incremental",
        table=spot.table("t"),
        incremental={**incremental, "cursor_value": values[1], "end_value": values[2]},
    )
    assert {r["id"] for r in read(ended)[0]} - {9} == {2, 3, 4, 5, 6}


def test_a_key_that_is_read_as_text_keeps_the_order_of_its_own_type(make: Any, spot: Place) -> None:
    spot.run("create table {}.t (id numeric(38,0) primary key, w jsonb)")
    spot.run("insert into {}.t select n from generate_series(1, 25) n")
    source = make(table=spot.table("t"), fetch_rows=4, types={"id": "string"})
    assert [r["id"] for r in read(source)[0]] == [str(n) for n in range(1, 26)]


def test_rows_without_a_value_are_read_once_where_that_is_wanted(make: Any, spot: Place) -> None:
    spot.run("create table {}.t (id int primary key, at int)")
    spot.run("insert into {}.t select n, nullif(n % 3, 0) from generate_series(1, 9) n")
    source = make(
        "incremental", table=spot.table("t"), fetch_rows=2, incremental={"cursor_field": "at", "missing": "first"}
    )
    found, mark = read(source)
    assert [r["id"] for r in found] == [3, 6, 9, 1, 4, 7, 2, 5, 8]
    assert read(source, mark) == ([], mark)


@pytest.mark.parametrize("values", ["(1), (2), (2)", "(null), (1)", "(5), (6), (null)"])
def test_a_key_of_the_users_that_does_not_tell_rows_apart_is_refused(make: Any, spot: Place, values: str) -> None:
    spot.run("create table {}.t (k int)")
    spot.run("create unique index on {}.t (k)" if "(6)" in values else "create index on {}.t (k)")
    spot.run(f"insert into {{}}.t values {values}")
    with pytest.raises(DataError, match="does not tell rows apart"):
        read(make(table=spot.table("t"), key=["k"]))


def test_a_partitioned_table_without_a_key_is_read_whole(make: Any, spot: Place) -> None:
    spot.run("create table {}.t (id int) partition by range (id)")
    spot.run("create table {}.t1 partition of {}.t for values from (0) to (10)")
    spot.run("insert into {}.t values (1), (2)")
    assert sorted(r["id"] for r in read(make(table=spot.table("t")))[0]) == [1, 2]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"table": "nothing_of_that_name"}, "there is no table"),
        ({"query": "select * frm x"}, "syntax error"),
        ({"query": "select 1 as a, 2 as a"}, "two columns a|specified more than once"),
        ({"query": "select 1 as a", "key": ["b"]}, "no column b"),
        ({"query": "select 1 as a", "types": {"b": "string"}}, "types names b"),
        ({"mode": "incremental", "query": "select 1 as a"}, "needs a column that grows"),
        ({"mode": "incremental", "query": "select 1 as a", "incremental": {"cursor_field": "z"}}, "has no column z"),
        ({"mode": "incremental", "query": "select 1 as a", "incremental": {"cursor_field": "a"}}, "needs a key"),
    ],
)
def test_what_is_not_there_is_told(make: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(WorkflowError, match=message):
        make(**settings)


def test_a_hostile_name_is_a_name(make: Any, spot: Place) -> None:
    spot.run('create table {}."t""; drop table x; --" (id int primary key, "c""; select 1; --" text)')
    spot.run('insert into {}."t""; drop table x; --" values (1, $1)', ("it's",))
    source = make(table=f'{spot.schema}."t""; drop table x; --"')
    assert read(source)[0] == [{"id": 1, 'c"; select 1; --': "it's"}]


def test_a_text_key_with_quotes_is_a_position_like_any_other(make: Any, spot: Place) -> None:
    spot.run("create table {}.t (k text primary key)")
    for value in ("a'", "b\\", 'c"', "d'; drop table t; --"):
        spot.run("insert into {}.t values ($1)", (value,))
    assert len(read(make(table=spot.table("t"), fetch_rows=1))[0]) == 4
