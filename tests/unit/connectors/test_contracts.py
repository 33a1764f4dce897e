"""The contract of a source: one set of words for columns and types, and every source that has a schema keeps it."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.http_server import LocalServer, Said, numbered
from tests.unit.connectors.test_file_source import OPENED, read, source

from dataflare.connectors.http.settings import HttpSourceConfig
from dataflare.connectors.http.source import HttpSource
from dataflare.connectors.python.source import PythonSource, PythonSourceConfig
from dataflare.connectors.sqlite.settings import SqliteSourceConfig
from dataflare.connectors.sqlite.source import SqliteSource
from dataflare.errors import DataError, WorkflowError
from dataflare.schema import Schema
from dataflare.testing.source_suite import SourceSuite, rows_of
from dataflare.testing.stage import batches_of, settled, splits_of, staged

TYPES = {"id": "int64", "x": "int64"}


@pytest.fixture(autouse=True)
def _closed():
    yield
    while OPENED:
        OPENED.pop().close()


def lines(tmp_path, *rows):
    (tmp_path / "a.jsonl").write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in rows))


def held(tmp_path, contract, path="a.jsonl", **config):
    context = {"contract": contract, **config.pop("context", {})}
    return source(tmp_path, path=path, columns=TYPES, context=context, **config)


# ---- fields of JSON lines -----------------------------------------------------------------------------------------


def test_a_new_field_of_frozen_lines_ends_the_run_with_its_place(tmp_path):
    lines(tmp_path, {"id": 1, "x": 1}, {"id": 2, "new": 5, "x": 2})
    with pytest.raises(DataError, match=r"a\.jsonl:2.*does not know: 'new'") as told:
        read(held(tmp_path, {"columns": "freeze"}))
    assert "contract: {columns: evolve}" in (told.value.hint or "")
    with pytest.raises(DataError, match="'new'"):  # whatever on_error says
        read(held(tmp_path, {"columns": "freeze"}, context={"on_error": "dead_letter"}))
    assert len(read(held(tmp_path, {"columns": "evolve"}))[""]) == 2


def test_lines_with_new_fields_are_left_out_and_told(tmp_path):
    lines(tmp_path, {"id": 1}, {"id": 2, "new": 5}, "", "{broken", {"id": 4})
    with pytest.raises(DataError, match=r"a\.jsonl:4.*not JSON"):
        read(held(tmp_path, {"columns": "discard_row"}))
    lines(tmp_path, {"id": 1}, {"id": 2, "new": 5}, "", {"id": 4})
    found = read(held(tmp_path, {"columns": "discard_row"}))
    assert [r["id"] for r in found[""]] == [1, 4]
    assert [(r["line"], r["error"]) for r in found["errors"]] == [
        (2, "the row has fields that the plan does not know: 'new'")
    ]


def test_what_is_left_over_is_json_in_a_column(tmp_path):
    rest = {"deep": {"a": [1, None]}, "nothing": None, "big": 123456789012345678901234567890}
    lines(tmp_path, {"id": 1, "x": 1}, {"id": 2, **rest}, {"id": "no", "more": 1}, {"id": 4, "quote'\"": "ü\n"})
    one = held(tmp_path, {}, rest_column="rest", context={"on_error": "skip"})
    assert one.context.schemas[""].names == ["id", "x", "rest"]
    found = read(one)[""]
    assert [r["id"] for r in found] == [1, 2, 4]
    assert found[0]["rest"] is None
    assert json.loads(found[1]["rest"]) == rest
    assert json.loads(found[2]["rest"]) == {"quote'\"": "ü\n"}


def test_the_rest_beside_columns_that_were_guessed_and_of_documents(tmp_path):
    (tmp_path / "a.json").write_text('[{"id": 1}, {"id": 2, "later": true}]')
    found = read(source(tmp_path, path="a.json", columns={"id": "int64"}, rest_column="rest"))[""]
    assert found == [{"id": 1, "rest": None}, {"id": 2, "rest": '{"later":true}'}]
    lines(tmp_path, {"id": 1, "x": 1})
    assert str(source(tmp_path, path="a.jsonl", rest_column="rest").streams()[""].schema) == (
        "id int64, x int64, rest json"
    )


def test_the_rest_is_for_json_alone(tmp_path):
    (tmp_path / "a.csv").write_text("id\n1\n")
    with pytest.raises(WorkflowError, match="rest_column is for JSON, not for csv"):
        source(tmp_path, path="a.csv", rest_column="rest")


class TestLinesByContract(SourceSuite):
    """Rows that are put aside by the contract replay as exactly as any."""

    @pytest.fixture(autouse=True)
    def files(self, tmp_path):
        self.path = tmp_path
        lines(
            tmp_path, *({"id": n, "x": n if n % 5 else "no", **({"new": n} if n % 7 == 0 else {})} for n in range(99))
        )

    def new(self, **changes: Any) -> Any:
        words = {"columns": "discard_row", "data_type": "discard_row"}
        return held(self.path, words, split_bytes=300, rest_column="rest", context=changes)


# ---- values of text -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_values_that_do_not_fit_become_null_in_their_rows(tmp_path, kind):
    rows = [(1, 1), (2, "no"), ("no", "no"), (4, 4), ("5", 5), ("no", 6)]
    if kind == "csv":
        (tmp_path / "a.csv").write_text("id,x\n" + "".join(f"{a},{b}\n" for a, b in rows) + "1,2,3\n")
    else:
        lines(tmp_path, *({"id": a, "x": b} for a, b in rows), "{broken")
    one = held(tmp_path, {"data_type": "discard"}, path=f"a.{kind}", context={"on_error": "skip"})
    found = read(one)
    assert [(r["id"], r["x"]) for r in found[""]] == [(1, 1), (2, None), (None, None), (4, 4), (5, 5), (None, 6)]
    assert len(found["errors"]) == 1  # what is no row at all


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_rows_with_values_that_do_not_fit_are_left_out_without_a_policy(tmp_path, kind):
    if kind == "csv":
        (tmp_path / "a.csv").write_text('id,x\n1,1\n2,no\n3,"\n4"\n')
    else:
        lines(tmp_path, {"id": 1, "x": 1}, {"id": 2, "x": "no"})
    found = read(held(tmp_path, {"data_type": "discard_row"}, path=f"a.{kind}"))
    assert found[""][0] == {"id": 1, "x": 1}
    assert found["errors"][0]["error"].startswith("column 'x' is not int64")


def test_values_of_parquet_that_do_not_fit(tmp_path):
    pq.write_table(pa.table({"id": [1, 2, 3], "x": ["1", "no", None]}), tmp_path / "a.parquet")
    found = read(held(tmp_path, {"data_type": "discard"}, path="a.parquet"))
    assert [r["x"] for r in found[""]] == [1, None, None]
    found = read(held(tmp_path, {"data_type": "discard_row"}, path="a.parquet"))
    assert ([r["id"] for r in found[""]], len(found["errors"])) == ([1, 3], 1)


def test_rows_are_not_left_out_for_a_column_of_the_whole_file(tmp_path):
    (tmp_path / "a.csv").write_text("id,x,new\n1,1,1\n")
    with pytest.raises(DataError, match="'new'") as told:
        read(held(tmp_path, {"columns": "discard_row"}, path="a.csv"))
    assert "discard_row is for rows that name their fields" in (told.value.hint or "")


# ---- tables -------------------------------------------------------------------------------------------------------


def shop(tmp_path, text):
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.executescript(text)


def table(tmp_path, contract, events=None, context=None, **settings):
    config = SqliteSourceConfig(path="shop.db", table="t", **{"columns": TYPES, **settings})
    made = staged(SqliteSource(config), tmp_path, events, contract=contract, **(context or {}))
    OPENED.append(made)
    made.open()
    return made


def test_a_table_is_held_to_the_declared_columns(tmp_path):
    shop(tmp_path, "create table t (id integer primary key, new text); insert into t values (1, 'a')")
    with pytest.raises(DataError, match="table lacks 'x'; it has 'id', 'new'"):
        table(tmp_path, {"columns": "freeze"})
    events: list[Any] = []
    assert read(table(tmp_path, {"columns": "evolve"}, events))[""] == [{"id": 1, "x": None}]
    assert [e.code for e in events] == ["table.missing_columns"]
    shop(tmp_path, "alter table t add column x int")
    with pytest.raises(DataError, match="does not know: 'new'"):
        table(tmp_path, {"columns": "freeze"})
    assert read(table(tmp_path, {"columns": "discard"}))[""] == [{"id": 1, "x": None}]


def test_a_table_that_changed_since_the_plan_is_held_to_the_plan(tmp_path):
    shop(tmp_path, "create table t (id integer primary key, new text); insert into t values (1, 'a')")
    planned = {"schemas": {"": Schema.of(TYPES)}}
    events: list[Any] = []
    assert read(table(tmp_path, {}, events, planned, columns=None))[""] == [{"id": 1, "x": None}]
    assert [e.code for e in events] == ["table.missing_columns", "table.extra_columns"]


def test_types_of_a_table_may_be_frozen(tmp_path):
    shop(tmp_path, "create table t (id integer primary key, x text); insert into t values (1, '7'), (2, 'no')")
    with pytest.raises(DataError, match="'x' is string in this table, not int64"):
        table(tmp_path, {"data_type": "freeze"})
    with pytest.raises(DataError, match="a value of x is no int64"):
        read(table(tmp_path, {}))
    shop(tmp_path, "drop table t; create table t (id integer primary key, x); insert into t values (1, 7), (2, 'no')")
    assert read(table(tmp_path, {"data_type": "discard"}))[""] == [{"id": 1, "x": 7}, {"id": 2, "x": None}]
    found = read(table(tmp_path, {"data_type": "discard_row"}))
    assert found[""] == [{"id": 1, "x": 7}]
    assert [(r["error"], json.loads(r["raw"])) for r in found["errors"]] == [
        ("column 'x' is not int64", {"id": 2, "x": "no"})
    ]


class TestTablesWithBadRows(SourceSuite):
    """A resume between the good and the bad rows of a batch yields the bad ones, once."""

    @pytest.fixture(autouse=True)
    def files(self, tmp_path):
        self.path = tmp_path
        shop(tmp_path, "create table t (id integer primary key, x)")
        with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
            connection.executemany("insert into t values (?, ?)", [(n, n if n % 6 else "no") for n in range(60)])
            connection.commit()

    def new(self, **changes: Any) -> Any:
        config = SqliteSourceConfig(path="shop.db", table="t", columns=TYPES, batch_rows=7, split_rows=25)
        made = staged(SqliteSource(config), self.path, **{"on_error": "dead_letter", **changes})
        OPENED.append(made)
        return made


# ---- answers, functions -------------------------------------------------------------------------------------------


def answers(rows, contract, **settings):
    with LocalServer(lambda asked: Said.of(numbered(asked, rows, 2))) as server:
        config = HttpSourceConfig(url=server.url, columns=TYPES, pagination={"type": "page"}, **settings)
        one = staged(HttpSource(config), contract=contract)
        try:
            return rows_of(b for s in splits_of(one) for b in batches_of(one, s))
        finally:
            settled(one.close())


def test_answers_are_held_to_the_contract():
    rows = [{"id": 1, "x": 1}, {"id": 2, "x": "no", "new": {"a": 1}}, {"id": 3}]
    with pytest.raises(DataError, match="does not know: 'new'"):
        answers(rows, {"columns": "freeze"})
    assert [r["id"] for r in answers(rows, {"columns": "discard_row"})[""]] == [1, 3]
    found = answers(rows, {"data_type": "discard"}, rest_column="rest")
    assert found[""][1] == {"id": 2, "x": None, "rest": '{"new":{"a":1}}'}
    assert len(answers(rows, {"data_type": "discard_row"})["errors"]) == 1


def yielded(rows, contract, events=None, **changes):
    kind = type("Source", (PythonSource,), {"functions": {"rows": lambda: iter(rows)}})
    config = PythonSourceConfig(function="here:rows", columns=TYPES, batch_rows=2)
    one = staged(kind(config), None, events, contract=contract, **changes)
    return rows_of(b for s in splits_of(one) for b in batches_of(one, s))


@pytest.mark.parametrize("form", [lambda rows: rows, lambda rows: [pa.Table.from_pylist(rows)]])
def test_what_functions_yield_is_held_to_the_contract(form):
    rows = form([{"id": 1, "x": 1, "new": None}, {"id": 2, "x": 2, "new": "n"}])
    events: list[Any] = []
    assert len(yielded(rows, {}, events)[""]) == 2
    assert [e.code for e in events] == ["function.extra_columns"]
    with pytest.raises(DataError, match="does not know: 'new'"):
        yielded(rows, {"columns": "freeze"})
    assert yielded(rows, {"columns": "discard_row"})["errors"][-1]["error"].endswith("does not know: 'new'")


def test_values_of_functions_that_do_not_fit():
    rows = [{"id": 1, "x": "no"}, {"id": 2, "x": 2}]
    with pytest.raises(DataError, match="no rows of the planned columns"):
        yielded(rows, {})
    assert [r["x"] for r in yielded(rows, {"data_type": "discard"})[""]] == [None, 2]
    found = yielded(rows, {"data_type": "discard_row"})
    assert (len(found[""]), found["errors"][0]["error"]) == (1, "column 'x' is not int64")
    assert len(yielded(rows, {}, on_error="dead_letter")["errors"]) == 1


class TestFunctionsWithBadRows(SourceSuite):
    """Bad rows of a function replay exactly."""

    def new(self, **changes: Any) -> Any:
        rows = [{"id": n, "x": n if n % 4 else "no"} for n in range(30)]
        kind = type("Source", (PythonSource,), {"functions": {"rows": lambda: iter(rows)}})
        config = PythonSourceConfig(function="here:rows", columns=TYPES, batch_rows=7)
        return staged(kind(config), **{"contract": {"data_type": "discard_row"}, **changes})
