"""Tables that a pattern names come and go between runs: taken in, refused or left out, as the contract says."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from tests import mariadb, postgres
from tests.chaos.processes import Ended, dataflare

if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from pathlib import Path

    Run = Callable[[str], Any]

WORKFLOW = """
id: pattern
sources:
  db: {{type: {type}, config: {config}, schema: {{contract: {{tables: {word}}}}}}}
transformations:
  named: {{type: union, inputs: ["db.*"]}}
destinations:
  out: {{type: file, inputs: [named], write_mode: overwrite, config: {{path: out, format: jsonl}}}}
"""


@contextmanager
def of_sqlite(folder: Path) -> Iterator[tuple[dict[str, Any], Run]]:
    import sqlite3

    with sqlite3.connect(folder / "in.db", isolation_level=None) as connection:
        yield {"path": "in.db", "tables": ["*", "!audit_*"]}, connection.execute
    connection.close()


@contextmanager
def of_duckdb(folder: Path) -> Iterator[tuple[dict[str, Any], Run]]:
    import duckdb

    def run(sql: str) -> None:
        with duckdb.connect(str(folder / "in.duckdb")) as connection:
            connection.execute(sql)

    yield {"path": "in.duckdb", "tables": ["main.*", "!main.audit_*"]}, run


@contextmanager
def of_postgres(folder: Path) -> Iterator[tuple[dict[str, Any], Run]]:
    del folder
    with postgres.place() as spot:
        tables = [f"{spot.schema}.*", f"!{spot.schema}.audit_*"]

        def run(sql: str) -> None:
            spot.run(f"set search_path to {spot.schema}")
            spot.run(sql)

        yield {"url": spot.url, "tables": tables}, run


@contextmanager
def of_mariadb(folder: Path) -> Iterator[tuple[dict[str, Any], Run]]:
    del folder
    with mariadb.database() as found:
        yield {"url": found.url, "tables": ["*", "!audit_*"]}, found.run


PLACES = {
    "sqlite": of_sqlite,
    "duckdb": of_duckdb,
    "postgres": pytest.param(of_postgres, marks=pytest.mark.postgres),
    "mariadb": pytest.param(of_mariadb, marks=pytest.mark.mariadb),
}


class Shop:
    def __init__(self, folder: Path, type_: str, config: dict[str, Any], run: Run) -> None:
        self.folder, self.type, self.config, self.sql = folder, type_, config, run
        for name in ("a", "b", "audit_a"):
            self.add(name)
        run("create view looks as select * from a")

    def add(self, name: str) -> None:
        self.sql(f"create table {name} (id int primary key, v varchar(20))")
        self.sql(f"insert into {name} values (1, '{name}')")

    def written(self, word: str) -> None:
        config = json.dumps(self.config)
        text = WORKFLOW.format(type=self.type, config=config, word=word)
        (self.folder / "w.yaml").write_text(text)

    def run(self, word: str) -> Ended:
        self.written(word)
        return dataflare(self.folder, "run", "w.yaml", "--log", "json")

    def read(self) -> list[str]:
        """Return the names of the tables of which the last run that succeeded read rows."""
        files = (self.folder / "out").glob("part-*")
        return sorted(json.loads(line)["v"] for file in files for line in file.read_text().splitlines())


@pytest.fixture(params=PLACES.values(), ids=PLACES)
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Shop]:
    made: Callable[[Path], AbstractContextManager[tuple[dict[str, Any], Run]]] = request.param
    with made(tmp_path) as (config, run):
        yield Shop(tmp_path, made.__name__.removeprefix("of_"), config, run)


def told(done: Ended) -> list[str]:
    found = [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]
    return [e["message"] for e in found if e.get("code") == "schema.changed"]


def test_tables_that_come_and_go_are_taken_in_and_left_out_and_told(shop: Shop) -> None:
    first = shop.run("evolve")
    assert first.code == 0, first.err
    assert (shop.read(), told(first)) == (["a", "b"], [])
    shop.add("c")
    second = shop.run("evolve")
    assert second.code == 0, second.err
    assert (shop.read(), told(second)) == (["a", "b", "c"], ["table c is new"])
    shop.sql("drop table b")
    third = shop.run("evolve")
    assert (shop.read(), told(third)) == (["a", "c"], ["table b is gone"])
    assert told(shop.run("evolve")) == []


def test_a_frozen_source_refuses_a_table_by_its_name_until_it_may_come(shop: Shop) -> None:
    assert shop.run("freeze").code == 0
    shop.add("c")
    done = shop.run("freeze")
    assert done.code == 2
    assert "table c is new, which is refused" in done.err
    assert "contract: {tables: evolve}" in done.err
    assert shop.read() == ["a", "b"]
    assert shop.run("evolve").code == 0
    assert shop.read() == ["a", "b", "c"]
    assert shop.run("freeze").code == 0


def test_a_table_that_is_left_out_is_so_in_every_run_and_told_once_in_each(shop: Shop) -> None:
    assert shop.run("discard").code == 0
    shop.add("c")
    for _ in range(2):
        done = shop.run("discard")
        assert done.code == 0, done.err
        assert (shop.read(), told(done)) == (["a", "b"], ["table c is new, and is left out"])
    shop.run("evolve")
    assert shop.read() == ["a", "b", "c"]


def test_the_difference_is_told_before_a_run(shop: Shop) -> None:
    shop.run("evolve")
    assert dataflare(shop.folder, "schema", "diff", "w.yaml").code == 0
    shop.add("c")
    done = dataflare(shop.folder, "schema", "diff", "w.yaml")
    assert done.code == 1
    assert done.out.splitlines()[1].split() == ["db.c", "table", "added", "evolve:", "is", "read"]
    assert dataflare(shop.folder, "validate", "w.yaml", "--level", "connect").code == 0


def test_a_pattern_that_finds_nothing_is_told(shop: Shop) -> None:
    shop.config["tables"] = [shop.config["tables"][0].replace("*", "nobody*")]
    done = shop.run("evolve")
    assert done.code == 2
    assert "no table is called" in done.err
