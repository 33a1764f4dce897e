"""The veil: what is tagged is not shown, whole columns and fields deep inside; what is not, stays."""

from __future__ import annotations

import pyarrow as pa

from dataflare.schema import Column, Schema
from dataflare.security.veil import veiled

ROWS = pa.table(
    {
        "id": [1, 2, 3],
        "user": [{"mail": "a@x", "n": 1}, None, {"mail": None, "n": 2}],
        "items": [[{"mail": "b@x", "n": 1}], [], None],
        "json": ['{"mail": "c@x"}', None, "1"],
    }
)


def schema(**marks):
    plain = Schema.from_arrow(ROWS.schema)
    return Schema(tuple(c.marked(marks.get(c.name, ())) for c in plain))


def test_without_tags_rows_are_shown_as_they_are():
    assert veiled(ROWS, schema()) is ROWS


def test_tagged_columns_and_fields_are_hidden_nulls_too():
    hidden = veiled(
        ROWS, schema(user=[(("mail",), "pii")], items=[(("mail",), "pii")], json=[(("mail",), "pii")])
    ).to_pylist()
    assert hidden == [
        {"id": 1, "user": {"mail": "***", "n": 1}, "items": [{"mail": "***", "n": 1}], "json": "***"},
        {"id": 2, "user": None, "items": [], "json": "***"},
        {"id": 3, "user": {"mail": "***", "n": 2}, "items": None, "json": "***"},
    ]


def test_a_column_that_the_schema_does_not_know_is_hidden_where_anything_is_tagged():
    known = Schema((Column("id", "int64", tags=("pii",)),))
    assert {str(v) for row in veiled(ROWS, known).to_pylist() for v in row.values()} == {"***"}


def test_a_tag_of_the_whole_column_takes_those_inside_in():
    column = Column("user", "struct<mail: string>").marked([((), "pii"), (("mail",), "pii"), (("mail",), "mail")])
    assert column.marks == (((), "pii"), (("mail",), "mail"))
    assert column.tags == ("pii", "mail")
    assert Schema.from_json(Schema((column,)).to_json())["user"] == column
