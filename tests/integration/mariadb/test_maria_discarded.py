"""Values of followed tables of MariaDB that their columns do not hold: null stands for them, or rows are left out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from tests.chaos.processes import dataflare
from tests.mariadb import Database, database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.mariadb

WORKFLOW = """
id: discarded
sources:
  shop:
    type: mariadb
    mode: hybrid
    config: {{url: "{url}", tables: ["t*"]}}
    schema: {{contract: {{data_type: {word}}}}}
destinations:
  copy: {{type: sqlite, inputs: [shop.t], write_mode: merge, key: [id], config: {{path: copy.db, table: copy}}}}
"""


@pytest.fixture
def spot() -> Iterator[Database]:
    with database() as found:
        found.run("set sql_mode = ''")
        found.run("create table t (id int primary key, at datetime, f tinyint(1))")
        found.run("insert into t values (1, '0000-00-00', 1), (2, '2026-01-01', 2), (3, null, 0)")
        yield found


def ran(spot: Database, folder: Path, word: str) -> tuple[dict[str, int], list[str]]:
    (folder / "w.yaml").write_text(WORKFLOW.format(url=spot.url, word=word))
    done = dataflare(folder, "run", "w.yaml", "--until", "now", "--json", "--log", "json")
    assert done.code == 0, done.err
    said = [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]
    told = [e["message"] for e in said if e.get("code") == "values.discarded" and "event" in e]
    return json.loads(done.out.splitlines()[-1])["nodes"]["shop"], sorted(told)


def copied(folder: Path) -> list[tuple[Any, ...]]:
    import sqlite3

    with sqlite3.connect(folder / "copy.db") as connection:
        found = connection.execute("select id, at is not null, f from copy order by id").fetchall()
    connection.close()
    return found


def test_null_stands_for_what_does_not_fit_whether_it_was_read_or_comes(spot: Database, tmp_path: Path) -> None:
    _, told = ran(spot, tmp_path, "discard")
    assert copied(tmp_path) == [(1, 0, 1), (2, 1, None), (3, 0, 0)]
    assert [t.partition(": ")[2] for t in told] == [
        "1 value of column 'at' so far did not fit datetime: null stands there",
        "1 value of column 'f' so far did not fit bool: null stands there",
    ]
    spot.run("update t set at = '0000-00-00', f = 0 where id = 2")
    spot.run("insert into t values (4, '2026-01-01', 7)")
    spot.run("delete from t where id = 3")
    counts, told = ran(spot, tmp_path, "discard")
    assert (counts["rows_out"], counts["rows_dead"]) == (3, 0)
    assert copied(tmp_path) == [(1, 0, 1), (2, 0, 0), (4, 1, None)]
    assert [t.split(" so far ")[1] for t in told] == [
        "did not fit datetime: null stands there",
        "did not fit bool: null stands there",
    ]


def test_rows_are_left_out_and_counted(spot: Database, tmp_path: Path) -> None:
    counts, _ = ran(spot, tmp_path, "discard_row")
    assert (counts["rows_out"], counts["rows_dead"]) == (1, 2)
    spot.run("update t set f = 2 where id = 3")
    counts, _ = ran(spot, tmp_path, "discard_row")
    assert (counts["rows_out"], counts["rows_dead"]) == (1, 1)
    assert copied(tmp_path) == []
