"""Rows of an API that is asked for what is new come once, however they are cut into pages and runs."""

from __future__ import annotations

import datetime as dt
import json
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflare.connectors.http import marks
from dataflare.connectors.http.marks import Cursor, Mark
from dataflare.errors import WorkflowError

if TYPE_CHECKING:
    from collections.abc import Sequence

BEGIN = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
KINDS: dict[str, tuple[pa.DataType, Any]] = {
    "int64": (pa.int64(), lambda n: n),
    "float64": (pa.float64(), lambda n: n / 4),
    "string": (pa.string(), lambda n: f"{n:05}"),
    "timestamp": (pa.timestamp("us", "UTC"), lambda n: BEGIN + dt.timedelta(seconds=n)),
    "date": (pa.date32(), lambda n: BEGIN.date() + dt.timedelta(days=n)),
}


def page(rows: Sequence[tuple[int, int | None]], kind: str) -> pa.Table:
    """Return rows of (number, step of the cursor)."""
    arrow, value = KINDS[kind]
    at = [None if step is None else value(step) for _, step in rows]
    return pa.table({"id": pa.array([n for n, _ in rows], pa.int64()), "at": pa.array(at, arrow)})


@given(
    runs=st.lists(st.lists(st.integers(0, 2), max_size=8), max_size=6),
    size=st.integers(1, 5),
    kind=st.sampled_from(sorted(KINDS)),
    keyed=st.booleans(),
    shuffled=st.randoms(use_true_random=False),
)
def test_each_row_comes_once_over_pages_and_runs(
    runs: list[list[int]], size: int, kind: str, *, keyed: bool, shuffled: Any
) -> None:
    """Every run finds some more rows, none older than the newest that was there; pages are in any order."""
    cursor = Cursor("at", kind, ["id"] if keyed else [])
    there: list[tuple[int, int | None]] = []
    taken: list[int] = []
    low: Mark | None = None
    for steps in runs:
        for step in steps:
            there.append((len(there), (there[-1][1] or 0) + step if there else step))
        asked = [row for row in there if low is None or KINDS[kind][1](row[1]) >= restored(cursor, low)]
        shuffled.shuffle(asked)
        high = low
        for start in range(0, len(asked), size):
            rows = page(asked[start : start + size], kind)
            taken += cursor.fresh(rows, low).column("id").to_pylist()
            high = cursor.raised(high, rows)
        low = Mark.from_json(json.loads(json.dumps(high.to_json()))) if high is not None else None
    assert sorted(taken) == list(range(len(there)))


def restored(cursor: Cursor, mark: Mark) -> Any:
    """Return the value of a mark."""
    return cursor._scalar(mark.value).as_py()


def test_rows_without_a_value_are_left_out() -> None:
    cursor = Cursor("at", "int64", [])
    rows = page([(1, 3), (2, None)], "int64")
    assert cursor.fresh(rows, None).column("id").to_pylist() == [1]
    mark = cursor.raised(None, rows)
    assert mark is not None
    assert cursor.fresh(rows, mark).num_rows == 0
    assert cursor.raised(None, page([(2, None)], "int64")) is None


def test_very_many_rows_of_one_value_are_taken_as_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "KEYS_MAX", 3)
    cursor = Cursor("at", "int64", ["id"])
    mark = cursor.raised(None, page([(n, 7) for n in range(5)], "int64"))
    assert mark == Mark(7, None)
    assert cursor.fresh(page([(8, 7), (9, 8)], "int64"), mark).column("id").to_pylist() == [9]
    assert cursor.raised(mark, page([(8, 7)], "int64")) == mark


def test_a_cursor_needs_an_order_and_only_times_overlap() -> None:
    with pytest.raises(WorkflowError, match="declare it as"):
        Cursor("at", "list<int64>", [])
    with pytest.raises(WorkflowError, match="only times overlap"):
        Cursor("at", "int64", [], 60.0)
