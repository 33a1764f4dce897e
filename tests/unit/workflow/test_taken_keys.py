"""A destination that applies rows by key takes the key of its rows, unless one is named."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from dataflare.component import Registry
from dataflare.workflow import load

if TYPE_CHECKING:
    from pathlib import Path

WORKFLOW = """
id: keys
sources:
  shop: {{type: sqlite, config: {{path: shop.db, tables: [orders, lines, notes]}}}}
transformations:
  some: {{type: filter, inputs: [{inputs}], config: {{condition: "true"}}}}
destinations:
  lake: {{type: sqlite, inputs: [{into}], write_mode: merge, {key}config: {{path: lake.db, table: t}}}}
"""


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database:
        database.execute("create table orders (id integer primary key, name text)")
        database.execute("create table lines (id integer, line integer, name text, primary key (id, line))")
        database.execute("create table notes (id integer, name text)")
    return tmp_path


def found(folder: Path, into: str, key: str = "", level: str = "sample") -> tuple[list[str], list[str]]:
    """Return the key that the destination got, and the codes of errors."""
    inputs = "shop.orders" if into == "some" else "shop.notes"
    (folder / "w.yaml").write_text(WORKFLOW.format(inputs=inputs, into=into, key=key))
    loaded = load(folder / "w.yaml", registry=Registry.installed(), environ={}, level=level)
    errors = [f.code for f in loaded.findings if f.severity == "error"]
    return list(loaded.plan.node("lake").traits["key"]) if loaded.plan else [], errors


def test_the_primary_key_is_taken_also_behind_nodes(shop: Path) -> None:
    assert found(shop, "shop.orders") == (["id"], [])
    assert found(shop, "shop.lines") == (["id", "line"], [])
    assert found(shop, "some") == (["id"], [])
    assert found(shop, "shop.lines", "key: [id], ")[0] == ["id"], "what is named counts"


def test_without_a_key_or_with_two_it_must_be_named(shop: Path) -> None:
    for into in ("shop.notes", "shop.orders, shop.lines"):
        assert found(shop, into)[1] == ["workflow.missing_key_columns"]
    assert found(shop, "shop.notes", level="plan")[1] == [], "the source was not asked"
