"""Bytes of COPY pass from table to table: every row once, from every position, into every kind of target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from tests.postgres import Place, place

from dataflare.batch import Encoded
from dataflare.component import Epoch
from dataflare.component.context import ReadHints
from dataflare.connectors.postgres import passing
from dataflare.connectors.postgres.copying import CODEC, CopySession
from dataflare.connectors.postgres.destination import PostgresDestination
from dataflare.connectors.postgres.settings import PostgresDestinationConfig, PostgresSourceConfig
from dataflare.connectors.postgres.source import PostgresSource
from dataflare.errors import DataError, DataFlareError, StateError, UnavailableError, WorkflowError
from dataflare.plan_words import Mechanism
from dataflare.testing.source_suite import plain
from dataflare.testing.stage import batches_of, splits_of, staged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dataflare.batch import Batch

pytestmark = pytest.mark.postgres
HINTS = ReadHints(codec=CODEC)


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        yield found


@pytest.fixture
def source(spot: Place) -> Iterator[Callable[..., PostgresSource]]:
    made: list[PostgresSource] = []

    def build(mode: str = "full", **settings: Any) -> PostgresSource:
        told = {"table": spot.table("t"), **settings} if "query" not in settings else settings
        made.append(staged(PostgresSource(PostgresSourceConfig(url=spot.url, **told)), mode=mode, hints=HINTS))
        made[-1].open()
        return made[-1]

    yield build
    for one in made:
        one.close()


@pytest.fixture
def target(spot: Place) -> Iterator[Callable[..., PostgresDestination]]:
    made: list[PostgresDestination] = []

    def build(like: PostgresSource, table: str = "out", **changes: Any) -> PostgresDestination:
        config = PostgresDestinationConfig(url=spot.url, table=spot.table(table), lock_timeout="2s")
        changes = {"mechanism": Mechanism.DIRECT, "node": table, "schemas": {"0": like.context.schemas[""]}, **changes}
        made.append(staged(PostgresDestination(config), hints=HINTS, **changes))
        made[-1].open()
        return made[-1]

    yield build
    for one in made:
        one.close()


def parts(source: PostgresSource) -> list[tuple[Any, Batch]]:
    """Return each batch with its split, the split as a checkpoint would keep it."""
    found = []
    for split in splits_of(source):
        found += [(split, batch) for batch in batches_of(source, split)]
    assert all(isinstance(b.payload, Encoded) and b.payload.codec == CODEC for _, b in found)
    return found


def load(target: PostgresDestination, *batches: Batch, number: int = 1) -> None:
    for batch in batches:
        target.write(batch)
    epoch = Epoch(number, target.context.attempt)
    target.commit(epoch, target.prepare(epoch))


def rows(spot: Place, table: str, columns: str = "t.*") -> list[Any]:
    return spot.run(f"select ({columns})::text from {{}}.{table} t order by 1")


TABLES = {
    "dense": ("id int primary key, v text", "select n, 'v' || n from generate_series(-20, 80) n", {}),
    "sparse": ("id bigint primary key, v text", "select n * n * 100000, n from generate_series(0, 60) n", {}),
    "text": ('k text collate "C" primary key, v int', "select 'it''s ' || n % 90, n from generate_series(0, 89) n", {}),
    "pair": (
        "a int, b text, v int, primary key (b, a)",
        "select n % 9, 'b' || n % 7, n from generate_series(0, 62) n",
        {},
    ),
    "blocks": ("n int, filler char(900)", "select n, n from generate_series(1, 700) n", {}),
    "query": ("id int primary key, v int", "select n, n from generate_series(1, 50) n", {"key": ["id"]}),
}


@pytest.mark.parametrize("kind", TABLES)
def test_every_row_passes_once_from_every_position(
    spot: Place, source: Any, target: Any, kind: str, monkeypatch: Any
) -> None:
    columns, values, settings = TABLES[kind]
    monkeypatch.setattr(passing, "BLOCKS", 20)
    spot.run(f"create table {{}}.t ({columns})")
    spot.run(f"insert into {{}}.t {values}")
    spot.run("analyze {}.t")
    told = {"fetch_rows": 7, "split_rows": 30, **settings}
    if kind == "query":
        told["query"] = f"select * from {spot.table('t')} where id > 0"
    reader = source(**told)
    assert reader.streams()[""].codecs == (CODEC,)
    found = parts(reader)
    assert len(found) > 3
    load(target(reader), *(b for _, b in found))
    assert rows(spot, "out") == rows(spot, "t")

    for number, (split, batch) in enumerate(found[:6]):
        rest = [b for s, b in found[number + 1 :] if s.id == split.id]
        again = list(batches_of(reader, split, plain(batch.position)))
        assert sum(b.num_rows for b in again) == sum(b.num_rows for b in rest)
        until = list(batches_of(reader, split, None, plain(batch.position)))
        load(target(reader, f"again_{number}"), *until, *again)
        load(target(reader, f"whole_{number}"), *(b for s, b in found if s.id == split.id))
        assert rows(spot, f"again_{number}") == rows(spot, f"whole_{number}")


def test_only_what_is_new_passes(spot: Place, source: Any, target: Any) -> None:
    spot.run("create table {}.t (id int primary key, at int)")
    spot.run("insert into {}.t select n, n / 3 from generate_series(1, 30) n")
    reader = source(mode="incremental", incremental={"cursor_field": "at"}, fetch_rows=4)
    (first,) = splits_of(reader)
    load(target(reader), *batches_of(reader, first))
    spot.run("insert into {}.t select n, n / 3 from generate_series(31, 40) n")
    (second,) = splits_of(reader, plain(first.resume))
    load(target(reader), *batches_of(reader, second), number=2)
    assert rows(spot, "out") == rows(spot, "t")


def test_a_part_that_is_too_large_is_read_in_smaller_ones(
    spot: Place, source: Any, target: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(passing, "BATCH_BYTES", 20_000)
    monkeypatch.setattr(passing, "BATCH_BYTES_MAX", 40_000)
    spot.run("create table {}.t (id int primary key, v text)")
    spot.run(
        "insert into {}.t select n, repeat('x', case when n > 300 then 9000 else 5 end) from generate_series(1, 320) n"
    )
    reader = source()
    found = parts(reader)
    assert max(len(b.payload.data) for _, b in found) <= 40_000  # type: ignore[union-attr]
    load(target(reader), *(b for _, b in found))
    assert rows(spot, "out") == rows(spot, "t")
    spot.run("update {}.t set v = repeat('x', 50000) where id = 17")
    with pytest.raises(DataError, match="a row of"):
        parts(reader)


TYPES = (
    "i2 int2, i4 int4, f4 float4, f8 float8, n numeric(12,4), t text, vc varchar(9), bc char(5), nm name, b bool, "
    "by bytea, d date, tm time, ts timestamp, tz timestamptz, iv interval, js json, jb jsonb, u uuid, ip inet, "
    "ia int[], ta varchar(4)[], mood mood, oo oid, x xml"
)
VALUES = (
    "(1, -2, 3, 1.5, 'NaN', 12345678.1234, E'é\\'\"\\n', 'var', 'ch', 'nam', true, '\\x00ff', 'infinity', "
    "'12:34:56.789', '-infinity', '2026-01-01 00:00:00+02', '1 mon 2 days 3.5 s', '{\"a\":  1}', '{\"b\": [null]}', "
    "'6f1c1b06-0c1c-4b2e-9c43-111111111111', '10.0.0.1/8', '{1,null,3}', '{a,\"b c\"}', 'glad', 4000000000, '<a/>')"
)


@pytest.mark.parametrize("made", [False, True])
@pytest.mark.parametrize("mechanism", [Mechanism.DIRECT, Mechanism.STAGED])
def test_values_of_every_type_pass_as_they_are(
    spot: Place, source: Any, target: Any, mechanism: Mechanism, made: bool
) -> None:
    spot.run("create type {}.mood as enum ('sad', 'glad')")
    types = TYPES.replace("mood mood", f"mood {spot.table('mood')}")
    nulls = ", ".join(["(2" + ", null" * 25 + ")"])
    spot.run(f"create table {{}}.t (id int primary key, {types})")
    spot.run(f"insert into {{}}.t values {VALUES}, {nulls}")
    if made:
        spot.run(f"create table {{}}.out (id int primary key, {types})")
    reader = source()
    load(target(reader, mechanism=mechanism), *(b for _, b in parts(reader)))
    same = "t.*" if made else "id, i2, i4, f4, f8, n, t, vc, nm, b, by, d, tm, ts, tz, iv, js::jsonb, jb, ia, ta"
    assert rows(spot, "out", f"row({same})") == rows(spot, "t", f"row({same})")


@pytest.mark.parametrize("mechanism", [Mechanism.DIRECT, Mechanism.STAGED])
@pytest.mark.parametrize(
    "case",
    [
        ("numeric(12,4)", "numeric(10,2)", "1.2500", "1.2345"),
        ("bigint", "int", "7", "3000000000"),
        ("float8", "int", "7", "7.5"),
        ("timestamp", "date", "2026-01-01", "2026-01-01 10:00"),
        ("timestamptz", "timestamp(0)", "2026-01-01 00:00:00Z", "2026-01-01 00:00:00.5Z"),
        ("text", "varchar(3)", "abc", "abcd"),
        ("int", "varchar(3)", "123", "1234"),
        ("text", "uuid", "6f1c1b06-0c1c-4b2e-9c43-111111111111", "secret-words"),
        ("int", "float4", "7", None),
        ("float8", "numeric(5,1)", "0.25", None),
        ("json", "text", "[1]", None),
        ("int[]", "bigint[]", "{1,2}", None),
        ("numeric(6,2)[]", "numeric(6,1)[]", "{1.50,null}", "{1.25}"),
    ],
)  # fmt: skip
def test_a_value_fits_the_column_that_is_there_or_fails_and_nothing_is_lost(
    spot: Place, source: Any, target: Any, mechanism: Mechanism, case: tuple[str, str, str, str | None]
) -> None:
    mine, theirs, value, bad = case
    spot.run(f"create table {{}}.t (id int primary key, c {mine})")
    spot.run(f"create table {{}}.out (id int, c {theirs})")
    spot.run(f"insert into {{}}.t values (1, '{value}'), (2, null)")
    reader = source()
    load(target(reader, mechanism=mechanism, ddl={"policy": "ignore"}), *(b for _, b in parts(reader)))
    same = f"select o.c::text = t.c::{theirs}::text from {{}}.out o join {{}}.t t using (id) where id = 1"
    assert spot.run(same) == [(True,)]
    if bad is not None:
        spot.run(f"insert into {{}}.t values (3, '{bad}')")
        second = target(reader, mechanism=mechanism, ddl={"policy": "ignore"})
        with pytest.raises(DataError) as failure:
            load(second, *(b for _, b in parts(reader)), number=2)
        assert bad not in str(failure.value)
        second.close()
        assert spot.run("select count(*)::int from {}.out") == [(2,)]


@pytest.mark.parametrize("mechanism", [Mechanism.DIRECT, Mechanism.STAGED])
def test_rows_are_merged_the_last_of_a_key_wins(spot: Place, source: Any, target: Any, mechanism: Mechanism) -> None:
    spot.run("create table {}.t (n int primary key, id int, v text)")
    spot.run("insert into {}.t select n, n % 10, 'v' || n from generate_series(1, 50) n")
    spot.run("create table {}.out (n int, id int primary key, v text)")
    spot.run("insert into {}.out values (0, 3, 'old'), (0, 77, 'other')")
    reader = source(fetch_rows=20)
    load(target(reader, mechanism=mechanism, write_mode="merge", key=("id",)), *(b for _, b in parts(reader)))
    found = spot.run("select id, v from {}.out order by id")
    assert found == [(0, "v50"), *((n, f"v{n + 40}") for n in range(1, 10)), (77, "other")]


@pytest.mark.parametrize("mechanism", [Mechanism.DIRECT, Mechanism.STAGED])
@pytest.mark.parametrize("mode", ["merge", "insert_only"])
def test_a_row_without_its_key_is_refused(
    spot: Place, source: Any, target: Any, mechanism: Mechanism, mode: str
) -> None:
    spot.run("create table {}.t (id int, v text)")
    spot.run("insert into {}.t values (1, 'a'), (null, 'b')")
    spot.run("create table {}.out (id int unique, v text)")
    read = source()
    with pytest.raises(DataError, match='null value in column "id"'):
        load(target(read, write_mode=mode, key=("id",), mechanism=mechanism), *(b for _, b in parts(read)))
    assert rows(spot, "out") == []


def test_overwrite_takes_the_place_of_the_table(spot: Place, source: Any, target: Any) -> None:
    spot.run("create table {}.t (id int primary key)")
    spot.run("insert into {}.t select generate_series(1, 9)")
    spot.run("create table {}.out (id int)")
    spot.run("insert into {}.out values (100)")
    reader = source()
    destination = target(reader, write_mode="overwrite")
    load(destination, *(b for _, b in parts(reader)))
    assert rows(spot, "out") == [("(100)",)]
    destination.finish()
    assert rows(spot, "out") == rows(spot, "t")


def test_what_would_be_rounded_or_has_no_ranges_is_not_offered(spot: Place, source: Any) -> None:
    spot.run("create table {}.t (id int primary key, n numeric)")
    spot.run("create view {}.v as select 1 as id")
    spot.run("create table {}.p (id int primary key, n numeric(9,2))")
    assert source().streams()[""].codecs == ()
    assert source(table=spot.table("v")).streams()[""].codecs == ()
    assert source(table=spot.table("p")).streams()[""].codecs == (CODEC,)
    assert source(table=spot.table("p"), types={"n": "decimal(9,1)"}).streams()[""].codecs == ()
    plain_url = PostgresSourceConfig(url=f"{spot.url}?gssencmode=disable", table=spot.table("p"))
    assert staged(PostgresSource(plain_url)).streams()[""].codecs == ()


def test_a_table_that_changed_since_the_plan_is_told(spot: Place, source: Any) -> None:
    spot.run("create table {}.t (id int primary key, v int)")
    spot.run("insert into {}.t values (1, 2)")
    stale = source()
    spot.run("alter table {}.t alter column v type float8")
    stale.close()
    stale.open()
    with pytest.raises(WorkflowError, match="changed since"):
        parts(stale)


def test_a_count_that_is_not_the_servers_is_an_error(spot: Place, source: Any, target: Any) -> None:
    spot.run("create table {}.t (id int primary key)")
    spot.run("insert into {}.t values (1), (2)")
    reader = source()
    ((_, batch),) = parts(reader)
    wrong = batch.replace(Encoded(batch.payload.data, CODEC, 3))  # type: ignore[union-attr]
    with pytest.raises(StateError, match="took 2 rows of 3"):
        load(target(reader), wrong)


def test_tls_that_is_asked_for_is_verified_and_the_password_is_not_shown(spot: Place) -> None:
    begin = spot.url.partition("?")[0]
    for mode in ("require", "verify-full"):
        config = PostgresSourceConfig(url=f"{begin}?sslmode={mode}", table="t")
        with pytest.raises(DataFlareError, match=r"TLS|SSL") as failure:
            CopySession(config, "dataflare test")
        assert config.scrubbed(str(failure.value)) == str(failure.value)
    wrong = PostgresSourceConfig(url=spot.url, password="hunter22", table="t")
    with pytest.raises(UnavailableError, match="check user and password") as refused:
        CopySession(wrong, "dataflare test")
    assert "hunter22" not in str(refused.value)
