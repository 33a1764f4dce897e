"""The schema of changes."""

from __future__ import annotations

from dataflare.changes import changing
from dataflare.schema import Column, Schema


def test_changes_have_nullable_values_and_reserved_columns() -> None:
    table = Schema((Column("id", "int64", nullable=False), Column("big", "string", nullable=False, tags=("pii",))))
    found = changing(table, ("id",), unchanged=True, before=True)
    assert [(c.name, c.type, c.nullable) for c in found] == [
        ("id", "int64", False),
        ("big", "string", True),
        ("_op", "string", False),
        ("_commit_ts", "timestamp", True),
        ("_tx", "string", True),
        ("_unchanged", "list<string>", True),
        ("_before", "struct<id: int64, big: string>", True),
    ]
    assert found["big"].tags == ("pii",)
    assert found["_before"].places == ((("big",), "pii"),), "what was tagged stays tagged in the former row"
    assert changing(table, ("id",)).names == ["id", "big", "_op", "_commit_ts", "_tx"]
