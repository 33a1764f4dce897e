"""What a table does not take ends the run at once, and every database is told with what helps."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import duckdb
import pytest
from tests.chaos.processes import dataflare
from tests.mariadb import database
from tests.postgres import place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

WORKFLOW = """
id: refused
sources: {rows: {type: file, config: {path: rows.csv, columns: {id: int32, other: int32}}}}
destinations: {table: {type: KIND, inputs: [rows], write_mode: MODE, key: [id], config: CONFIG}}
"""
KINDS = [
    "sqlite",
    "duckdb",
    pytest.param("postgres", marks=pytest.mark.postgres),
    pytest.param("mariadb", marks=pytest.mark.mariadb),
]


@contextmanager
def table_of(kind: str, folder: Path) -> Iterator[tuple[str, Callable[[str], object]]]:
    """Give the settings of a table `t`, and what executes a statement in which tables are in braces."""
    if kind == "postgres":
        with place() as spot:
            config = f"{{url: '{spot.url}', table: '{spot.table('t')}'}}"
            yield config, lambda sql: spot.run(sql.replace("{t}", "{}.t").replace("{u}", "{}.u"))
    elif kind == "mariadb":
        with database() as server:
            yield f"{{url: '{server.url}', table: t}}", lambda sql: server.run(sql.replace("{", "").replace("}", ""))
    else:
        connect = sqlite3.connect if kind == "sqlite" else duckdb.connect

        def run(sql: str) -> None:
            with closing(connect(str(folder / "file.db"))) as file:
                file.execute(sql.replace("{", "").replace("}", ""))
                file.commit()

        yield "{path: file.db, table: t}", run


def refused(folder: Path, kind: str, mode: str, config: str, rows: str) -> tuple[int, str]:
    """Run it; return how it ended and what it said."""
    (folder / "rows.csv").write_text(f"id,other\n{rows}\n")
    text = WORKFLOW.replace("KIND", kind).replace("MODE", mode).replace("CONFIG", config)
    (folder / "workflow.yaml").write_text(text)
    found = dataflare(folder, "run", "workflow.yaml")
    assert "trying again" not in found.err
    return found.code, found.err


@pytest.mark.parametrize("kind", KINDS)
def test_a_column_that_the_table_makes_itself_is_to_be_left_out(kind: str, tmp_path: Path) -> None:
    stored = "" if kind == "duckdb" else " stored"
    with table_of(kind, tmp_path) as (config, run):
        run(f"create table {{t}} (id int primary key, other int generated always as (id * 2){stored})")
        code, said = refused(tmp_path, kind, "merge", config, "1,2")
    assert code == 2
    assert "leave it out in a mapping" in said


@pytest.mark.parametrize("kind", KINDS[1:])
@pytest.mark.parametrize("mode", ["merge", "overwrite"])
def test_rows_that_break_a_reference_are_told_with_the_order_that_helps(kind: str, mode: str, tmp_path: Path) -> None:
    with table_of(kind, tmp_path) as (config, run):
        refers = "int, foreign key (other) references {t} (id)"
        run(f"create table {{t}} (id int primary key, other {refers})")
        run("insert into {t} values (1, null)")
        run("insert into {t} values (2, 1)")
        run("create table {u} (id int primary key, other int, foreign key (other) references {t} (id))")
        run("insert into {u} values (1, 2)")
        code, said = refused(tmp_path, kind, mode, config, "3,9" if mode == "merge" else "1,")
    assert code == 1
    assert "write rows that others refer to before those" in said


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["merge", "insert_only"])
def test_a_row_without_its_key_is_refused_where_a_unique_index_lets_it_in(kind: str, mode: str, tmp_path: Path) -> None:
    with table_of(kind, tmp_path) as (config, run):
        run("create table {t} (id int unique, other int)")
        code, said = refused(tmp_path, kind, mode, config, "1,1\n,2\n,3")
    assert code == 1
    assert "2 of 3 rows" in said
    assert "have no id, which is in their key" in said
