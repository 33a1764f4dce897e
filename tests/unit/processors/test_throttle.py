"""Rows that wait: how many go at which time, and what is kept of those that wait."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from tests.unit.processors.shaping import opened

from dataflare.batch import Batch
from dataflare.processors.throttle import Throttle
from dataflare.schema import Schema

SCHEMA = Schema.of({"id": "int64", "s": "string"})


def rows_of(count: int, start: int = 0) -> pa.Table:
    return pa.table({"id": range(start, start + count), "s": ["x" * 92] * count}).cast(SCHEMA.to_arrow())


def throttle(**config: Any) -> Any:
    return opened(Throttle, SCHEMA, **config)


def ids(batches: Any) -> list[int]:
    return [n for batch in batches for n in batch.rows["id"].to_pylist()]


def drained(component: Any, at: float = 0.0, late: float = 0.0) -> list[tuple[float, int]]:
    """Let time pass from one release to the next; return when how many rows went."""
    went = []
    while (wait := component.wait(at)) is not None:
        at += wait + late
        went.append((at, len(ids(component.release(at)))))
    return went


@pytest.mark.parametrize("late", [0.0, 0.003, 0.15])
@pytest.mark.parametrize("rate", [5, 100, 12_345.6])
def test_the_rate_is_kept_and_never_passed(rate: float, late: float) -> None:
    component = throttle(rows_per_second=rate)
    count = int(rate * 4)
    assert list(component.process(Batch(rows_of(count)))) == []
    went = drained(component, 100.0, late)
    assert sum(n for _, n in went) == count
    for first in range(len(went)):
        for last in range(first, len(went)):
            rows = sum(n for _, n in went[first : last + 1])
            seconds = went[last][0] - went[first][0]
            assert rows <= rate * (seconds + 0.4) + 1, "a part, and what may be made up for"
    if late < 0.1:
        assert went[-1][0] - went[0][0] < 4.2


def test_bytes_are_held_down_too() -> None:
    component = throttle(bytes_per_second="10kB", rows_per_second=1_000_000)
    list(component.process(Batch(rows_of(500))))
    went = drained(component)
    assert 4.5 < went[-1][0] < 6.0, "about 100 bytes a row"


def test_rows_go_in_their_order_and_the_position_with_the_last_one() -> None:
    component = throttle(rows_per_second=10)
    list(component.process(Batch(rows_of(3), "in", {"at": 3}, 9)))
    list(component.process(Batch(rows_of(2, 3), "in", {"at": 5})))
    parts = [part for n in range(10) for part in component.release(float(n))]
    assert ids(parts) == [0, 1, 2, 3, 4]
    assert [p.position for p in parts] == [None, None, {"at": 3}, None, {"at": 5}]
    assert all(p.stream == "" for p in parts)


def test_a_batch_without_rows_passes_unless_rows_wait() -> None:
    component = throttle(rows_per_second=10)
    assert [b.position for b in component.process(Batch(rows_of(0), "", {"at": 1}))] == [{"at": 1}]
    list(component.process(Batch(rows_of(2))))
    assert list(component.process(Batch(rows_of(0), "", {"at": 2}))) == []


def test_rows_that_wait_at_a_barrier_are_counted() -> None:
    component = throttle(rows_per_second=10)
    list(component.process(Batch(rows_of(5))))
    list(component.release(0.0))
    list(component.flush())
    assert component.fates() == {"absorbed": 4}
    list(component.release(0.1))
    list(component.flush())
    assert component.fates() == {"expanded": 1}
    assert ids(component.finish()) == [2, 3, 4]
    assert component.fates() == {"expanded": 3}
    assert component.wait(0.0) is None


@settings(deadline=None, max_examples=30)
@given(sizes=st.lists(st.integers(0, 20), max_size=6), before=st.integers(0, 30))
def test_rows_that_wait_are_in_the_checkpoint(sizes: list[int], before: int) -> None:
    component, at = throttle(rows_per_second=10), 0
    for size in sizes:
        list(component.process(Batch(rows_of(size, at))))
        at += size
    went = [i for n in range(before) for i in ids(component.release(n / 10))]
    list(component.flush())
    absorbed = component.fates().get("absorbed", 0)
    again = throttle(rows_per_second=10)
    again.restore(component.snapshot())
    assert absorbed == at - len(went)
    assert went + ids(again.finish()) == list(range(at))
    assert again.fates().get("expanded", 0) == absorbed


def test_rows_wait_in_one_task_of_their_own() -> None:
    assert [(p.together, p.eased) for p in throttle(rows_per_second=1).ports(2)] == [(True, True)] * 2


@pytest.mark.parametrize("config", [{}, {"rows_per_second": 0}, {"bytes_per_second": "10"}])
def test_a_rate_must_be_one(config: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Throttle.spec.config(**config)
