"""The PostgreSQL destination on a real server: fences, merges, swaps, and what the server refuses."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.postgres import Place, place

from dataflare.batch import Batch
from dataflare.component import Epoch
from dataflare.connectors.postgres.destination import PostgresDestination
from dataflare.connectors.postgres.settings import PostgresDestinationConfig
from dataflare.errors import DataFlareError, ExternalError, FencedError, StateError, UnavailableError, WorkflowError
from dataflare.plan_words import Mechanism
from dataflare.schema import Schema
from dataflare.testing.stage import staged

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.postgres

SCHEMA = Schema.of({"id": "int64", "name": "string"})


@pytest.fixture
def spot() -> Iterator[Place]:
    with place() as found:
        yield found


@pytest.fixture
def make(spot: Place) -> Iterator[Callable[..., PostgresDestination]]:
    made: list[PostgresDestination] = []

    def build(schema: Schema = SCHEMA, settings: dict[str, Any] | None = None, **changes: Any) -> PostgresDestination:
        told = {"url": spot.url, "table": spot.table("out"), "lock_timeout": "500ms", **(settings or {})}
        changes = {"mechanism": Mechanism.DIRECT, "schemas": {"0": schema}, **changes}
        made.append(staged(PostgresDestination(PostgresDestinationConfig(**told)), **changes))
        made[-1].open()
        return made[-1]

    yield build
    for destination in made:
        destination.close()


def rows(*pairs: tuple[Any, Any]) -> Batch:
    return Batch.of(({"id": i, "name": n} for i, n in pairs), schema=SCHEMA.to_arrow())


def commit(destination: PostgresDestination, number: int, *pairs: tuple[Any, Any]) -> None:
    if pairs:
        destination.write(rows(*pairs))
    epoch = Epoch(number, destination.context.attempt)
    destination.commit(epoch, destination.prepare(epoch))


def content(spot: Place) -> list[Any]:
    return spot.run("select id, name from {}.out order by 1, 2")


def test_a_zombie_that_wrote_everything_cannot_commit(make: Any, spot: Place) -> None:
    zombie = make(attempt=1)
    zombie.write(rows((1, "old")))
    zombie.prepare(Epoch(1, 1))
    successor = make(attempt=2)
    with pytest.raises(FencedError):
        zombie.commit(Epoch(1, 1), [])
    commit(successor, 1, (1, "new"))
    assert content(spot) == [(1, "new")]


def test_a_successor_waits_for_a_commit_that_is_under_way_and_sees_it(make: Any, spot: Place) -> None:
    first = make(attempt=1, settings={"lock_timeout": "0s"})
    first.write(rows((1, "a")))
    first.prepare(Epoch(1, 1))
    first._epochs.write(Epoch(1, 1), 1)  # all of the commit but its last statement
    opened: list[PostgresDestination] = []
    thread = threading.Thread(target=lambda: opened.append(make(attempt=2, settings={"lock_timeout": "0s"})))
    thread.start()
    thread.join(0.3)
    assert not opened, "the fence was raised through an open commit"
    first.session.commit()
    thread.join()
    assert opened[0].last_epoch() == Epoch(1, 1)


def test_the_rows_of_an_epoch_and_its_row_come_together(make: Any, spot: Place) -> None:
    destination = make()
    destination.write(rows((1, "a")))
    destination.prepare(Epoch(1, 1))
    assert content(spot) == []
    assert spot.run("select epoch from {}._dataflare_epochs") == [(0,)]
    destination.commit(Epoch(1, 1), [])
    assert content(spot) == [(1, "a")]
    assert spot.run("select tenant, workflow, node, fence, epoch, attempt from {}._dataflare_epochs") == [
        ("default", "test", "node", 1, 1, 1)
    ]


@pytest.mark.parametrize("mechanism", [Mechanism.DIRECT, Mechanism.STAGED])
def test_a_merge_keeps_the_last_row_of_a_key(make: Any, spot: Place, mechanism: Mechanism) -> None:
    destination = make(write_mode="merge", key=("id",), mechanism=mechanism)
    commit(destination, 1, (1, "a"), (2, "b"), (1, "c"))
    commit(destination, 2, (2, "d"), (3, "e"), (3, None))
    assert content(spot) == [(1, "c"), (2, "d"), (3, None)]


def test_the_parts_of_one_epoch_are_merged_in_their_order(make: Any, spot: Place) -> None:
    destination = make(write_mode="merge", key=("id",), mechanism=Mechanism.STAGED)
    handles = []
    for name in ("first", "second"):
        destination.write(rows((1, "x"), (1, name)))
        handles += destination.prepare(Epoch(1, 1))
    destination.commit(Epoch(1, 1), handles)
    assert content(spot) == [(1, "second")]
    assert spot.run(
        "select count(*) from pg_tables where schemaname = $1::text and tablename like '%stage%'", (spot.schema,)
    ) == [(0,)]


def test_staged_rows_survive_a_crash_of_the_server(make: Any, spot: Place) -> None:
    destination = make(mechanism=Mechanism.STAGED)
    destination.write(rows((1, "a")))
    (handle,) = destination.prepare(Epoch(1, 1))
    sql = "select relpersistence::text from pg_class where relname = $1::text"
    assert spot.run(sql, (handle["table"],)) == [("p",)]  # logged: an unlogged table is empty after a crash


def test_staged_rows_that_are_gone_are_told(make: Any, spot: Place) -> None:
    destination = make(mechanism=Mechanism.STAGED)
    destination.write(rows((1, "a")))
    (handle,) = destination.prepare(Epoch(1, 1))
    spot.run(f'drop table {{}}."{handle["table"]}"')
    with pytest.raises(StateError, match="are gone"):
        destination.commit(Epoch(1, 1), [handle])
    assert destination.last_epoch() is None


def test_a_merge_needs_a_unique_index(make: Any, spot: Place) -> None:
    spot.run("create table {}.out (id int, name text)")
    spot.run("create unique index on {}.out (id) where name is not null")
    with pytest.raises(WorkflowError, match="no unique index on id"):
        make(write_mode="merge", key=("id",))
    spot.run("create unique index on {}.out (id)")
    commit(make(write_mode="merge", key=("id",)), 1, (1, "a"))


def test_missing_columns_are_added(make: Any, spot: Place) -> None:
    spot.run("create table {}.out (id int primary key, mine text default 'x')")
    commit(make(), 1, (1, "a"))
    assert spot.run("select id, mine, name from {}.out") == [(1, "x", "a")]
    spot.run("alter table {}.out drop column name")
    with pytest.raises(WorkflowError, match="no column name"):
        make(attempt=2, settings={"new_columns": "error"})


def test_overwrite_takes_the_place_of_a_plain_table(make: Any, spot: Place) -> None:
    commit(make(), 1, (1, "old"))
    before = spot.run("select '{}.out'::regclass::oid::int8")
    destination = make(attempt=2, write_mode="overwrite")
    commit(destination, 2, (2, "new"))
    assert content(spot) == [(1, "old")]
    destination.finish()
    destination.finish()
    assert content(spot) == [(2, "new")]
    assert spot.run("select '{}.out'::regclass::oid::int8") != before
    assert spot.run("select to_regclass('{}.' || $1::text) is null", (destination._fresh.name,)) == [(True,)]


HANGERS = [
    "create view {}.v as select name from {}.out",
    "create index on {}.out (name)",
    "grant select on {}.out to public",
    "alter table {}.out add primary key (id); create table {}.child (id bigint references {}.out)",
    "comment on table {}.out is 'mine'",
    "alter table {}.out add column s serial",
    "alter table {}.out add column s int generated always as identity",
    "alter table {}.out add column s text generated always as (name || '!') stored",
    "alter table {}.out enable row level security",
]


@pytest.mark.parametrize("hanger", HANGERS)
def test_overwrite_keeps_what_hangs_on_a_table(make: Any, spot: Place, hanger: str) -> None:
    commit(make(), 1, (1, "old"))
    for statement in hanger.split(";"):
        spot.run(statement)
    before = spot.run("select '{}.out'::regclass::oid::int8")
    destination = make(attempt=2, write_mode="overwrite")
    commit(destination, 2, (2, "new"))
    destination.finish()
    assert content(spot) == [(2, "new")]
    if "stored" not in hanger:
        assert spot.run("select '{}.out'::regclass::oid::int8") == before


def test_a_run_that_died_leaves_no_rows_to_the_next_overwrite(make: Any, spot: Place) -> None:
    dead = make(attempt=1, write_mode="overwrite")
    dead.write(rows((1, "never")))
    dead.prepare(Epoch(1, 1))
    dead.close()
    destination = make(attempt=2, write_mode="overwrite")
    commit(destination, 1, (2, "b"))
    destination.finish()
    assert content(spot) == [(2, "b")]


def test_instances_stage_side_by_side_and_the_head_commits_for_all(make: Any, spot: Place) -> None:
    many = [make(mechanism=Mechanism.STAGED, index=n, parallelism=3) for n in range(3)]
    handles = []
    for instance in many:
        instance.write(rows((instance.context.index, "x")))
        handles += instance.prepare(Epoch(1, 1))
    many[0].commit(Epoch(1, 1), handles)
    assert [i for i, _ in content(spot)] == [0, 1, 2]


def test_a_connection_that_is_cut_is_an_external_error_and_the_next_attempt_goes_on(make: Any, spot: Place) -> None:
    destination = make()
    destination.write(rows((1, "a")))
    destination.prepare(Epoch(1, 1))
    ((pid,),) = destination.session.run("select pg_backend_pid()")
    spot.run("select pg_terminate_backend($1::int4)", (pid,))
    with pytest.raises(ExternalError):
        destination.commit(Epoch(1, 1), [])
    destination.close()
    again = make(attempt=2)
    assert again.last_epoch() is None
    commit(again, 1, (1, "a"))
    assert content(spot) == [(1, "a")]


def test_a_lock_of_others_is_waited_for_then_told(make: Any, spot: Place) -> None:
    destination = make()
    spot.run("begin")
    spot.run("lock table {}.out")
    destination.write(rows((1, "a")))
    with pytest.raises(ExternalError, match="lock timeout"):
        destination.prepare(Epoch(1, 1))
    spot.run("rollback")


def test_a_missing_privilege_is_told_with_the_cure(make: Any, spot: Place) -> None:
    role = spot.schema
    spot.run(f"create role {role} login password 'guest pass'")
    try:
        spot.run(f"grant usage on schema {{}} to {role}")
        with pytest.raises(UnavailableError, match="permission denied for schema") as caught:
            make(settings={"user": role, "password": "guest pass"})
        assert "privilege" in caught.value.hint
    finally:
        spot.run(f"drop owned by {role}")
        spot.run(f"drop role {role}")


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"password": "wr ong"}, UnavailableError, "password authentication failed"),
        ({"database": "nowhere"}, UnavailableError, 'database "nowhere" does not exist'),
        ({"host": "127.0.0.1", "port": 1}, ExternalError, "Connection refused"),
        ({"sslmode": "require"}, UnavailableError, "does not support SSL"),
        ({"table": "no_such_schema.out"}, WorkflowError, "schema .* does not exist"),
        ({"table": "a.b.c"}, WorkflowError, "is not a table"),
    ],
)
def test_what_cannot_be_reached_is_told_without_the_password(
    make: Any, spot: Place, settings: dict[str, Any], kind: type[DataFlareError], message: str
) -> None:
    with pytest.raises(kind, match=message) as caught:
        make(settings=settings)
    shown = f"{caught.value!r} {caught.value} {caught.value.hint}"
    for secret in (settings.get("password"), os.environ["DATAFLARE_TEST_POSTGRES"].split(":")[2].split("@")[0]):
        assert secret is None or secret not in shown


def test_names_need_no_care(make: Any, spot: Place) -> None:
    spot.run('create table {}."or der\'s" ("a ""b"" c" bigint unique)')
    schema = Schema.of({'a "b" c': "int64", "select": "string"})
    table = f'{spot.schema}."or der\'s"'
    destination = make(schema, settings={"table": table}, write_mode="merge", key=('a "b" c',))
    records = [{'a "b" c': 1, "select": "x"}, {'a "b" c': 1, "select": "y"}]
    destination.write(Batch.of(records, schema=schema.to_arrow()))
    commit(destination, 1)
    assert spot.run('select * from {}."or der\'s"') == [(1, "y")]


def test_a_table_without_a_schema_is_found_by_the_search_path(make: Any, spot: Place) -> None:
    url = f"{spot.url}?options=-csearch_path%3D{spot.schema}"
    commit(make(settings={"url": url, "table": "out"}), 1, (1, "a"))
    assert content(spot) == [(1, "a")]


def test_a_commit_outlives_a_crash_even_where_the_server_is_told_not_to_care(make: Any, spot: Place) -> None:
    url = f"{spot.url}?options=-csynchronous_commit%3Doff"
    assert make(settings={"url": url}).session.run("select current_setting('synchronous_commit')") == [("on",)]


def test_statements_over_staging_tables_are_not_compiled(make: Any) -> None:
    assert make().session.run("select current_setting('jit')") == [("off",)]  # it took seconds for milliseconds
