"""`cdc add-table` and `cdc remove-table`: tables come and go while a workflow runs, and the others go on."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from tests.changes import KEYS, SETUP, Writer, count_logged, difference, forget, logged, wait_for
from tests.chaos.processes import begin, dataflare, end, ended, press_ctrl_c, run, wait_until
from tests.postgres import VARIABLE, Place, guest, place

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.chaos.processes import Ended, Process

pytestmark = pytest.mark.postgres
ROWS = 400
HEAD = """
id: {schema}
runtime: {{parallelism: {tasks}, checkpoint: {{interval: {interval}}}{runtime}}}
sources:
  shop:
    type: postgres
    mode: {mode}
    config: {{url: "{url}", {tables}, fetch_rows: 100, cdc: {{slot_name: {schema}, heartbeat: 100ms{cdc}}}}}
destinations:
"""
DEFAULTS = {"mode": "hybrid", "runtime": "", "cdc": "", "tasks": "1", "interval": "50ms"}
LOG = "  {name}: {{type: file, inputs: [{read}], config: {{path: {name}, format: jsonl}}}}\n"


class Shop:
    """Tables, a workflow that follows some of them, and the process that runs it."""

    def __init__(self, spot: Place, folder: Path) -> None:
        self.spot, self.folder, self.file = spot, folder, str(folder / "workflow.yaml")
        self.process: Process | None = None
        self.write("items")

    def write(self, *names: str, **words: str) -> None:
        """Write the workflow file for some tables."""
        tables = f"tables: [{', '.join(map(self.spot.table, names))}]"
        self.write_text(tables, {n: f"shop.{n}" for n in names}, **words)

    def write_text(self, tables: str, inputs: dict[str, str], **words: str) -> None:
        """Write the workflow file with some words for tables, and what each log reads."""
        told = {**DEFAULTS, "schema": self.spot.schema, "tables": tables, **words}
        told["url"] = words.get("url") or f"${{{VARIABLE}}}"
        ends = "".join(LOG.format(name=name, read=read) for name, read in inputs.items())
        (self.folder / words.get("file", "workflow.yaml")).write_text(HEAD.format(**told) + ends)

    def begin(self, what: str = "workflow.yaml") -> None:
        """Run until something ends it, and wait for the first rows."""
        self.process = begin(self.folder, "run", what, "--log", "json")
        wait_until(lambda: len(self.log("items")) > 0, self.process)

    def stop(self) -> Ended:
        """End it."""
        assert self.process is not None
        press_ctrl_c(self.process)
        done, self.process = ended(self.process), None
        return done

    def wait(self, name: str, *ids: Any) -> None:
        """Wait until rows have come."""
        assert self.process is not None
        wait_until(lambda: {r["id"] for r in self.log(name)}.issuperset(ids), self.process)

    def log(self, name: str) -> list[dict[str, Any]]:
        return logged(self.folder / name)

    def ops(self, name: str) -> list[tuple[str, int]]:
        return [(r["_op"], r["id"]) for r in self.log(name)]

    def do(self, verb: str, table: str, code: int = 0) -> dict[str, Any]:
        """Add or remove a table; return what is said as JSON."""
        done = dataflare(self.folder, "cdc", f"{verb}-table", "workflow.yaml", table, "--json")
        assert done.code == code, (done.out, done.err)
        return json.loads((done.out if code == 0 else done.err).splitlines()[-1])

    def published(self) -> list[str]:
        asked = f"select tablename::text from pg_publication_tables where pubname = '{self.spot.schema}' order by 1"
        return [name for (name,) in self.spot.run(asked)]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    with place() as spot:
        for name in ("items", "more"):
            spot.run(f"create table {{}}.{name} (id bigint primary key, v int)")
            spot.run(f"insert into {{}}.{name} select n, 0 from generate_series(1, 3) n")
        one = Shop(spot, tmp_path)
        try:
            yield one
        finally:
            if one.process is not None:
                end(one.process)
            forget(spot, spot.schema)


def test_a_table_comes_and_goes_while_the_workflow_runs(shop: Shop) -> None:
    shop.begin()
    refused = shop.do("add", shop.spot.table("more"), 2)
    assert refused["message"] == f"the workflow file does not name {shop.spot.table('more')}"
    tables = f"tables: [{shop.spot.table('items')}, {shop.spot.table('more')}]"
    assert refused["hint"].startswith(f"write under sources.shop.config: {tables}; and let a destination read it")
    shop.write("items", "more")
    said = shop.do("add", shop.spot.table("more"))
    assert (said["added"], said["running"], said["stream"]) == (True, True, "more")
    assert shop.published() == ["items", "more"]
    shop.wait("more", 1, 2, 3)
    shop.spot.run("insert into {}.more values (4, 0)")
    shop.spot.run("insert into {}.items values (4, 0)")
    shop.wait("more", 4)
    shop.wait("items", 4)
    assert shop.do("add", "more")["added"] is False

    assert "still names" in shop.do("remove", "more", 2)["message"]
    shop.write("items")
    assert shop.do("remove", "more") == {
        "workflow": shop.spot.schema, "source": "shop", "table": shop.spot.table("more"), "running": True,
        "statement": "",
    }  # fmt: skip
    wait_for(lambda: shop.published() == ["items"])
    shop.spot.run("insert into {}.more values (5, 0)")
    shop.spot.run("insert into {}.items values (5, 0)")
    shop.wait("items", 5)
    assert "follows no table" in shop.do("remove", "more", 2)["message"]
    done = shop.stop()

    assert "attempt_failed" not in done.err
    assert shop.ops("items") == [*(("read", n) for n in (1, 2, 3)), ("insert", 4), ("insert", 5)]
    assert shop.ops("more") == [*(("read", n) for n in (1, 2, 3)), ("insert", 4)]


def test_what_is_written_to_both_tables_meanwhile_comes_once(tmp_path: Path) -> None:
    with place() as spot:
        for statement in SETUP.format(schema=spot.schema, rows=ROWS).split(";"):
            if statement.strip():
                spot.run(statement)
        shop, writer = Shop(spot, tmp_path), Writer(spot.url, spot.schema, ROWS, 5)
        writer.start()
        try:
            shop.begin()
            for names in (["items", "pairs"], ["items", "pairs", "names"]):
                shop.write(*names)
                assert shop.do("add", names[-1])["added"]
                wait_until(lambda name=names[-1]: len(shop.log(name)) > ROWS, shop.process)  # type: ignore[misc,arg-type]
            done = shop.stop()
        finally:
            writer.stop()
            if shop.process is not None:
                end(shop.process)
        try:
            assert "attempt_failed" not in done.err
            assert run(tmp_path, "--until", "now").code == 0
            reads = [r["id"] for r in shop.log("items") if r["_op"] == "read"]
            assert len(reads) == len(set(reads)), "the first table was read again"
            assert difference(shop.log("items"), spot.url, spot.schema, "items") == []
            for name in ("pairs", "names"):
                columns, rows = KEYS[name], {}
                for change in shop.log(name):
                    key = tuple(change[c] for c in columns)
                    assert (change["_op"] in ("read", "insert")) == (key not in rows), (name, change)
                    if change["_op"] == "delete":
                        del rows[key]
                    else:
                        rows[key] = change["v"]
                found = {tuple(row[c] for c in columns): row["v"] for row in _rows(spot, name)}
                assert rows == found
        finally:
            forget(spot, spot.schema)


def _rows(spot: Place, name: str) -> list[dict[str, Any]]:
    with psycopg.connect(spot.url) as connection:
        return [row for (row,) in connection.execute(f"select to_jsonb(t) from {spot.schema}.{name} t")]


def test_without_a_run_the_next_start_takes_it_in(shop: Shop) -> None:
    assert run(shop.folder, "--until", "now").code == 0
    shop.write("items", "more")
    said = shop.do("add", "more")
    assert (said["added"], said["running"]) == (True, False)
    assert shop.published() == ["items", "more"]
    assert run(shop.folder, "--until", "now").code == 0
    assert shop.ops("more") == [("read", n) for n in (1, 2, 3)]
    shop.write("items")
    assert shop.do("remove", "more")["running"] is False
    assert run(shop.folder, "--until", "now").code == 0
    assert shop.published() == ["items"]
    assert shop.ops("items") == [("read", n) for n in (1, 2, 3)]


def test_two_commands_at_once_are_one_after_the_other(shop: Shop) -> None:
    shop.spot.run("create table {}.third (id int primary key)")
    shop.spot.run("insert into {}.third values (1)")
    shop.begin()
    shop.write("items", "more", "third")
    asked = [begin(shop.folder, "cdc", "add-table", "workflow.yaml", t, "--json") for t in ("more", "third", "more")]
    said = [ended(one) for one in asked]
    assert [one.code for one in said] == [0, 0, 0], said
    assert any(one.summary["added"] for one in said)
    shop.wait("more", 1, 2, 3)
    shop.wait("third", 1)
    shop.spot.run("insert into {}.third values (2)")
    shop.wait("third", 2)
    assert "attempt_failed" not in shop.stop().err
    assert shop.ops("more") == [("read", n) for n in (1, 2, 3)]
    assert shop.ops("third") == [("read", 1), ("insert", 2)]


def test_what_cannot_be_followed_is_said_and_the_run_goes_on(shop: Shop) -> None:
    shop.spot.run("create table {}.keyless (id int)")
    shop.begin()
    assert "there is no table" in shop.do("add", shop.spot.table("nowhere"), 2)["message"]
    assert "follows no table" in shop.do("remove", "nowhere", 2)["message"]
    shop.write("items", "nowhere")
    assert "there is no table" in shop.do("add", "nowhere", 2)["message"]
    shop.write("items", "keyless")
    assert "has no key" in shop.do("add", "keyless", 2)["message"]
    shop.write("items", "more", runtime=", restart: {attempts: 3}")
    assert "runtime of the file is not what it was" in shop.do("add", "more", 2)["message"]
    (shop.folder / "workflow.yaml").write_text((shop.folder / "workflow.yaml").read_text() + "  bad: {type: nothing}\n")
    assert shop.do("add", "more", 2)["message"]
    shop.spot.run("insert into {}.items values (4, 0)")
    shop.wait("items", 4)
    done = shop.stop()
    assert "attempt_failed" not in done.err
    assert done.err.count('"run_started"') == 1


def test_a_workflow_that_is_paused_goes_on_first(shop: Shop) -> None:
    shop.begin()
    assert dataflare(shop.folder, "pause", "workflow.yaml").code == 0
    shop.write("items", "more")
    assert "is paused" in shop.do("add", "more", 2)["message"]
    assert dataflare(shop.folder, "resume", "workflow.yaml").code == 0
    assert shop.do("add", "more")["added"]
    shop.wait("more", 3)
    shop.stop()


def test_the_publication_of_somebody_else_is_for_its_owner(shop: Shop) -> None:
    shop.spot.run(f"create publication {shop.spot.schema} for table {{}}.items")
    with guest(shop.spot, "secret") as (name, url):
        told = url.replace(f"{name}@", f"{name}:secret@")
        for grant in (f"alter role {name} replication", f"grant usage on schema {{}} to {name}",
                      f"grant select on all tables in schema {{}} to {name}"):  # fmt: skip
            shop.spot.run(grant)
        shop.write("items", url=told)
        shop.begin()
        shop.write("items", "more", url=told)
        refused = shop.do("add", "more", 3)
        table = f'"{shop.spot.schema}"."more"'
        cure = f'run as the owner of both: alter publication "{shop.spot.schema}" add table {table}'
        assert (refused["hint"], refused["file"], refused["line"]) == (cure, "workflow.yaml", 5)
        shop.spot.run(f"alter publication {shop.spot.schema} add table {{}}.more")
        assert shop.do("add", "more")["added"]
        shop.wait("more", 3)
        shop.write("items", url=told)
        statement = shop.do("remove", "more")["statement"]
        assert statement == f'alter publication "{shop.spot.schema}" drop table {table}'
        shop.spot.run(statement)
        shop.spot.run("insert into {}.items values (4, 0)")
        shop.wait("items", 4)
        assert "attempt_failed" not in shop.stop().err


def test_the_only_table_gets_a_name_when_a_second_one_comes(shop: Shop) -> None:
    shop.write_text(f"table: {shop.spot.table('items')}", {"items": "shop"})
    shop.begin()
    hint = shop.do("add", shop.spot.table("more"), 2)["hint"]
    assert hint.endswith("inputs: [shop.more]; the other table is shop.items then")
    shop.write("items", "more")
    assert shop.do("add", "more")["added"]
    shop.wait("more", 3)
    shop.spot.run("insert into {}.items values (4, 0)")
    shop.wait("items", 4)
    shop.stop()
    assert shop.ops("items") == [*(("read", n) for n in (1, 2, 3)), ("insert", 4)]


def test_in_mode_cdc_it_is_followed_only(shop: Shop) -> None:
    shop.write("items", mode="cdc")
    shop.process = begin(shop.folder, "run", "workflow.yaml", "--log", "json")
    wait_for(
        lambda: shop.spot.run(f"select 1 from pg_replication_slots where slot_name = '{shop.spot.schema}' and active")
    )
    shop.write("items", "more", mode="cdc")
    assert shop.do("add", "more")["added"]
    shop.spot.run("insert into {}.more values (4, 0)")
    shop.wait("more", 4)
    shop.stop()
    assert shop.ops("more") == [("insert", 4)]


def test_it_comes_while_the_others_are_read_the_first_time(shop: Shop) -> None:
    shop.spot.run("insert into {}.items select n, 0 from generate_series(4, 90000) n")
    shop.spot.run("analyze {}.items")
    shop.write("items", tasks="2")
    shop.begin()
    shop.write("items", "more", tasks="2")
    assert shop.do("add", "more")["added"]
    assert count_logged(shop.folder / "items") < 90_000, "it was too late"
    shop.wait("more", 1, 2, 3)
    shop.spot.run("insert into {}.items values (90001, 0)")
    shop.wait("items", 90_001)
    assert "attempt_failed" not in shop.stop().err
    found = shop.ops("items")
    assert len(found) == len({key for _, key in found}) == 90_001
    assert shop.ops("more") == [("read", n) for n in (1, 2, 3)]


def test_it_comes_while_columns_of_another_one_change(shop: Shop) -> None:
    shop.begin()
    shop.write("items", "more")
    with psycopg.connect(shop.spot.url, autocommit=True) as connection:
        connection.execute(f"alter table {shop.spot.schema}.items add note text")
        connection.execute(f"insert into {shop.spot.schema}.items values (4, 0, 'new')")
    assert shop.do("add", "more")["added"]
    with psycopg.connect(shop.spot.url, autocommit=True) as connection:
        connection.execute(f"alter table {shop.spot.schema}.more add note text")
        connection.execute(f"insert into {shop.spot.schema}.more values (4, 0, 'newer')")
    shop.wait("items", 4)
    shop.wait("more", 1, 2, 3, 4)
    assert "attempt_failed" not in shop.stop().err
    assert [r["note"] for r in shop.log("items") if r["id"] == 4] == ["new"]
    assert [r["note"] for r in shop.log("more") if r["id"] == 4] == ["newer"]


def test_a_workflow_of_a_folder_takes_it_in(shop: Shop) -> None:
    shop.begin(".")
    shop.write("items", "more")
    assert shop.do("add", "more")["added"]
    shop.wait("more", 1, 2, 3)
    assert shop.ops("items") == [("read", n) for n in (1, 2, 3)]
    assert "attempt_failed" not in shop.stop().err


def test_what_came_a_moment_ago_goes_and_comes_back(shop: Shop) -> None:
    """The state is behind the run until its next epoch: it does not say what is followed now."""
    shop.write("items", interval="1h")
    shop.process = begin(shop.folder, "run", "workflow.yaml", "--log", "json")
    slot = f"select 1 from pg_replication_slots where slot_name = '{shop.spot.schema}' and active"
    wait_for(lambda: shop.spot.run(slot))
    table = shop.spot.table("more")
    shop.write("items", "more", interval="1h")
    assert shop.do("add", table)["added"]
    assert shop.do("add", table)["added"] is False
    shop.write("items", interval="1h")
    assert shop.do("remove", table)["running"]
    assert "follows no table" in shop.do("remove", table, 2)["message"]
    shop.write("items", "more", interval="1h")
    assert shop.do("add", table)["added"]
    shop.spot.run("insert into {}.more values (4, 0)")

    def came() -> bool:
        dataflare(shop.folder, "checkpoint", "now", "workflow.yaml")
        return [r["id"] for r in shop.log("more")].count(4) == 1

    wait_for(came)
    assert "attempt_failed" not in shop.stop().err


def test_a_file_that_the_run_does_not_go_by_is_told(shop: Shop) -> None:
    shop.begin()
    shop.write("items", "more")
    (shop.folder / "workflow.yaml").rename(shop.folder / "other.yaml")
    shop.write("items")
    table = shop.spot.table("more")
    for verb, words in (("add", "does not name"), ("remove", "still names")):
        done = dataflare(shop.folder, "cdc", f"{verb}-table", "other.yaml", table, "--json")
        told = f"{shop.spot.schema} runs by another file than other.yaml, which {words} {table}"
        assert (done.code, done.error["message"]) == (2, told)
        shop.write("items", "more")
        assert shop.do("add", table)["added"] is (verb == "add")
        shop.write("items", file="other.yaml")
    assert shop.ops("items") == [("read", n) for n in (1, 2, 3)]
    assert "attempt_failed" not in shop.stop().err


def test_a_run_with_another_state_is_told(shop: Shop) -> None:
    shop.begin()
    (other := shop.folder / "other").mkdir()
    shop.write("items", "more", file="other/workflow.yaml")
    done = dataflare(other, "cdc", "add-table", "workflow.yaml", "more")
    assert done.code == 0
    assert "no run with the state of this file answers, but process" in done.out
    shop.write("items", "more")
    asked = dataflare(shop.folder, "cdc", "resnapshot", "workflow.yaml", "more", "--json").error["message"]
    assert asked == f"the run of {shop.spot.schema} does not follow more yet"
    assert shop.do("add", "more")["added"]
    assert dataflare(shop.folder, "cdc", "resnapshot", "workflow.yaml", "more").code == 0
    assert "attempt_failed" not in shop.stop().err
