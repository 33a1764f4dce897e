"""`dataflare refresh` repairs rows while changes go on: it undoes no later change, and brings no deleted row back."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.chaos.processes import dataflare
from tests.postgres import own_server, place

from dataflare.cli.refreshing import refresh_command
from dataflare.clock import SystemClock
from dataflare.connectors.postgres.changes import settling
from dataflare.connectors.postgres.session import PostgresSession
from dataflare.connectors.postgres.settings import PostgresSourceConfig
from dataflare.errors import DataFlareError, ExternalError, LeaseHeldError, WorkflowError
from dataflare.operate.refreshing import repairing
from dataflare.operate.verifying import Options

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.postgres import Server

pytestmark = pytest.mark.postgres

FOLLOWED = """
id: followed
runtime: {{checkpoint: {{interval: 50ms}}}}
sources:
  shop:
    type: postgres
    mode: {mode}
    config: {{url: "{url}", table: public.items}}
destinations:
  lake:
    type: postgres
    inputs: [shop]
    write_mode: merge
    key: [id]
    config: {{url: "{url}", table: public.lake{more}}}
"""
TABLE = "create table {} (id int primary key, name text, price int)"


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with own_server() as found:
        yield found


@pytest.fixture
def folder(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    server.ask(TABLE.format("items"))
    server.ask("alter table items replica identity full")
    server.ask("insert into items select n, 'n' || n, n from generate_series(1, 40) n")
    yield tmp_path
    for name in ("items", "lake", "_dataflare_epochs"):
        server.ask(f"drop table if exists {name}")
    server.ask("select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active")
    server.ask("drop publication if exists dataflare_followed_shop")


def catch_up(folder: Path) -> None:
    done = dataflare(folder, "run", "w.yaml", "--until", "now", "--json")
    assert done.code == 0, done.err


def refresh(folder: Path, *, keys: str = "", where: str = "", dry_run: bool = False) -> int:
    return refresh_command(folder / "w.yaml", "lake", keys, Options(where=where), dry_run=dry_run, as_json=True)


def rows(server: Server, table: str) -> dict[int, Any]:
    with psycopg.connect(server.url) as connection:
        found = connection.execute(f"select id, name, price from {table}").fetchall()
    return {i: (name, price) for i, name, price in found}


def around_writing(monkeypatch: pytest.MonkeyPatch, before: Callable[[], None], after: Callable[[], None]) -> None:
    """Let something happen once, between the reading and the writing of the first pass, and behind that."""
    write, todo = repairing._write, [(before, after)]

    def later(*arguments: Any) -> None:
        first, then = todo.pop() if todo else (None, None)
        if first is not None:
            first()
        write(*arguments)
        if then is not None:
            then()

    monkeypatch.setattr(repairing, "_write", later)


@pytest.mark.parametrize("deletes", ["hard", "soft"])
def test_changes_that_come_meanwhile_win_and_deleted_rows_stay_away(
    deletes: str, folder: Path, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    more = f", changes: {{tx: place}}, deletes: {deletes}"
    lake = "lake" if deletes == "hard" else "lake where _deleted_at is null"
    if deletes == "soft":
        server.ask("alter table items replica identity default")
    (folder / "w.yaml").write_text(FOLLOWED.format(mode="hybrid", url=server.url, more=more))
    catch_up(folder)
    for statement in (
        "update lake set name = 'broken' where id in (3, 5, 7)",
        "delete from lake where id in (4, 6)",
        "insert into lake (id, name) values (1000, 'nobody knows')",
        # These have not been applied when the refresh begins: it writes what comes of them, they come later.
        "update items set name = 'changed' where id in (7, 8)",
        "delete from items where id in (9, 10)",
        "insert into items values (10, 'again', 1), (41, 'new', 41)",
    ):
        server.ask(statement)
    assert refresh(folder, dry_run=True) == 1
    assert rows(server, "lake")[3][0] == "broken"

    def meanwhile() -> None:
        server.ask("update items set name = 'later' where id = 3")
        server.ask("delete from items where id = 4")
        catch_up(folder)

    written: list[Any] = []
    around_writing(monkeypatch, meanwhile, lambda: written.append(rows(server, lake)))
    assert refresh(folder) == 0
    assert written[0][3][0] == "later"  # what was read is older, and was not put over it
    assert 4 in written[0]  # its delete found no row, and left no trace: the next pass removes it
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["equal"], told["dry_run"], told["passes"] > 1) == (True, False, True)
    found = rows(server, lake)
    assert found == rows(server, "items")
    assert found[3][0] == "later"
    assert 4 not in found
    server.ask("update items set price = -1 where id < 20")
    server.ask("delete from items where id = 6")
    catch_up(folder)
    assert rows(server, lake) == rows(server, "items")


def test_without_places_the_workflow_must_not_run_and_changes_that_come_later_end_right(
    folder: Path, server: Server
) -> None:
    from dataflare.component import Registry
    from dataflare.executor.runtime import LocalRuntime
    from dataflare.executor.surroundings import StateOf

    (folder / "w.yaml").write_text(FOLLOWED.format(mode="hybrid", url=server.url, more=""))
    with pytest.raises(WorkflowError, match="not through with the first reading"):
        refresh(folder)
    catch_up(folder)
    server.ask("update lake set name = 'broken' where id between 3 and 30")
    server.ask("update items set name = 'one' where id = 5")
    server.ask("update items set name = 'two' where id = 5")
    server.ask("delete from items where id = 6")
    where = StateOf("followed", {"type": "sqlite", "path": "./.dataflare"}, folder)
    with where.store(Registry.installed(), LocalRuntime()) as store:
        store.lease("default/followed")
        with pytest.raises(LeaseHeldError, match="does not keep the place"):
            refresh(folder)
    assert refresh(folder, keys="3..20") == 0
    found = rows(server, "lake")
    assert (found[5][0], found[20][0], found[21][0], 6 in found) == ("two", "n20", "broken", False)
    catch_up(folder)
    assert refresh(folder, where="name = 'broken'") == 0  # of rows that the condition finds on one side only
    assert rows(server, "lake") == rows(server, "items")


def test_rows_of_a_table_that_leaves_values_out_are_not_removed(folder: Path, server: Server) -> None:
    server.ask("alter table items replica identity default")
    (folder / "w.yaml").write_text(FOLLOWED.format(mode="hybrid", url=server.url, more=", changes: {tx: place}"))
    catch_up(folder)
    server.ask("update lake set name = 'broken' where id = 3")
    server.ask("update items set price = 0 where id = 9")  # wants the name that is in the lake
    server.ask("delete from items where id = 9")
    assert refresh(folder) == 1
    found = rows(server, "lake")
    assert (found[3][0], found[9][0]) == ("n3", "n9")
    catch_up(folder)
    assert rows(server, "lake") == rows(server, "items")
    assert refresh(folder) == 0


def test_a_place_is_told_when_all_that_was_under_way_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    with place() as spot, closing(PostgresSession(PostgresSourceConfig(url=spot.url, table="t"), "test")) as session:
        spot.run("create table {}.t (id int)")
        with psycopg.connect(spot.url) as other:
            other.execute(f"insert into {spot.table('t')} values (1)")
            monkeypatch.setattr(settling, "WAIT_SECONDS", 0.2)
            with pytest.raises(ExternalError, match="transaction of somebody else"):
                settling.settled_place(session, SystemClock())
            monkeypatch.setattr(settling, "WAIT_SECONDS", 60.0)
            told: list[str] = []
            waiting = threading.Thread(target=lambda: told.append(settling.settled_place(session, SystemClock())))
            waiting.start()
            waiting.join(0.3)
            assert told == []
            other.commit()
            waiting.join()
        ((now,),) = spot.run("select lpad(to_hex((pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::int8), 16, '0')")
        assert len(told[0]) == len("0123456789abcdef")
        assert told[0] <= now


PLAIN = """
id: plain
sources:
  raw: {type: file, config: {path: raw.csv, columns: {id: int64, name: string}}}
