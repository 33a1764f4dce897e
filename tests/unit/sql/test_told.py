"""What is known of rows before they are staged: which changes they are, whether a key comes twice."""

from __future__ import annotations

import pyarrow as pa
import pytest

from dataflare.changes import OP, UNCHANGED
from dataflare.sql.staged_rows import StagedRows, Told, told_of


def changes(*operations: str, keys: list[int], left: list[list[str] | None] | None = None) -> pa.Table:
    columns = {"id": pa.array(keys), OP: pa.array(operations)}
    if left is not None:
        columns[UNCHANGED] = pa.array(left, pa.list_(pa.string()))
    return pa.table(columns)


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (changes("insert", "delete", keys=[1, 2]), Told(True, frozenset({"insert", "delete"}), ())),
        (changes("insert", "update", keys=[1, 1]), Told(False, frozenset({"insert", "update"}), ())),
        (
            changes("update", "update", "update", keys=[1, 2, 3], left=[["b", "a"], None, ["a"]]),
            Told(True, frozenset({"update"}), ("a", "b")),
        ),
        (changes(keys=[]), Told(True, frozenset(), ())),
        (pa.table({"id": [1, 1]}), Told(False)),
    ],
)
def test_rows_tell_what_the_database_would_be_asked(rows: pa.Table, expected: Told) -> None:
    assert told_of(rows, ("id",)) == expected


def test_without_a_key_nothing_is_unique() -> None:
    assert not told_of(pa.table({"id": [1, 2]}), ()).unique


def test_the_database_is_asked_only_where_nobody_knows() -> None:
    from dataflare.sql.dialect import Table
    from dataflare.sql.postgres_types import POSTGRES

    asked: list[str] = []

    def run(sql: str) -> list[tuple[object, ...]]:
        asked.append(sql)
        return [("delete",)]

    for told, times in ((Told(operations=frozenset({"insert"}), unchanged=("a",)), 0), (Told(), 2)):
        asked.clear()
        rows = StagedRows(POSTGRES, [Table("stage")], ("id", OP, UNCHANGED), run, told)
        assert rows.operations() == ({"delete"} if times else {"insert"})
        assert rows.unchanged() == (["delete"] if times else ["a"])
        assert len(asked) == times
