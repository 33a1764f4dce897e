"""What is staged of rows and changes, and what the table must have for them; what does not go together is refused."""

from __future__ import annotations

import re
from typing import Any

import pytest

from dataflare.changes import changing
from dataflare.connectors.sqlite.destination import SqliteDestination
from dataflare.connectors.sqlite.settings import SqliteDestinationConfig
from dataflare.errors import WorkflowError
from dataflare.schema import Schema
from dataflare.sql.shape import Shape, shape_of
from dataflare.testing.stage import staged

ROWS = Schema.of({"id": "int64", "name": "string"})
CHANGES = changing(ROWS, ("id",), unchanged=True, before=True)


def shape(schema: Schema, mode: str, key: tuple[str, ...] = ("id",), **settings: Any) -> Shape:
    config = SqliteDestinationConfig(path="x.db", table="t", **settings)
    destination = staged(SqliteDestination(config), schemas={"0": schema}, write_mode=mode, key=key)
    return shape_of(destination.context, config)


def test_rows_are_staged_as_they_come() -> None:
    found = shape(ROWS, "merge")
    assert (found.staged, found.target, found.values) == (ROWS, ROWS, ("id", "name"))
    assert (found.unique, found.changes) == (("id",), False)


def test_changes_are_staged_with_what_a_merge_needs_to_know() -> None:
    found = shape(CHANGES, "merge", deletes="soft", changes={"tx": "lsn"})
    assert found.staged.names == ["id", "name", "_op", "_commit_ts", "_tx", "_unchanged"]
    assert all(c.nullable for c in found.staged), "a truncation has nothing in any column"
    assert found.target.names == ["id", "name", "lsn", "_deleted_at"]
    assert found.values == ("id", "name")
    assert found.may_be_unchanged


def test_a_log_has_what_is_asked_for() -> None:
    found = shape(CHANGES, "append", changes={"op": "_op", "before": "was"})
    assert found.target.names == ["id", "name", "_op", "was"]
    assert (found.key, found.changes) == ((), False)


@pytest.mark.parametrize(
    ("mode", "settings", "message", "hint"),
    [
        ("append", {}, "would take a deleted row for a new one", r"changes: \{op: _op, commit_ts: _commit_ts"),
        ("overwrite", {}, "overwrite cannot apply changes", "write_mode: merge"),
        ("merge", {"deletes": "soft", "deleted_at": "name"}, "name would be there twice", "another name"),
        ("merge", {"changes": {"op": "id"}}, "id would be there twice", "another name"),
        ("merge", {"changes": {"before": "was"}}, "was is what a change says beside the row", "write_mode: append"),
    ],
)
def test_what_does_not_go_together_is_refused(mode: str, settings: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(WorkflowError, match=message) as caught:
        shape(CHANGES, mode, **settings)
    assert re.search(hint, caught.value.hint)


def test_a_log_cannot_have_what_its_source_does_not_tell() -> None:
    with pytest.raises(WorkflowError, match="nothing for was"):
        shape(changing(ROWS, ("id",)), "append", changes={"op": "op", "before": "was"})