transformations:
  big: {type: mapping, inputs: [raw], config: {set: {name: upper(name)}}}
destinations:
  shop: {type: sqlite, inputs: [big], write_mode: merge, key: [id], config: {path: shop.db, table: t}}
  log: {type: file, inputs: [big], config: {path: out, format: jsonl}}
"""


def test_a_range_of_a_table_that_no_log_tells_is_repaired(tmp_path: Path) -> None:
    (tmp_path / "raw.csv").write_text("id,name\n" + "".join(f"{n},n{n}\n" for n in range(30)))
    (tmp_path / "w.yaml").write_text(PLAIN)
    assert dataflare(tmp_path, "run", "w.yaml", "--json").code == 0

    @contextmanager
    def shop() -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(tmp_path / "shop.db")) as database:
            yield database
            database.commit()

    def broken() -> list[Any]:
        with shop() as database:
            wrong = "select id from t where name <> 'N' || id or name is null or id not between 0 and 29 order by id"
            return [i for (i,) in database.execute(wrong)]

    with shop() as database:
        database.execute("update t set name = 'x' where id in (3, 20)")
        database.execute("delete from t where id = 4")
        database.execute("insert into t values (-1, 'y'), (100, 'z')")
    done = dataflare(tmp_path, "refresh", "w.yaml", "--stream", "shop", "--keys", "..10")
    assert (done.code, done.err) == (0, "")
    assert done.out == "shop: 2 put, 1 removed; equal, 11 rows compared\n"
    assert broken() == [20, 100]
    with pytest.raises(DataFlareError, match="does not merge rows by key"):
        refresh_command(tmp_path / "w.yaml", "log", "", Options(), dry_run=False, as_json=True)
    with pytest.raises(DataFlareError, match="no stream 'nope'"):
        refresh_command(tmp_path / "w.yaml", "nope", "", Options(), dry_run=False, as_json=True)
