"""`schema diff` tells which columns have changed, and changes nothing."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from dataflare.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOW = """\
id: orders
sources:
  rows:
    type: file
    config: {path: rows.csv, columns: {id: int64, name: string, price: string}}
    schema: SCHEMA
destinations:
  out: {type: sqlite, inputs: [rows], write_mode: merge, key: [id], config: {path: out.db, table: t}}
"""
SAME = "id,name,price\n1,a,x\n"
OTHER = "id,price,extra\n1,x,2\n"


def written(folder: Path, rows: str, schema: str = "{}") -> str:
    (folder / "rows.csv").write_text(rows)
    file = folder / "orders.yaml"
    file.write_text(WORKFLOW.replace("SCHEMA", schema))
    return str(file)


def executed(folder: Path, sql: str) -> list[Any]:
    with closing(sqlite3.connect(folder / "out.db")) as connection, connection:
        return connection.execute(sql).fetchall()


def told(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_where_all_is_the_same_nothing_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = written(tmp_path, SAME)
    executed(tmp_path, "create table t (id integer primary key, name text, price text)")
    assert main(["schema", "diff", file]) == 0
    assert capsys.readouterr() == ("", "")
    assert not (tmp_path / ".dataflare").exists()


def test_a_table_that_is_not_there_yet_is_no_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema", "diff", written(tmp_path, SAME)]) == 0
    assert capsys.readouterr() == ("", "")
    assert not (tmp_path / "out.db").exists()


def test_columns_and_statements_are_told_in_tables_that_line_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, OTHER)
    executed(tmp_path, "create table t (id integer primary key, name text)")
    assert main(["schema", "diff", file]) == 1
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        "source  column  change   was     is     then",
        "rows    name    dropped  string         ignore: is null",
        "rows    extra   added            int64  ignore: is not read",
        "",
        "destination  table  column  change  is  becomes  then    statement",
        'out          t      price   added       TEXT     evolve  alter table "t" add column "price" TEXT',
    ]
    assert executed(tmp_path, "select name from pragma_table_info('t')") == [("id",), ("name",)]


def test_what_a_contract_or_a_policy_refuses_is_told_as_that(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = written(tmp_path, OTHER, "{contract: {columns: freeze}, ddl: exception}")
    executed(tmp_path, "create table t (id integer primary key, name text)")
    assert main(["schema", "diff", file, "--json"]) == 1
    found = told(capsys)
    assert [(d["kind"], d["column"], d["effect"]) for d in found] == [
        ("source", "name", "refuse"),
        ("source", "extra", "refuse"),
        ("destination", "price", "refuse"),
    ]
    assert found[0] == {
        "kind": "source",
        "stream": "rows",
        "column": "name",
        "change": "dropped",
        "was": "string",
        "now": "",
        "effect": "refuse",
        "meaning": "the run ends with an error",
    }
    assert set(found[2]) == {*(set(found[0]) - {"stream"}), "node", "table", "statement"}


def test_a_column_that_the_settings_of_the_destination_forbid_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "orders.yaml"
    written(tmp_path, SAME)
    file.write_text(file.read_text().replace("table: t}", "table: t, new_columns: error}"))
    executed(tmp_path, "create table t (id integer primary key, name text)")
    assert main(["schema", "diff", str(file), "--json"]) == 1
    assert [(d["column"], d["effect"]) for d in told(capsys)] == [("price", "refuse")]


def test_validate_with_connections_knows_the_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    executed(tmp_path, "create table t (id integer primary key, name text)")
    assert main(["validate", written(tmp_path, SAME), "--level", "connect"]) == 0
    assert "column price is added" in capsys.readouterr().out
    assert main(["validate", written(tmp_path, SAME, "{ddl: exception}"), "--level", "connect"]) == 2
    assert "a change that ddl forbids: column price is added" in capsys.readouterr().out


def test_a_workflow_that_is_wrong_is_told_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "orders.yaml"
    written(tmp_path, SAME)
    file.write_text(file.read_text().replace("type: sqlite", "type: sqlit"))
    assert main(["schema", "diff", str(file)]) == 2
    assert "did you mean 'sqlite'?" in capsys.readouterr().err


def test_the_json_schema_is_printed_without_a_word_behind_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert "$defs" in json.loads(capsys.readouterr().out)
