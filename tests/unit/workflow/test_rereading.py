"""Rows that come again in each run are not appended again."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from dataflare.component import Registry
from dataflare.workflow.loading import load

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """id: w
sources:
  shop:
    type: sqlite
    mode: incremental
    config: {path: shop.db, table: t, incremental: {cursor_field: at, lag: 5%s}}
transformations:
  m: {type: mapping, inputs: [shop], config: {set: {next: "id + 1"}}}
  d: {type: deduplicate, inputs: [m], config: {keys: [id]}}
destinations:
  out: {type: sqlite, inputs: [%s], config: {path: lake.db, table: t}%s}
"""
ALL = ", overlap: all"


@pytest.mark.parametrize(
    ("overlap", "inputs", "written", "refused"),
    [
        (ALL, "m", "", True),
        ("", "m", "", False),
        (ALL, "m", ", write_mode: merge, key: [id]", False),
        (ALL, "d", "", False),
    ],
)
def test_rows_that_come_again_are_only_merged(
    tmp_path: Path, overlap: str, inputs: str, written: str, refused: bool
) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.execute("create table t (id integer primary key, at int)")
    file = tmp_path / "w.yaml"
    file.write_text(TEXT % (overlap, inputs, written))
    found = [
        f
        for f in load(file, registry=Registry.installed(), environ={}, level="sample").findings
        if f.severity == "error"
    ]
    assert [f.code for f in found] == (["workflow.rows_again"] if refused else [])
    if refused:
        assert "'shop' reads rows again in each run, and 'out' would append them again" in found[0].message
        assert "overlap: new" in found[0].hint
