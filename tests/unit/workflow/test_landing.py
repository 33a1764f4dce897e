"""Modes of sources and destinations that are not right together are told, each with its cure."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from dataflare.component import Registry
from dataflare.workflow import load

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """
id: landing
sources:
  orders: {{type: sqlite, mode: {how}, config: {{path: shop.db, table: orders{more}}}}}
transformations:
  kept: {{type: filter, inputs: [orders], config: {{condition: id > 0}}}}
  counted: {{type: aggregate, inputs: [orders], config: {{group_by: [at], aggregations: {{n: count(*)}}}}}}
destinations:
  out: {{type: sqlite, inputs: [{node}], write_mode: {what}, key: [{key}], config: {{path: out.db, table: orders}}}}
"""
CURSOR = ", incremental: {{cursor_field: {}}}"


@pytest.mark.parametrize(
    ("how", "cursor", "node", "what", "codes"),
    [
        ("full", "", "orders", "merge", ["deleted_rows_stay"]),
        ("full", "", "kept", "scd2", ["deleted_rows_stay"]),
        ("full", "", "orders", "overwrite", []),
        ("full", "", "counted", "merge", []),
        ("incremental", "at", "kept", "append", ["rows_repeat"]),
        ("incremental", "at", "orders", "merge", []),
        ("incremental", "id", "orders", "append", []),
        ("incremental", "at", "counted", "append", []),
    ],
)
def test_modes_that_are_not_right_together_are_warned_of(
    tmp_path: Path, how: str, cursor: str, node: str, what: str, codes: list[str]
) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.execute("create table orders (id integer primary key, at timestamp)")
    more, key = CURSOR.format(cursor).replace("{{", "{").replace("}}", "}") if cursor else "", "id"
    text = TEXT.format(how=how, more=more, node=node, what=what, key="at" if node == "counted" else key)
    (tmp_path / "workflow.yaml").write_text(text)
    found = load(tmp_path / "workflow.yaml", registry=Registry.installed(), environ={}, level="sample")
    assert found.valid, found.findings
    told = [f for f in found.findings if f.severity == "warning"]
    assert [f.code.removeprefix("workflow.") for f in told if "unused" not in f.code] == codes
    assert all(f.hint and f.place.line for f in told)
