"""Tags are planned from sources to destinations: what is tagged reaches none."""

from __future__ import annotations

import sqlite3

import pytest
from tests.unit.workflow.test_planning import ROWS, codes, loaded, workflow

from dataflare.component import Registry

NESTED = (
    "{type: file, config: {path: a.jsonl, format: jsonl, columns: "
    "{id: int64, doc: json, user: 'struct<mail: string, n: int64>'}}}"
)


@pytest.mark.parametrize("tag", ["user.mail", "user", "doc.a.b"])
def test_a_tag_may_name_a_field_of_a_source(tag):
    rows = NESTED.replace("}}}", "}}, tags: {%s: pii}}" % tag)  # noqa: UP031 - braces all over
    nodes = '  m: {type: mapping, inputs: [rows], config: {set: {user: "user.n"}, keep: [user]}}'
    found = loaded(workflow(rows=rows, nodes=nodes, inputs="m"))
    assert found.valid is (tag != "user")
    found = loaded(workflow(rows=rows, inputs="rows"))
    assert codes(found) == ["tagged_column"]
    assert f"the column {tag.partition('.')[0]!r} (pii)" in found.findings[0].message


def test_a_tag_of_what_is_not_there_is_an_error():
    rows = NESTED.replace("}}}", "}}, tags: {user.male: pii}}")
    assert codes(loaded(workflow(rows=rows))) == ["unknown_column"]


def test_a_row_wise_node_has_the_tags_of_all_of_its_inputs():
    text = """
id: w
sources:
  a: {type: file, config: {path: a.csv, columns: {x: string}}}
  b: {type: file, config: {path: b.csv, columns: {x: string}}, tags: {x: pii}}
transformations:
  m: {type: mapping, inputs: [a, b], config: {set: {y: "lower(x)"}, drop: [x]}}
destinations:
  out: {type: file, inputs: [m], config: {path: out}}
"""
    assert codes(loaded(text)) == ["tagged_column"]
    assert codes(
        loaded(
            text.replace("mapping", "aggregate")
            .replace("set:", "aggregations:")
            .replace("lower", "min")
            .replace(", drop: [x]", "")
        )
    ) == ["tagged_column"]


def test_rejected_rows_with_tagged_values_reach_no_destination_unless_the_node_hides_them():
    rows = ROWS.replace("}}}", "}}, tags: {b: pii.email}, on_error: dead_letter}")
    assert codes(loaded(workflow(rows=rows, inputs="rows.errors"))) == ["unused_output", "tagged_column"]
    rows = rows.replace(", on_error: dead_letter", "")
    nodes = "  n: {type: %s, inputs: [rows], on_error: dead_letter}"
    hides = nodes % 'filter, config: {condition: "a > 1"}'
    assert codes(loaded(workflow(rows=rows, nodes=hides, inputs="n.errors"))) == ["unused_output"]
    shows = nodes % "union"
    assert codes(loaded(workflow(rows=rows, nodes=shows, inputs="n.errors"))) == ["unused_output", "tagged_column"]


def test_a_tagged_column_must_be_masked_before_a_destination():
    rows = ROWS.replace("}}}", "}}, tags: {b: pii.email}}")
    nodes = "  m: {type: mapping, inputs: [rows], config: {set: {d: \"b || 'x'\"}, drop: [b]}}"
    found = loaded(workflow(rows=rows, nodes=nodes, inputs="m"))
    assert codes(found) == ["tagged_column"]
    assert "'d'" in found.findings[0].message
    nodes += "\n  k: {type: mask, inputs: [m], config: {rules: {pii.email: {method: hash}}}}"
    assert loaded(workflow(rows=rows, nodes=nodes, inputs="k")).valid


def test_positions_that_hold_tagged_values_are_warned_of(tmp_path):
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("create table people (id integer primary key, mail text, at text)")
    text = """
id: w
sources:
  rows:
    type: sqlite
    mode: incremental
    config: {path: %s, table: people, incremental: {cursor_field: %s}}
    tags: {%s: pii}
transformations:
  m: {type: mask, inputs: [rows], config: {rules: {pii: {method: null}}}}
destinations:
  out: {type: file, inputs: [m], config: {path: out}}
"""
    for cursor, tag, warned in (("at", "at", True), ("at", "id", True), ("at", "mail", False)):
        found = loaded(text % (tmp_path / "a.db", cursor, tag), Registry.installed(), level="sample")
        assert ("tagged_position" in codes(found)) is warned, codes(found)


def test_positions_are_veiled_where_they_may_hold_tagged_values(tmp_path):
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("create table people (name text primary key, mail text, at text)")
    text = """
id: w
sources:
  rows: {type: sqlite, mode: %s, config: {path: %s, table: people%s}, tags: {%s: pii}}
transformations:
  m: {type: mask, inputs: [rows], config: {rules: {pii: {method: null}}}}
destinations:
  out: {type: file, inputs: [m], config: {path: out}}
"""
    cursor = ", incremental: {cursor_field: at}"
    for mode, more, tag, veiled in (
        ("full", "", "mail", False),
        ("full", "", "name", True),
        ("incremental", cursor, "mail", False),
        ("incremental", cursor, "at", True),
        ("incremental", cursor, "name", True),
    ):
        written = text % (mode, tmp_path / "a.db", more, tag)
        plan = loaded(written, Registry.installed(), level="sample").plan
        assert plan.node("rows").traits.get("veiled", False) is veiled, (mode, tag)
