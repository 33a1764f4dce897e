"""Conditions and limits go to a source only where nothing else reads its rows."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from dataflare import Workflow
from dataflare.component import Registry
from dataflare.component.context import ReadHints
from dataflare.connectors.sqlite.settings import SqliteSourceConfig
from dataflare.connectors.sqlite.source import SqliteSource
from dataflare.executor.previewing import first_rows
from dataflare.plan import Plan
from dataflare.testing.stage import staged
from dataflare.workflow.description import describe
from dataflare.workflow.loading import load

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """id: w
sources:
  shop: {type: sqlite, MODEconfig: {path: shop.db, MORE}}
transformations:
"""
BIG = '  big: {type: filter, inputs: [shop], config: {condition: "n > 5"}}\n'
REST = """
  named: {type: filter, inputs: [big], config: {condition: "name = 'x'"}}
  low: {type: filter, inputs: [big], config: {condition: "lower(name) = 'x'"}}
  more: {type: mapping, inputs: [shop], config: {set: {m: "n + 1"}}}
  skips: {type: mapping, inputs: [shop], on_error: skip, config: {set: {m: "cast(name as int)"}}}
  few: {type: limit, inputs: [INPUT], config: {rows: 3, offset: 2}}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.execute("create table t (id integer primary key, n integer, name text)")
        connection.executemany("insert into t (n, name) values (?, ?)", [(n, "xy"[n % 2]) for n in range(20)])
        connection.execute("create table u (id integer primary key, n integer)")
        connection.commit()
    return tmp_path


def plan(folder: Path, nodes: str, inputs: str, mode: str = "", more: str = "table: t") -> Plan:
    text = HEAD.replace("MODE", mode).replace("MORE", more) + nodes
    text += f"destinations:\n  out: {{type: file, inputs: [{inputs}], config: {{path: out.csv}}}}\n"
    (folder / "w.yaml").write_text(text)
    loaded = load(folder / "w.yaml", registry=Registry.installed(), environ={}, level="sample")
    assert loaded.plan is not None, loaded.findings
    return loaded.plan


def nodes(*names: str, limited: str = "shop") -> str:
    lines = {line.split(":")[0].strip(): line for line in (BIG + REST.replace("INPUT", limited)).splitlines() if line}
    return "".join(f"{lines[name]}\n" for name in names)


def traits(found: Plan) -> dict[str, Any]:
    return {k: v for k, v in found.node("shop").traits.items() if k in ("predicate", "limit")}


def test_the_filters_right_behind_a_source_are_pushed_down_and_told(folder: Path) -> None:
    found = plan(folder, nodes("big", "named"), "named")
    assert "rows where (n > 5) and (name = 'x')" in describe(found)
    assert Plan.from_json(found.to_json()).node("shop").traits["predicate"] == traits(found)["predicate"]
    assert "rows where n > 5\n" in describe(plan(folder, nodes("big", "low"), "low"))


INCREMENTAL = "table: t, incremental: {cursor_field: n}"


@pytest.mark.parametrize(
    ("used", "inputs", "mode", "more", "expected"),
    [
        (["big"], "big", "mode: incremental, ", INCREMENTAL, {"predicate"}),
        (["big", "more"], "big, more", "", "table: t", set()),
        (["few"], "few", "", "table: t", {"limit"}),
        (["few"], "few", "mode: incremental, ", INCREMENTAL, set()),
        (["big"], "big", "", "table: t, types: {n: int64}", {"predicate"}),
        (["big"], "big", "", "table: t, types: {n: float64}", set()),
    ],
)
def test_what_else_reads_the_rows_gets_them_all(
    folder: Path, used: list[str], inputs: str, mode: str, more: str, expected: set[str]
) -> None:
    assert {*traits(plan(folder, nodes(*used), inputs, mode, more))} == expected


@pytest.mark.parametrize(("between", "expected"), [("more", {"limit": 5}), ("skips", {}), ("big", None)])
def test_a_limit_goes_through_what_makes_one_row_of_each(
    folder: Path, between: str, expected: dict[str, int] | None
) -> None:
    found = traits(plan(folder, nodes(between, "few", limited=between), "few"))
    assert "limit" not in found if expected is None else found == expected


def test_a_preview_of_the_source_shows_the_rows_that_the_filter_leaves_out(folder: Path) -> None:
    found = plan(folder, nodes("big"), "big")
    assert first_rows(found, Registry.installed(), "shop", 3).column("n").to_pylist() == [0, 1, 2]
    assert first_rows(found, Registry.installed(), "big", 3).column("n").to_pylist() == [6, 7, 8]


def test_a_run_writes_what_the_filter_keeps(folder: Path) -> None:
    workflow = Workflow("w", directory=folder)
    rows = workflow.source("shop", "sqlite", {"path": "shop.db", "table": "t"})
    big = rows.then("big", "filter", {"condition": "n > 5"})
    named = big.then("named", "filter", {"condition": "name = 'x'"})
    named.into("out", "file", {"path": "out.csv"})
    assert workflow.run().status == "succeeded"
    assert [line.split(",")[0] for line in (folder / "out.csv").read_text().splitlines()] == [
        "id",
        *(str(n + 1) for n in range(6, 20, 2)),
    ]


def test_a_limit_lets_a_source_read_no_more_rows_than_that(folder: Path) -> None:
    source = SqliteSource(SqliteSourceConfig(path=str(folder / "shop.db"), table="t"))
    staged(source, hints=ReadHints(limit=3))
    source.open()
    with closing(source):
        (split,) = source.splits(None)
        found = list(source.read(split, None, None))
        assert [b.num_rows for b in found] == [3]
        rest = source.read(split, found[0].position, None)
        assert [b.rows.column("id").to_pylist() for b in rest] == [[4, 5, 6]]
